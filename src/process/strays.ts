/**
 * Finds and ends what belongs to an attempt, wherever it hid.
 *
 * A process belongs by its mark, by being the attempt's root or something seen below it earlier, by descent, or by the
 * group or session of one that belongs. A group kill alone is not enough: Claude Code gives each shell command a
 * session of its own, Codex and Goose never end what their shells left behind.
 *
 * Never touched, whatever else says so: an engine or a guard (an engine first started from inside an attempt outlives
 * it) and what is below one, unless that carries our own mark; what another engine marked; this process itself.
 * Walking up from a process, the nearest sign decides. Each kill checks pid, start time and mark once more.
 *
 * Known limit: a process that left its session, cleared its environment and lost its parent between two looks.
 */
import { setTimeout as delay } from "node:timers/promises";

import {
  isSameProcess,
  readMarks,
  readProcessTable,
  identityOf,
  type ProcessIdentity,
  type ProcessRow,
  type ProcessTable,
} from "./process-table.ts";

/** What is remembered of an attempt, so that its processes are known after their parents are gone. */
export interface KnownAttempt {
  readonly attemptId: string;
  /** The process we started; it leads its own group and session. Null: about to be started. */
  readonly root: ProcessIdentity | null;
  /** Seen belonging to it earlier and still alive, or dead with members left in the group or session it led. */
  readonly members: readonly ProcessIdentity[];
}

export interface Belonging {
  readonly engineId: string;
  /** Only this attempt; all attempts of the engine when left out. */
  readonly attemptId?: string;
  /** Never in the answer. */
  readonly selfPid: number;
}

/** The value of the mark in the environment of everything that an attempt starts. */
export function attemptMark(engineId: string, attemptId: string): string {
  return `${engineId}/${attemptId}`;
}

/** The living processes of `table` that belong. Pure; rows without marks are judged by the other signs alone. */
export function findBelonging(
  table: ProcessTable,
  known: readonly KnownAttempt[],
  belonging: Belonging,
): readonly ProcessRow[] {
  const wanted = known.filter(
    ({ attemptId }) => belonging.attemptId === undefined || attemptId === belonging.attemptId,
  );
  const roots = keysOf(wanted.flatMap(({ root }) => (root === null ? [] : [root])));
  const members = keysOf(wanted.flatMap((attempt) => attempt.members));
  const leaders = wanted.flatMap(({ root, members: seen }) => (root === null ? seen : [root, ...seen]));
  /** Found by group or session. They bring their descendants and the groups they lead, hence the rounds. */
  const adopted = new Set<number>();
  for (;;) {
    const isRoot = (row: ProcessRow): boolean => roots.has(keyOf(row));
    const isMember = (row: ProcessRow): boolean => members.has(keyOf(row)) || adopted.has(row.pid);
    const judge = judgeOf(table, belonging, isRoot, isMember);
    const ours = [...table.values()].filter((row) => judge(row.pid) === "ours");
    const ids = groupsAndSessionsOf(table, ours, leaders);
    const sizeBefore = adopted.size;
    for (const row of table.values()) {
      if (row.isDead || row.pid === belonging.selfPid || judge(row.pid) !== "unknown") continue;
      if (ids.groups.has(row.groupId) || (row.sessionId !== null && ids.sessions.has(row.sessionId)))
        adopted.add(row.pid);
    }
    if (adopted.size === sizeBefore) return ours.filter((row) => !row.isDead && row.pid !== belonging.selfPid);
  }
}

type Verdict = "ours" | "theirs" | "unknown";

/** Judges by the nearest sign on the way up. The answer keeps what it found out, for it is asked for every row. */
function judgeOf(
  table: ProcessTable,
  { engineId, attemptId, selfPid }: Belonging,
  isRoot: (row: ProcessRow) => boolean,
  isMember: (row: ProcessRow) => boolean,
): (pid: number) => Verdict {
  const verdicts = new Map<number, Verdict>();
  const judge = (pid: number): Verdict => {
    const earlier = verdicts.get(pid);
    if (earlier !== undefined) return earlier;
    // Also ends the walk should a row be its own ancestor (a pid given out again while the table was read).
    verdicts.set(pid, "unknown");
    const verdict = decide(pid);
    verdicts.set(pid, verdict);
    return verdict;
  };
  const decide = (pid: number): Verdict => {
    const row = table.get(pid);
    // We say nothing about what is below us: as process 1 of a container we inherit the strays.
    if (row === undefined || pid <= 1 || pid === selfPid) return "unknown";
    if (row.marks !== null && row.marks.engine !== null) return "theirs";
    const mark = row.marks?.attempt ?? null;
    if (mark !== null) {
      const isOurs =
        attemptId === undefined ? mark.startsWith(`${engineId}/`) : mark === attemptMark(engineId, attemptId);
      return isOurs ? "ours" : "theirs";
    }
    if (isRoot(row)) return "ours";
    const above = judge(row.parentPid);
    if (above !== "unknown") return above;
    return isMember(row) ? "ours" : "unknown";
  };
  return judge;
}

/**
 * The groups and sessions that are ours: led by one of ours, alive or remembered. Not those that one of ours merely is
 * in: with a mark set by hand in a terminal, everything in that terminal would be taken for ours. Nor those whose
 * leader's pid was given out again.
 */
function groupsAndSessionsOf(
  table: ProcessTable,
  ours: readonly ProcessRow[],
  remembered: readonly ProcessIdentity[],
): { readonly groups: ReadonlySet<number>; readonly sessions: ReadonlySet<number> } {
  const groups = new Set<number>();
  const sessions = new Set<number>();
  for (const leader of remembered) {
    const now = table.get(leader.pid);
    if (now !== undefined && (!isSameProcess(now, leader) || isEngine(now))) continue;
    groups.add(leader.pid);
    sessions.add(leader.pid);
  }
  for (const row of ours) {
    if (row.groupId === row.pid) groups.add(row.pid);
    if (row.sessionId === row.pid) sessions.add(row.pid);
  }
  // The system's own, should this be process 1 of a container.
  groups.delete(1);
  sessions.delete(1);
  return { groups, sessions };
}

function isEngine(row: ProcessRow): boolean {
  return row.marks !== null && row.marks.engine !== null;
}

/**
 * The attempt with what `found` shows added to what was seen earlier. The dead are forgotten, save leaders of groups
 * or sessions that still have members: by their ids those are found. Pure.
 */
export function remember(table: ProcessTable, attempt: KnownAttempt, found: readonly ProcessRow[]): KnownAttempt {
  const populated = new Set<number>();
  for (const row of table.values()) {
    if (row.isDead) continue;
    populated.add(row.groupId);
    if (row.sessionId !== null) populated.add(row.sessionId);
  }
  const isWorthKeeping = (member: ProcessIdentity): boolean => {
    const now = table.get(member.pid);
    if (now === undefined) return populated.has(member.pid);
    return isSameProcess(now, member) && (!now.isDead || populated.has(member.pid));
  };
  const members = new Map<string, ProcessIdentity>();
  for (const { pid, startTime } of [...attempt.members, ...found]) {
    const member = { pid, startTime };
    if (attempt.root !== null && isSameProcess(member, attempt.root)) continue;
    if (isWorthKeeping(member)) members.set(keyOf(member), member);
  }
  return { ...attempt, members: [...members.values()] };
}

/**
 * One look at living attempts that costs little: environments are read only of what seems to belong, so that an engine
 * started inside an attempt (and what is below it) is told apart before it is remembered.
 */
export async function lookAt(
  attempts: readonly KnownAttempt[],
  engineId: string,
): Promise<{ readonly table: ProcessTable; readonly found: ReadonlyMap<string, readonly ProcessRow[]> }> {
  const bare = await readProcessTable({ marks: "none" });
  const search = { engineId, selfPid: process.pid };
  const candidates = findBelonging(bare, attempts, search).map(({ pid }) => pid);
  const marks = await readMarks(candidates);
  const table = new Map(bare);
  for (const pid of candidates) {
    const row = bare.get(pid);
    if (row !== undefined) table.set(pid, { ...row, marks: marks.get(pid) ?? null });
  }
  const found = new Map<string, readonly ProcessRow[]>();
  for (const attempt of attempts) {
    found.set(attempt.attemptId, findBelonging(table, [attempt], { ...search, attemptId: attempt.attemptId }));
  }
  return { table, found };
}

export interface EndRequest {
  readonly engineId: string;
  /** Only this attempt; all attempts of the engine when left out. */
  readonly attemptId?: string;
  readonly known: readonly KnownAttempt[];
  /** From TERM to KILL. What appears after that is killed at once. */
  readonly graceMs: number;
  /** Asked at each look: true takes what is left of the grace. */
  readonly isGraceOver?: () => boolean;
  /** After this long what can't be killed (a process the kernel holds) is left and told. */
  readonly giveUpMs: number;
}

export interface EndResult {
  readonly ended: readonly ProcessIdentity[];
  readonly survivors: readonly ProcessIdentity[];
}

/** Between two looks: short, for an attempt's end waits for it. */
const LOOK_AGAIN_MS = 50;
/** While something is being ended. Looks cost some milliseconds each, so they become rarer. */
const LONGEST_PAUSE_MS = 500;

/** Ends what belongs: TERM, grace, KILL, until two looks in a row find nothing. Runs in real time. */
export async function endBelonging(request: EndRequest): Promise<EndResult> {
  const { engineId, graceMs, giveUpMs } = request;
  const search: Belonging = {
    engineId,
    selfPid: process.pid,
    ...(request.attemptId === undefined ? {} : { attemptId: request.attemptId }),
  };
  /** What earlier looks found counts for later ones, when it may have lost its parent. */
  let seen: KnownAttempt = { attemptId: request.attemptId ?? "", root: null, members: [] };
  const asked = new Map<string, ProcessIdentity>();
  const startedMs = performance.now();
  let pauseMs = LOOK_AGAIN_MS;
  let emptyLooks = 0;
  let isOver = false;
  for (;;) {
    const table = await readProcessTable({ marks: "all" });
    const found = findBelonging(table, [...request.known, seen], search);
    if (found.length === 0 && ++emptyLooks === 2) return { ended: [...asked.values()], survivors: [] };
    if (found.length > 0) emptyLooks = 0;
    seen = remember(table, seen, found);

    const elapsedMs = performance.now() - startedMs;
    if (found.length > 0 && elapsedMs >= giveUpMs) {
      const survivors = found.map(({ pid, startTime }) => ({ pid, startTime }));
      const left = keysOf(survivors);
      return { ended: [...asked.values()].filter((process_) => !left.has(keyOf(process_))), survivors };
    }
    // The end is near: looks are frequent again.
    const wasOver = isOver;
    isOver ||= elapsedMs >= graceMs || request.isGraceOver?.() === true;
    if (isOver && !wasOver) pauseMs = LOOK_AGAIN_MS;
    await signalEach(found, (row) => {
      const isNew = !asked.has(keyOf(row));
      asked.set(keyOf(row), { pid: row.pid, startTime: row.startTime });
      if (isOver) return ["SIGKILL"];
      // A stopped process takes TERM only once it goes on.
      return isNew ? ["SIGTERM", "SIGCONT"] : [];
    });
    const untilKillMs = isOver ? Infinity : Math.max(1, graceMs - elapsedMs);
    await delay(found.length === 0 ? LOOK_AGAIN_MS : Math.min(pauseMs, untilKillMs));
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.5);
  }
}

/** Signals single processes, never a group: an engine that was started inside an attempt may sit in the same one. */
export async function signalEach(
  rows: readonly ProcessRow[],
  signalsFor: (row: ProcessRow) => readonly NodeJS.Signals[],
): Promise<void> {
  const due = rows.map((row) => ({ row, signals: signalsFor(row) })).filter(({ signals }) => signals.length > 0);
  // The look is some milliseconds old: one of them may have become an engine since.
  const marks = await readMarks(due.map(({ row }) => row.pid));
  for (const { row, signals } of due) {
    if (marks.get(row.pid)?.engine != null) continue;
    for (const signal of signals) signalProcess(row, signal);
  }
}

/** Signals that very process; false when it is gone, its pid is somebody else's, or it is not ours to signal. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (identityOf(identity.pid)?.startTime !== identity.startTime) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch {
    return false;
  }
}

function keyOf({ pid, startTime }: ProcessIdentity): string {
  return `${pid}@${startTime}`;
}

function keysOf(identities: readonly ProcessIdentity[]): ReadonlySet<string> {
  return new Set(identities.map(keyOf));
}
