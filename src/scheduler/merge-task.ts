/**
 * One task's way through the merge queue of its target: candidate, verify, move. The board lets one at a time through
 * for each target. Each step's intent is in the merge's row before the step, so that `recover.ts` can look up what
 * became of it; building and verifying are repeatable and touch nothing of the user's.
 */
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { crashPoint } from "../crash-point.ts";
import type { MoveOptions, MoveOutcome } from "../git/move-target.ts";
import type { MergeEnd } from "../plan/outcomes.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import { messageOf } from "../errors.ts";
import { checkoutSignature } from "../git/checkout-signature.ts";
import type { Ended } from "./attempt-end.ts";
import { machineWait } from "./machine-wait.ts";
import type { Commit, Parts } from "./parts.ts";
import { hasArrived } from "./has-arrived.ts";
import { branchOf } from "./task-place.ts";
import { tryAgain } from "./try-again.ts";
import { verify } from "./verify.ts";
import { whyApproval } from "./why-approval.ts";

/** A target that moves this often under one merge is being pushed to by a machine: others get their turn first. */
const MAX_RACES = 5;

/** A lock is most often one of the user's own git commands that is done in a moment. */
const LOCK_TRIES = 8;
const LOCK_PAUSE_MS = 400;

export async function mergeTask(
  parts: Parts,
  task: TaskRecord,
  commit: Commit,
  isStopping: () => boolean,
): Promise<Ended<MergeEnd> & { readonly signature: string | null; readonly inTheWay: readonly string[] }> {
  const { store, ids, clock, board } = parts;
  const { target } = board.plan(task.planId).record;
  const mergeId = ids.uuid();
  const branchSha = await parts.repository.branchTip(branchOf(task));
  commit(() => {
    store.merges.insert({
      id: mergeId,
      planId: task.planId,
      taskId: task.id,
      target,
      strategy: "merge",
      branchSha: branchSha ?? "",
      state: "building",
      targetSha: null,
      candidateSha: null,
      startedAtMs: clock.nowMs(),
      endedAtMs: null,
      outcome: null,
      message: null,
      verifyOutput: null,
    });
    const body = { type: "merge-started", target, candidate: null } as const;
    store.events.append({ planId: task.planId, taskId: task.id, attemptId: null, body });
  });
  crashPoint("merge-row-written");
  let end: MergeEnd;
  // What the checkout looks like before anything is tried: see CheckoutWatch.
  const signature = await checkoutSignature(parts.repository, target).catch(() => null);
  const inTheWay: string[] = [];
  try {
    end =
      branchSha === null
        ? gone(task)
        : await tryAgain(parts, `the merge of ${taskKey(task)}`, () =>
            run({ parts, task, commit, isStopping, mergeId, target, branchSha, inTheWay }),
          );
  } catch (thrown) {
    parts.log("error", `merging ${taskKey(task)} failed: ${messageOf(thrown)}`, {});
    const wait = machineWait(parts, thrown);
    end =
      wait !== null
        ? { type: "wait", ...wait }
        : waitFor("manual-merge", `merging failed: ${messageOf(thrown)}`, `orchestrator merge ${taskKey(task)}`);
  }
  return { end, signature, inTheWay, write: () => writeEnd(parts, task, mergeId, target, end) };
}

interface Merge {
  readonly parts: Parts;
  readonly task: TaskRecord;
  readonly commit: Commit;
  readonly isStopping: () => boolean;
  readonly mergeId: string;
  readonly target: string;
  readonly branchSha: string;
  /** Filled when the move was refused: the user's files, absolute, that stand in the way. */
  readonly inTheWay: string[];
}

async function run(merge: Merge): Promise<MergeEnd> {
  const { parts, task, commit, mergeId, target, branchSha } = merge;
  const { repository, store } = parts;
  for (let race = 0; race < MAX_RACES; race += 1) {
    if (merge.isStopping()) return { type: "again" };
    const targetSha = await repository.branchTip(target);
    if (targetSha === null) {
      return waitFor("target", `the target branch ${target} does not exist any more`, `git branch ${target} <commit>`);
    }
    const worktree = await repository.queueWorktree(target, targetSha);
    const trailers = { planId: task.planId, taskId: task.id, attempt: task.ledger.attempts };
    const candidate = await repository.buildCandidate({
      targetSha,
      branchSha,
      strategy: "merge",
      worktree,
      text: { subject: `Merge ${task.id}: ${task.spec.title}`, trailers },
    });
    if (candidate.type === "nothing") return await whatArrived(merge, targetSha);
    if (candidate.type === "conflict") {
      const names = candidate.files.map((file) => file.path);
      return waitFor(
        "conflict",
        `conflicts with ${target} in ${names.slice(0, 10).join(", ")}${names.length > 10 ? ` and ${names.length - 10} more` : ""}`,
        `git -C ${repository.worktrees.pathOf(task.planId, task.id)} merge ${target}, mend and commit, then: orchestrator merge ${taskKey(task)}`,
      );
    }
    if (task.consent !== "approve") {
      const why = await whyApproval(parts, task, { targetSha, branchSha, paths: candidate.paths });
      if (why !== null) return waitFor("approval", why, `orchestrator approve ${taskKey(task)}`);
    }
    crashPoint("merge-candidate-made");
    commit(() => store.merges.update(mergeId, { state: "verifying", targetSha, candidateSha: candidate.sha }));
    crashPoint("merge-candidate-written");
    const verdict = await verify(
      parts,
      task,
      { mergeId, target, targetSha, candidateSha: candidate.sha },
      merge.isStopping,
    );
    if (verdict !== null) return verdict;
    if (merge.isStopping()) return { type: "again" };

    crashPoint("merge-verified");
    commit(() => store.merges.update(mergeId, { state: "moving" }));
    crashPoint("merge-moving-written");
    const moved = await move(merge, { target, from: targetSha, to: candidate.sha });
    crashPoint("merge-target-moved");
    if (moved.type === "moved") return { type: "merged", sha: candidate.sha };
    if (moved.type === "refused") {
      const checkout = moved.worktree ?? repository.mainWorktree;
      merge.inTheWay.push(...moved.files.map((file) => resolve(checkout, file)));
      return waitFor(
        "manual-merge",
        `${moved.gitWords.trim()} — tries again by itself when the checkout changes`,
        moved.command,
      );
    }
  }
  return { type: "again" };
}

/**
 * The target has all of it already. A git that an earlier engine had started may have moved it after that engine was
 * dead and this one had looked: then it is that merge, which undo and dependents ask for.
 */
async function whatArrived({ parts, task }: Merge, targetSha: string): Promise<MergeEnd> {
  for (const { candidateSha } of parts.store.merges.listByTask(task.planId, task.id).reverse()) {
    if (candidateSha !== null && (await hasArrived(parts, candidateSha, targetSha)))
      return { type: "merged", sha: candidateSha };
  }
  return { type: "nothing" };
}

async function move({ parts, isStopping }: Merge, options: MoveOptions): Promise<MoveOutcome> {
  for (let tries = 1; ; tries += 1) {
    const moved = await parts.repository.moveTarget(options);
    const isLocked = moved.type === "refused" && moved.reason === "locked";
    if (!isLocked || tries === LOCK_TRIES || isStopping()) return moved;
    await delay(LOCK_PAUSE_MS);
  }
}

function writeEnd(parts: Parts, task: TaskRecord, mergeId: string, target: string, end: MergeEnd): void {
  const { store, clock } = parts;
  const outcome = end.type === "wait" ? end.code : end.type;
  const message = end.type === "wait" ? end.message : null;
  const sha = end.type === "merged" ? end.sha : null;
  const verifyOutput = end.type === "verify-failed" ? end.output : end.type === "wait" ? end.verifyOutput : undefined;
  store.merges.update(mergeId, {
    state: "ended",
    endedAtMs: clock.nowMs(),
    outcome,
    message,
    ...(verifyOutput === undefined ? {} : { verifyOutput }),
  });
  if (verifyOutput !== undefined) store.tasks.setWork(task.planId, task.id, { verifyOutput });
  const body = { type: "merge-ended", target, outcome, sha, message } as const;
  store.events.append({ planId: task.planId, taskId: task.id, attemptId: null, body });
}

function gone(task: TaskRecord): MergeEnd {
  const branch = branchOf(task);
  return waitFor(
    "manual-merge",
    `its branch ${branch} is gone`,
    `git branch ${branch} <commit>; orchestrator merge ${taskKey(task)}`,
  );
}

function waitFor(code: Extract<MergeEnd, { type: "wait" }>["code"], message: string, command: string): MergeEnd {
  return { type: "wait", code, message, command };
}
