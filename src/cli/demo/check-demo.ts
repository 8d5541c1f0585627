/** Whether the demo went as promised: looks at the repository and at what happened, not at what was reported. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { StoredEvent } from "../../events/event.ts";
import type { Summary } from "../render-summary.ts";
import { DEMO_TASKS, EXPECTED_FILES, MERGED_TASKS } from "./demo-plan.ts";
import type { DemoRepository } from "./demo-repository.ts";

export interface KeptPromise {
  readonly promise: string;
  /** Null: kept. */
  readonly problem: string | null;
}

export function checkDemo(repository: DemoRepository, summary: Summary, events: readonly StoredEvent[]): KeptPromise[] {
  return [
    { promise: "every task succeeded or was passed over", problem: checkStates(summary) },
    { promise: "each task's work was merged once", problem: checkMerges(repository, summary) },
    { promise: "the files say what they should", problem: checkFiles(repository.path) },
    { promise: "no task began before its dependencies were done", problem: checkOrder(events) },
    { promise: "two that write one file took turns, and the second said why it waits", problem: checkTurns(events) },
    { promise: "a failure was tried again and then succeeded", problem: checkRetry(events) },
    { promise: "another failed for good, and the rest went on", problem: checkSkipped(events) },
    { promise: "the checkout is clean", problem: checkClean(repository) },
  ];
}

function checkStates(summary: Summary): string | null {
  const skipped = summary.counts["skipped"] ?? 0;
  if (summary.state === "succeeded" && skipped === 1) return null;
  return `the plan is ${summary.state}, ${skipped} tasks were passed over`;
}

function checkMerges(repository: DemoRepository, summary: Summary): string | null {
  const merged = summary.merged.map(({ task }) => task.split("/")[1] ?? "").sort();
  const wanted = [...MERGED_TASKS].sort();
  if (merged.join() !== wanted.join()) return `merged were ${merged.join(", ")}; expected ${wanted.join(", ")}`;
  const trailers = repository.git(
    "log",
    "--merges",
    "--first-parent",
    "--format=%(trailers:key=Orchestrator-Task,valueonly)",
    "main",
  );
  const inHistory = trailers
    .split("\n")
    .filter(Boolean)
    .map((name) => name.split("/").at(-1) ?? "")
    .sort();
  return inHistory.join() === wanted.join() ? null : `the history has merges of ${inHistory.join(", ")}`;
}

function checkFiles(folder: string): string | null {
  for (const [name, wanted] of Object.entries(EXPECTED_FILES)) {
    const path = join(folder, name);
    if (!existsSync(path)) return `${name} is missing`;
    const found = readFileSync(path, "utf8");
    if (found !== wanted) return `${name} holds ${JSON.stringify(found.slice(0, 200))}`;
  }
  const words = readFileSync(join(folder, "words.txt"), "utf8").trim();
  return words === "6" ? null : `words.txt holds ${JSON.stringify(words)}`;
}

const seqOf = (events: readonly StoredEvent[], taskId: string, to: string): number | null =>
  events.find(({ taskId: id, body }) => id === taskId && body.type === "task-state" && body.to === to)?.seq ?? null;

function checkOrder(events: readonly StoredEvent[]): string | null {
  for (const { id, dependsOn } of DEMO_TASKS) {
    const begin = seqOf(events, id, "running");
    if (begin === null) return `${id} never ran`;
    for (const dependency of dependsOn ?? []) {
      const end = seqOf(events, dependency, "succeeded") ?? seqOf(events, dependency, "skipped");
      if (end === null || end > begin) return `${id} began before ${dependency} was done`;
    }
  }
  return null;
}

function checkTurns(events: readonly StoredEvent[]): string | null {
  const pair = ["menu-home", "menu-about"];
  const hasWaited = events.some(
    ({ taskId, body }) => pair.includes(taskId ?? "") && body.type === "task-state" && body.wait?.code === "lock",
  );
  if (!hasWaited) return "neither waited for the other";
  const spans = pair.map((id) => ({
    begin: seqOf(events, id, "running") ?? 0,
    end: seqOf(events, id, "succeeded") ?? 0,
  }));
  const [first, second] = spans.toSorted((left, right) => left.begin - right.begin);
  return first !== undefined && second !== undefined && first.end < second.begin ? null : "they ran at the same time";
}

function checkRetry(events: readonly StoredEvent[]): string | null {
  const outcomes = events.flatMap(({ taskId, body }) =>
    taskId === "words" && body.type === "attempt-ended" ? [body.outcome] : [],
  );
  return outcomes.join() === "failed,succeeded" ? null : `its attempts were ${outcomes.join(", ")}`;
}

function checkSkipped(events: readonly StoredEvent[]): string | null {
  const hasFailed = events.some(
    ({ taskId, body }) => taskId === "links" && body.type === "attempt-ended" && body.outcome === "failed",
  );
  return hasFailed && seqOf(events, "links", "skipped") !== null ? null : "links did not fail as it should";
}

function checkClean(repository: DemoRepository): string | null {
  const changes = repository.git("status", "--porcelain");
  return changes === "" ? null : `git status says: ${changes}`;
}
