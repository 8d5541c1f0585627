/** Which providers may serve a task at its step, and with which it would start, in the simulation's own words. */
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { admits, type ProviderHealthBook } from "./provider-book.ts";

export interface ProviderListBook {
  /** The providers of each step, the one it is with first. */
  readonly lists: Map<string, readonly string[]>;
  /** Providers that can't serve a task before a person has acted. */
  readonly ruledOut: Map<TaskKey, readonly string[]>;
  /** The task that probes a provider. */
  readonly probes: ReadonlyMap<string, TaskKey>;
  /** How many steps of its workflow each task has behind it. */
  readonly passed: ReadonlyMap<TaskKey, number>;
  readonly health: ProviderHealthBook;
}

/** What a person must put right at one provider, while another may do. */
const NEEDS_PERSON_THERE: ReadonlySet<string> = new Set(["auth", "billing", "spawn-failed"]);

/** A task that is new, or whose text is. */
export function learn({ lists }: ProviderListBook, task: TaskRecord): void {
  for (const [step, { provider, otherProviders = [] }] of task.workflow.steps.entries()) {
    lists.set(`${taskKey(task)} ${step}`, [provider, ...otherProviders]);
  }
}

/** All that it may run on where it is, with the one that it is with first. */
export function listOf({ lists }: ProviderListBook, task: TaskRecord): readonly string[] {
  return lists.get(`${taskKey(task)} ${task.step}`) ?? [];
}

/** The providers that may serve the task at its step, those that need a person left out. */
export function candidatesOf(book: ProviderListBook, task: TaskRecord): readonly string[] {
  const list = listOf(book, task);
  const left = list.filter((name) => !book.ruledOut.get(taskKey(task))?.includes(name));
  return list.length === 1 || left.length === 0 ? list.slice(0, 1) : left;
}

/** All that its step may run on; the last one's where each was passed. */
export function providersOf({ lists, passed }: ProviderListBook, task: TaskRecord): readonly string[] {
  const key = taskKey(task);
  const step = Math.min(passed.get(key) ?? 0, task.workflow.steps.length - 1);
  return lists.get(`${key} ${step}`) ?? [];
}

/** The first that lets it through. */
export function providerFor(book: ProviderListBook, task: TaskRecord, nowMs: number): string | undefined {
  return candidatesOf(book, task).find((name) => {
    const admitted = admits(book.health, name, nowMs);
    return admitted === "all" || (admitted === "one" && !book.probes.has(name));
  });
}

/** Who went elsewhere stays there. */
export function goTo(book: ProviderListBook, task: TaskRecord, provider: string): void {
  const others = listOf(book, task).filter((name) => name !== provider);
  book.lists.set(`${taskKey(task)} ${task.step}`, [provider, ...others]);
}

/** True when another of its providers can serve it. */
export function ruleOut(book: ProviderListBook, task: TaskRecord, code: string): boolean {
  const list = listOf(book, task);
  const [current = ""] = list;
  const key = taskKey(task);
  const out = [...(book.ruledOut.get(key) ?? []), current];
  if (!NEEDS_PERSON_THERE.has(code) || list.every((name) => out.includes(name))) return false;
  book.ruledOut.set(key, out);
  return true;
}

/** Somebody has acted: what was ruled out, or `only` that, may be tried again. */
export function letIn({ ruledOut }: ProviderListBook, key: TaskKey, only: string | null): void {
  ruledOut.set(key, only === null ? [] : (ruledOut.get(key) ?? []).filter((name) => name !== only));
}
