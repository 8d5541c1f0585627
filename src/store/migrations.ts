/**
 * The schema, as steps that were each the newest once. A step is never edited after it was released: a change is a new
 * step at the end. A new NOT NULL column comes with a DEFAULT. Each step runs in one transaction with its number
 * (`user_version`), so a kill leaves a whole step or none.
 */
import type Database from "better-sqlite3";

/** Marks the file as ours ("orch"). A SQLite file without it is somebody else's and is left alone. */
export const APPLICATION_ID = 0x6f726368;

// Foreign keys are DEFERRED where rows of one transaction may come in any order (a plan's tasks, in whatever order they
// depend on each other). Dependencies go with their task; everything else that names a task keeps it from being removed.
const BEGIN = `
CREATE TABLE meta (
  key TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE plans (
  id TEXT PRIMARY KEY NOT NULL,
  name TEXT,
  goal TEXT,
  target TEXT NOT NULL,
  max_concurrent INTEGER NOT NULL,
  budget TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  ended_at_ms INTEGER,
  file TEXT,
  start_sha TEXT,
  text TEXT NOT NULL,
  config TEXT NOT NULL
) STRICT;
CREATE INDEX plans_open ON plans (id) WHERE ended_at_ms IS NULL;

CREATE TABLE tasks (
  plan_id TEXT NOT NULL REFERENCES plans (id),
  id TEXT NOT NULL,
  ordinal INTEGER NOT NULL UNIQUE,
  provider TEXT NOT NULL,
  state TEXT NOT NULL,
  wait TEXT,
  stage TEXT NOT NULL,
  cause TEXT,
  message TEXT,
  ledger TEXT NOT NULL,
  next_turn TEXT NOT NULL,
  wish TEXT,
  holds_claims INTEGER NOT NULL,
  is_approved INTEGER NOT NULL,
  merged_sha TEXT,
  branch TEXT,
  worktree TEXT,
  base_sha TEXT,
  head_sha TEXT,
  report TEXT,
  verify_output TEXT,
  started_at_ms INTEGER,
  ended_at_ms INTEGER,
  spec TEXT NOT NULL,
  PRIMARY KEY (plan_id, id)
) STRICT;
CREATE INDEX tasks_by_plan ON tasks (plan_id, ordinal);

CREATE TABLE dependencies (
  plan_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  depends_on TEXT NOT NULL,
  PRIMARY KEY (plan_id, task_id, depends_on),
  FOREIGN KEY (plan_id, task_id) REFERENCES tasks (plan_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  FOREIGN KEY (plan_id, depends_on) REFERENCES tasks (plan_id, id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX dependents ON dependencies (plan_id, depends_on);

CREATE TABLE attempts (
  id TEXT PRIMARY KEY NOT NULL,
  plan_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  role TEXT NOT NULL,
  provider TEXT NOT NULL,
  kind TEXT NOT NULL,
  model TEXT,
  state TEXT NOT NULL,
  pid INTEGER,
  process_start TEXT,
  session_id TEXT,
  turn_kind TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  outcome TEXT,
  cause TEXT,
  message TEXT,
  exit_code INTEGER,
  signal TEXT,
  cost_usd REAL,
  tokens TEXT,
  final_text TEXT,
  denials TEXT NOT NULL,
  strays_killed INTEGER NOT NULL,
  FOREIGN KEY (plan_id, task_id) REFERENCES tasks (plan_id, id)
) STRICT;
CREATE INDEX attempts_by_task ON attempts (plan_id, task_id, number);
CREATE UNIQUE INDEX attempts_open ON attempts (plan_id, task_id) WHERE ended_at_ms IS NULL;

CREATE TABLE sessions (
  plan_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  role TEXT NOT NULL,
  kind TEXT NOT NULL,
  session_id TEXT NOT NULL,
  worktree TEXT NOT NULL,
  totals TEXT,
  last_attempt_id TEXT REFERENCES attempts (id),
  is_usable INTEGER NOT NULL,
  saved_order INTEGER NOT NULL,
  PRIMARY KEY (plan_id, task_id, role, kind, session_id),
  FOREIGN KEY (plan_id, task_id) REFERENCES tasks (plan_id, id)
) STRICT;
CREATE INDEX sessions_by_order ON sessions (saved_order);

CREATE TABLE turns (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  attempt_id TEXT NOT NULL REFERENCES attempts (id),
  plan_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX turns_by_task ON turns (plan_id, task_id, id);
CREATE INDEX turns_by_attempt ON turns (attempt_id);

CREATE TABLE merges (
  id TEXT PRIMARY KEY NOT NULL,
  plan_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  target TEXT NOT NULL,
  strategy TEXT NOT NULL,
  branch_sha TEXT NOT NULL,
  state TEXT NOT NULL,
  target_sha TEXT,
  candidate_sha TEXT,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  outcome TEXT,
  message TEXT,
  verify_output TEXT,
  FOREIGN KEY (plan_id, task_id) REFERENCES tasks (plan_id, id)
) STRICT;
CREATE INDEX merges_by_task ON merges (plan_id, task_id);
CREATE INDEX merges_open ON merges (started_at_ms) WHERE state <> 'ended';

CREATE TABLE providers (
  name TEXT PRIMARY KEY NOT NULL,
  failures_in_a_row INTEGER NOT NULL,
  open_until_ms INTEGER,
  parked_until_ms INTEGER,
  is_reset_unknown INTEGER NOT NULL,
  parkings INTEGER NOT NULL,
  reason TEXT
) STRICT;

CREATE TABLE role_durations (
  role TEXT PRIMARY KEY NOT NULL,
  count INTEGER NOT NULL,
  total_ms REAL NOT NULL
) STRICT;

CREATE TABLE request_keys (
  key TEXT PRIMARY KEY NOT NULL,
  operation TEXT NOT NULL,
  input_hash TEXT NOT NULL,
  response TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX request_keys_by_age ON request_keys (created_at_ms);

CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  plan_id TEXT,
  task_id TEXT,
  attempt_id TEXT,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_plan ON events (plan_id, seq) WHERE plan_id IS NOT NULL;
CREATE INDEX events_by_task ON events (plan_id, task_id, seq) WHERE task_id IS NOT NULL;

PRAGMA application_id = ${APPLICATION_ID};
`;

// A consultation is a turn of the orchestrator role for questions: like an attempt, but of a plan and not of a task.
const QUESTIONS = `
CREATE TABLE questions (
  number INTEGER PRIMARY KEY NOT NULL,
  plan_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  attempt_id TEXT NOT NULL REFERENCES attempts (id),
  role TEXT NOT NULL,
  text TEXT NOT NULL,
  options TEXT NOT NULL,
  context TEXT,
  sameness TEXT NOT NULL,
  request_key TEXT UNIQUE,
  state TEXT NOT NULL,
  stage TEXT,
  stage_until_ms INTEGER,
  is_parked INTEGER NOT NULL,
  asked_at_ms INTEGER NOT NULL,
  answer TEXT,
  answered_by TEXT,
  answered_at_ms INTEGER,
  carried_by TEXT,
  is_delivered INTEGER NOT NULL,
  FOREIGN KEY (plan_id, task_id) REFERENCES tasks (plan_id, id)
) STRICT;
CREATE INDEX questions_by_task ON questions (plan_id, task_id);
CREATE INDEX questions_by_sameness ON questions (plan_id, sameness);
CREATE INDEX questions_open ON questions (stage_until_ms) WHERE state = 'open';
CREATE INDEX questions_by_carrier ON questions (carried_by) WHERE carried_by IS NOT NULL;

CREATE TABLE consultations (
  id TEXT PRIMARY KEY NOT NULL,
  plan_id TEXT NOT NULL REFERENCES plans (id),
  provider TEXT NOT NULL,
  kind TEXT NOT NULL,
  question_ids TEXT NOT NULL,
  prompt TEXT NOT NULL,
  pid INTEGER,
  process_start TEXT,
  session_id TEXT,
  totals TEXT,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  outcome TEXT,
  message TEXT,
  answer TEXT,
  cost_usd REAL,
  tokens TEXT
) STRICT;
CREATE INDEX consultations_by_plan ON consultations (plan_id, started_at_ms);
CREATE INDEX consultations_open ON consultations (started_at_ms) WHERE ended_at_ms IS NULL;
`;

/** What operators told agents. A task that never began may be dropped, and what it was told goes with it. */
const MESSAGES = `
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  plan_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  text TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  delivered_by TEXT REFERENCES attempts (id),
  FOREIGN KEY (plan_id, task_id) REFERENCES tasks (plan_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX messages_waiting ON messages (plan_id, task_id, id) WHERE delivered_by IS NULL;
`;

// Follow-ups: how far each followed branch was looked at, and what each rule made of what was seen there. A rule and the
// commit that an event ended with name it, so that one event starts one follow-up, whatever is killed when.
const FOLLOW_UPS = `
CREATE TABLE followed_branches (
  branch TEXT PRIMARY KEY NOT NULL,
  sha TEXT NOT NULL
) STRICT;

CREATE TABLE follow_ups (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  rule TEXT NOT NULL,
  branch TEXT NOT NULL,
  kind TEXT NOT NULL,
  base_sha TEXT NOT NULL,
  tip_sha TEXT NOT NULL,
  commits TEXT NOT NULL,
  depth INTEGER NOT NULL,
  chain TEXT NOT NULL,
  state TEXT NOT NULL,
  plan_id TEXT REFERENCES plans (id),
  started_at_ms INTEGER,
  message TEXT,
  UNIQUE (rule, branch, tip_sha)
) STRICT;
CREATE INDEX merges_by_candidate ON merges (candidate_sha) WHERE candidate_sha IS NOT NULL;
CREATE INDEX follow_ups_due ON follow_ups (id) WHERE state = 'due';
CREATE INDEX follow_ups_by_plan ON follow_ups (plan_id) WHERE plan_id IS NOT NULL;
`;

/** Workflows: each task's pinned steps and where it is in them, what each attempt reported, who proposed a task. */
const WORKFLOWS = `
ALTER TABLE tasks ADD COLUMN workflow TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN proposed_by TEXT;
UPDATE tasks SET
  workflow = json_object(
    'steps', json_array(json_object('agent', spec ->> '$.agent', 'provider', provider, 'prompt', NULL)),
    'maxRounds', 0
  ),
  ledger = json_set(ledger, '$.rounds', 0);
ALTER TABLE attempts ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN report TEXT;
ALTER TABLE attempts ADD COLUMN head_sha TEXT;
`;

/** Provider chains: which providers can't serve a task before a person has acted. */
const CHAINS = `
ALTER TABLE tasks ADD COLUMN ruled_out TEXT NOT NULL DEFAULT '[]';
`;

// What an attempt is booked with against its plan's budget: what was set aside before its process, and at its end what
// its CLI told. So a row that a crash left open has its reservation, and a start adds up the same as before.
const BUDGETS = `
ALTER TABLE attempts ADD COLUMN booked TEXT NOT NULL DEFAULT '{"usd":0,"tokens":0,"minutes":0}';
ALTER TABLE consultations ADD COLUMN booked TEXT NOT NULL DEFAULT '{"usd":0,"tokens":0,"minutes":0}';
UPDATE attempts SET booked = json_object(
  'usd', coalesce(cost_usd, 0),
  'tokens', coalesce(tokens ->> '$.inputTokens', 0) + coalesce(tokens ->> '$.outputTokens', 0),
  'minutes', max(0, coalesce(ended_at_ms - started_at_ms, 0)) / 60000.0
);
UPDATE consultations SET booked = json_object(
  'usd', coalesce(cost_usd, 0),
  'tokens', coalesce(tokens ->> '$.inputTokens', 0) + coalesce(tokens ->> '$.outputTokens', 0),
  'minutes', max(0, coalesce(ended_at_ms - started_at_ms, 0)) / 60000.0
);
`;

// What a person let through, and as what: a merge that was asked for approves nothing of what needs approval. What was
// stored before meant either; what is in a branch is looked at once more.
const CONSENT = `
ALTER TABLE tasks ADD COLUMN consent TEXT;
UPDATE tasks SET consent = 'merge' WHERE is_approved = 1;
ALTER TABLE tasks DROP COLUMN is_approved;
`;

/** Step n brings the schema from version n-1 to n. */
export const MIGRATIONS: readonly string[] = [
  BEGIN,
  QUESTIONS,
  MESSAGES,
  FOLLOW_UPS,
  WORKFLOWS,
  CHAINS,
  BUDGETS,
  CONSENT,
];

/** Brings `database` to the newest version; does nothing when it is there. Throws what SQLite throws. */
export function migrate(database: Database.Database, steps: readonly string[] = MIGRATIONS): void {
  for (let version = schemaVersion(database) + 1; version <= steps.length; version += 1) {
    database
      .transaction(() => {
        // Looked at again under the lock: another program may have come first.
        if (schemaVersion(database) >= version) return;
        database.exec(steps[version - 1] ?? "");
        database.pragma(`user_version = ${version}`);
      })
      .immediate();
  }
}

/** The version that the file has: the number of steps it went through. */
export function schemaVersion(database: Database.Database): number {
  return Number(database.pragma("user_version", { simple: true }));
}
