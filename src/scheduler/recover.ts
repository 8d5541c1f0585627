/**
 * What was under way when the engine last ended is looked up and decided, never guessed: processes by their mark,
 * branches and refs by git, the rest by the store. Nothing finished runs again and no retry is spent.
 */
import { crashPoint } from "../crash-point.ts";
import { messageOf } from "../errors.ts";
import { longestPaths, checkGraph } from "../plan/graph.ts";
import { endAttempt, endMerge } from "../plan/outcomes.ts";
import { taskKey, type PlanRecord, type TaskKey, type TaskRecord } from "../plan/records.ts";
import { hasArrived } from "./has-arrived.ts";
import { weigher } from "../plan/workflow.ts";
import type { Commit, Parts } from "./parts.ts";
import { fundsOf, learnUses } from "./plan-funds.ts";
import { tidyTask } from "./tidy-task.ts";

/** Answers how many tasks were under way. */
export async function recover(parts: Parts, commit: Commit): Promise<number> {
  const { store, board } = parts;
  // Roots that were stored and never seen to end: also those whose environment carries no mark any more are found.
  const known = [...store.attempts.listOpen(), ...store.consultations.listOpen()].flatMap(
    ({ id, pid, processStart }) => {
      const root = pid === null || processStart === null ? null : { pid, startTime: processStart };
      return root === null ? [] : [{ attemptId: id, root, members: [] }];
    },
  );
  const ended = await parts.endLeftovers(known);
  endOpenConsultations(parts);
  if (ended > 0) parts.log("warning", `ended ${ended} processes that an earlier engine left behind`, { ended });

  crashPoint("recovery-processes-ended");
  learnUses(parts);
  for (const health of store.providers.loadAll()) board.restoreProvider(health);
  const plans = store.plans.listOpen();
  const merged = await lookUpMerges(parts);
  crashPoint("recovery-merges-looked-up");
  commit(() => {
    for (const plan of plans) addPlan(parts, plan, store.tasks.listByPlan(plan.id));
  });
  let recovered = 0;
  commit(() => {
    recovered += endOpenAttempts(parts);
    recovered += endOpenMerges(parts, merged);
  });
  crashPoint("recovery-outcomes-written");
  await tidyLeftovers(parts);
  return recovered;
}

/** Puts a plan on the board, path lengths from what its roles took so far. */
export function addPlan(parts: Parts, plan: PlanRecord, tasks: readonly TaskRecord[]): void {
  const weightOf = weigher(parts.store.roles.meanDurations());
  const specs = tasks.map((task) => task.spec);
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const lengths = longestPaths(specs, checkGraph(specs), (id) => weightOf(byId.get(id)));
  parts.board.addPlan(plan, tasks, lengths, fundsOf(parts, plan.id));
}

/** Which merges that were being moved arrived: the candidate is in the target, or it is not. */
async function lookUpMerges(parts: Parts): Promise<ReadonlyMap<string, boolean>> {
  const arrived = new Map<string, boolean>();
  for (const merge of parts.store.merges.listOpen()) {
    let isThere = false;
    if (merge.state === "moving" && merge.candidateSha !== null) {
      const tip = await parts.repository.branchTip(merge.target);
      isThere = tip !== null && (await hasArrived(parts, merge.candidateSha, tip));
    }
    arrived.set(merge.id, isThere);
  }
  return arrived;
}

/** Turns of the orchestrator role have ended with the engine; what they were asked is asked again. */
function endOpenConsultations({ store, clock }: Parts): void {
  store.transaction(() => {
    for (const { id } of store.consultations.listOpen()) {
      const message = "the engine ended while it ran";
      store.consultations.update(id, { endedAtMs: clock.nowMs(), outcome: "interrupted", message });
    }
  });
}

function endOpenAttempts(parts: Parts): number {
  const { store, board, clock, ids } = parts;
  const nowMs = clock.nowMs();
  const open = new Map<TaskKey, string>();
  for (const attempt of store.attempts.listOpen()) {
    const hadProcess = attempt.pid !== null;
    const { id: attemptId, planId, taskId } = attempt;
    if (hadProcess) open.set(taskKey({ planId, id: taskId }), attemptId);
    const message = hadProcess ? "the engine ended while it ran" : "the engine ended before its agent was started";
    store.turns.append({ attemptId, planId, taskId, atMs: nowMs, kind: "note", text: message });
    store.attempts.update(attemptId, {
      state: "ended",
      endedAtMs: nowMs,
      outcome: "failed",
      cause: "engine-crash",
      message,
    });
  }
  let count = 0;
  for (const plan of board.plans()) {
    for (const { record } of plan.nodes.values()) {
      if (record.state !== "running") continue;
      count += 1;
      const key = taskKey(record);
      // Without a row or a process the agent was not started: nothing was interrupted, so nothing is spent.
      const end = open.has(key)
        ? ({
            type: "failed",
            cause: "engine-crash",
            message: "the engine ended while it ran",
            remedy: null,
            retryAfterMs: null,
            resetsAtMs: null,
          } as const)
        : ({ type: "interrupted" } as const);
      endAttempt(board, key, end, nowMs, ids.random());
    }
  }
  return count;
}

function endOpenMerges(parts: Parts, arrived: ReadonlyMap<string, boolean>): number {
  const { store, board, clock } = parts;
  let count = 0;
  for (const merge of store.merges.listOpen()) {
    count += 1;
    const isThere = arrived.get(merge.id) === true;
    store.merges.update(merge.id, {
      state: "ended",
      endedAtMs: clock.nowMs(),
      outcome: isThere ? "merged" : "interrupted",
      message: isThere ? "found on the target after a restart" : "the engine ended before the target was moved",
    });
    const key = taskKey({ planId: merge.planId, id: merge.taskId });
    if (!isThere || merge.candidateSha === null || !board.hasPlan(merge.planId)) continue;
    if (board.node(key).record.state !== "merging") continue;
    endMerge(board, key, { type: "merged", sha: merge.candidateSha });
    const body = {
      type: "merge-ended",
      target: merge.target,
      outcome: "merged",
      sha: merge.candidateSha,
      message: "found on the target after a restart",
    } as const;
    store.events.append({ planId: merge.planId, taskId: merge.taskId, attemptId: null, body });
  }
  return count;
}

async function tidyLeftovers(parts: Parts): Promise<void> {
  // Also of plans that have ended, which are not on the board: the end is written before the last worktree goes.
  for (const task of parts.store.tasks.listUntidied()) await tidyTask(parts, task);
  try {
    crashPoint("recovery-finished-tidied");
    await parts.repository.worktrees.prune();
  } catch (thrown) {
    parts.log("warning", `half-made worktrees could not be pruned: ${messageOf(thrown)}`, {});
  }
}
