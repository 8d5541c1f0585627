/** What was said to and by a task's agent, in pages that a parent can take in; `orchestrator logs TASK --turns` has all. */
import type { TaskRecord } from "../plan/records.ts";
import { taskKey } from "../plan/records.ts";
import type { Store } from "../store/store.ts";
import type { TurnRow } from "../store/turns.ts";
import type { StoredTokens } from "../store/usage-shapes.ts";
import type { TaskDetail } from "./task-status.ts";

type Entry = NonNullable<TaskDetail["history"]>[number];

/** Of a page; the last of what was said is what a reader wants first. */
const MAX_ENTRIES = 60;
const MAX_CHARACTERS = 12_000;
const MAX_ENTRY_CHARACTERS = 3_000;

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

export function tokensOf({ inputTokens, outputTokens, cachedInputTokens }: StoredTokens): {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
} {
  return { input: inputTokens, output: outputTokens, cached: cachedInputTokens };
}
