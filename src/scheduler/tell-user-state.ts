/** After an attempt: what changed in the user's own repository meanwhile is told, and a stash that went is kept. */
import { messageOf } from "../errors.ts";
import { readUserState, userStateChange, type UserState } from "../git/user-state.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import type { Commit, Parts } from "./parts.ts";

/** How it was when the attempt began; null where it can't be read. Never throws. */
export async function userStateBefore(parts: Parts): Promise<UserState | null> {
  try {
    return await readUserState(parts.repository.commonDir);
  } catch (thrown) {
    parts.log("warning", `the repository's own state could not be read: ${messageOf(thrown)}`, {});
    return null;
  }
}

/**
 * Nobody can tell whether it was the agent or the user beside it, so nothing is undone: a note in the task's events
 * names what it was, and a stash entry gets a kept ref. Never throws.
 */
export async function tellUserState(
  parts: Parts,
  commit: Commit,
  task: TaskRecord,
  attemptId: string,
  before: UserState | null,
): Promise<void> {
  if (before === null) return;
  const { planId, id: taskId } = task;
  try {
    const { takenStashes, files } = userStateChange(before, await readUserState(parts.repository.commonDir));
    const notes: string[] = [];
    for (const sha of takenStashes) {
      const { ref } = await parts.repository.keep({ planId, taskId }, sha, "orchestrator: a stash entry went");
      notes.push(`a stash entry went while it ran, and is kept: git stash apply ${ref} has its changes back`);
    }
    if (files.length > 0) {
      const names = files.slice(0, 5).join(", ");
      const more = files.length > 5 ? ` and ${files.length - 5} more` : "";
      notes.push(`while it ran, git's own folder was changed: ${names}${more}; look at it if it was not you`);
    }
    if (notes.length === 0) return;
    commit(() => {
      for (const message of notes) {
        parts.store.events.append({ planId, taskId, attemptId, body: { type: "attempt-note", message } });
      }
    });
  } catch (thrown) {
    parts.log("warning", `what ${taskKey(task)} left in the repository could not be told: ${messageOf(thrown)}`, {});
  }
}
