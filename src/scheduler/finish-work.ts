/** After the agent: commits what it left, compares what it wrote with what it claimed, and weighs its own report. */
import { messageOf } from "../errors.ts";
import { pathsOutside } from "../plan/claims.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import type { Parts } from "./parts.ts";
import type { PlanSettings } from "./settings.ts";
import type { TaskPlace } from "./task-place.ts";

export interface FinishedWork {
  readonly end: AttemptEnd;
  readonly write: () => void;
}

/**
 * Called once no process of the attempt lives. Work is committed at every end but those after which the same agent
 * goes on in the same worktree, where it finds it as it left it.
 */
export async function finishWork(
  parts: Parts,
  task: TaskRecord,
  place: TaskPlace,
  settings: PlanSettings,
  attemptId: string,
  end: AttemptEnd,
): Promise<FinishedWork> {
  const { store, repository } = parts;
  const nothing = { end, write: () => {} };
  if (end.type === "failed" && goesOn(end.cause)) return nothing;
  if (end.type === "asked" || end.type === "not-started" || (end.type === "stopped" && task.wish === "pause"))
    return nothing;
  const trailers = { planId: task.planId, taskId: task.id, attempt: task.ledger.attempts };
  try {
    const subject = end.type === "succeeded" ? task.spec.title : `Work in progress: ${task.spec.title}`;
    const committed = await repository.worktrees.commitLeftovers(place.path, { subject, trailers });
    if (committed.type === "obstructed") {
      if (end.type !== "succeeded") return nothing;
      const message = `its work could not be committed: ${committed.message}`;
      return { end: { ...noResult, message }, write: () => {} };
    }
    const files = await repository.changedFiles(place.baseSha, committed.sha);
    const write = (): void => {
      store.tasks.setWork(task.planId, task.id, { headSha: committed.sha });
    };
    if (end.type !== "succeeded") return { end, write };
    const report = store.tasks.getWork(task.planId, task.id)?.report ?? null;
    if (report?.status === "failed") {
      const told: AttemptEnd = {
        ...noResult,
        cause: "reported-failure",
        message: `the agent reported: ${report.summary}`,
      };
      return { end: told, write };
    }
    const undeclared = undeclaredWrites(
      task,
      files.map((file) => file.path),
    );
    if (undeclared.length > 0 && settings.undeclaredWrites !== "allow") {
      const words = `wrote outside its claim: ${undeclared.slice(0, 10).join(", ")}${undeclared.length > 10 ? ` and ${undeclared.length - 10} more` : ""}`;
      if (settings.undeclaredWrites === "fail") {
        return { end: { ...noResult, cause: "reported-failure", message: words }, write };
      }
      return {
        end: { ...end, hasChanges: files.length > 0 },
        write: () => {
          write();
          warn(parts, task, attemptId, words);
        },
      };
    }
    // A branch whose commits change nothing in sum still has commits; what counts for merging is the tree.
    return { end: { ...end, hasChanges: files.length > 0 }, write };
  } catch (thrown) {
    parts.log("warning", `the work of ${taskKey(task)} could not be committed: ${messageOf(thrown)}`, {});
    if (end.type !== "succeeded") return nothing;
    return { end: { ...noResult, cause: "worktree-failed", message: messageOf(thrown) }, write: () => {} };
  }
}

const noResult = {
  type: "failed",
  cause: "no-result",
  message: "",
  remedy: null,
  retryAfterMs: null,
  resetsAtMs: null,
} as const;

function goesOn(cause: string): boolean {
  return (
    cause === "transient" ||
    cause === "rate-limit" ||
    cause === "stalled" ||
    cause === "crashed" ||
    cause === "usage-limit" ||
    cause === "turn-limit"
  );
}

function undeclaredWrites(task: TaskRecord, paths: readonly string[]): string[] {
  return task.spec.writes === null ? [] : pathsOutside(task.spec.writes, paths);
}

function warn(parts: Parts, task: TaskRecord, attemptId: string, message: string): void {
  const body = { type: "warning", message: `${taskKey(task)} ${message}` } as const;
  parts.store.events.append({ planId: task.planId, taskId: task.id, attemptId, body });
}
