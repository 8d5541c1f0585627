/** What was said to and by a task's agent, in pages that a parent can take in; `orchestrator logs TASK --turns` has all. */
import type { TaskRecord } from "../plan/records.ts";
import { taskKey } from "../plan/records.ts";
import type { Store } from "../store/store.ts";
import type { ConsultationRow } from "../store/consultations.ts";
import type { TurnKind, TurnPage, TurnRow } from "../store/turns.ts";
import type { StoredTokens } from "../store/usage-shapes.ts";
import type { TaskDetail } from "./task-status.ts";

type Entry = NonNullable<TaskDetail["history"]>[number];

/** Of a page; the last of what was said is what a reader wants first. */
const MAX_ENTRIES = 60;
const MAX_CHARACTERS = 12_000;
const MAX_ENTRY_CHARACTERS = 3_000;

/** Prompt, answer and end of a consultation. */
const PARTS = 3;

/** A page of the conversation, oldest entry first; `offset` counts entries from its end. */
export function historyOf(store: Store, task: TaskRecord, offset: number): Entry[] {
  const numbers = new Map(store.attempts.listByTask(task.planId, task.id).map(({ id, number }) => [id, number]));
  const last = store.turns.listByTask(task.planId, task.id, { limit: offset + MAX_ENTRIES + 1 });
  const entries: Entry[] = [];
  let characters = 0;
  let index = last.length - offset;
  while (index > 0 && entries.length < MAX_ENTRIES) {
    const row = last[index - 1];
    if (row === undefined) break;
    const entry = entryOf(row, numbers.get(row.attemptId) ?? 0, taskKey(task));
    characters += entry.text.length;
    if (entries.length > 0 && characters > MAX_CHARACTERS) break;
    entries.unshift(entry);
    index -= 1;
  }
  const [first] = entries;
  if (first === undefined || index === 0) return entries;
  const text = `… more was said before: call again with offset: ${offset + entries.length}`;
  return [{ ...first, kind: "note", text }, ...entries];
}

function entryOf({ kind, text, atMs }: TurnRow, attempt: number, key: string): Entry {
  const rest = text.length - MAX_ENTRY_CHARACTERS;
  const cut =
    rest > 0
      ? `${text.slice(0, MAX_ENTRY_CHARACTERS)}… (${rest} more characters: orchestrator logs ${key} --turns)`
      : text;
  return { attempt, kind, text: cut, at: new Date(atMs).toISOString() };
}

interface PlanTurn {
  /** Its place in the plan's conversation, from 1: entries are only ever added behind. */
  readonly id: number;
  /** The consultation's. */
  readonly attempt: string;
  readonly atMs: number;
  readonly kind: TurnKind;
  readonly text: string;
}

interface PlanConversation {
  readonly turns: PlanTurn[];
  readonly attempts: (ConsultationRow & { readonly number: number })[];
}

/** What the orchestrator role was asked in a plan and what it answered: the last `limit` entries, oldest first. */
export function planConversation(store: Store, planId: string, { limit, beforeId }: TurnPage): PlanConversation {
  const attempts = store.consultations.listByPlan(planId).map((row, index) => ({ ...row, number: index + 1 }));
  const turns = attempts.flatMap((row): PlanTurn[] => {
    const id = row.number * PARTS;
    const prompt = { id: id - 2, attempt: row.id, atMs: row.startedAtMs, kind: "prompt", text: row.prompt } as const;
    if (row.endedAtMs === null) return [prompt];
    const end = { attempt: row.id, atMs: row.endedAtMs };
    const note = row.message === null ? `${row.outcome ?? ""}` : `${row.outcome ?? ""}: ${row.message}`;
    const said = row.answer === null ? [] : [{ ...end, id: id - 1, kind: "text", text: row.answer } as const];
    return [prompt, ...said, { ...end, id, kind: "note", text: note }];
  });
  return { attempts, turns: turns.filter(({ id }) => id < (beforeId ?? Infinity)).slice(-limit) };
}

export function tokensOf({ inputTokens, outputTokens, cachedInputTokens }: StoredTokens): {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
} {
  return { input: inputTokens, output: outputTokens, cached: cachedInputTokens };
}
