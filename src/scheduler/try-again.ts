/** What fails in the repository for a reason that may pass at once is tried again before it counts. */
import { setTimeout as delay } from "node:timers/promises";
import { hasCode, messageOf } from "../errors.ts";
import { machineLimitOf } from "../machine-limits.ts";
import type { Parts } from "./parts.ts";

const TRIES = 3;
const PAUSE_MS = 250;

/**
 * `work` must be repeatable: it looks at what is there, as after a death. A user's `git gc --prune=now` takes objects
 * away that have no ref yet, another program holds a lock, or a git of ours is ended by somebody: a task that failed for
 * that would need a person. What the machine lacks is not tried here: it takes longer, and has a wait of its own.
 */
export async function tryAgain<Result>(parts: Parts, what: string, work: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (thrown) {
      const mayPass = hasCode(thrown, "GIT_FAILED") || hasCode(thrown, "WORKTREE_FAILED");
      if (!mayPass || machineLimitOf(thrown) !== null || tries === TRIES) throw thrown;
      parts.log("warning", `${what}: tried again after: ${messageOf(thrown)}`, {});
      await delay(PAUSE_MS);
    }
  }
}
