/** After the agent: commits what it left, compares what it wrote with what it claimed, and weighs its own report. */
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../errors.ts";
import type { EventBody } from "../events/event.ts";
import { machineLimitOf } from "../machine-limits.ts";
import { pathsOutside } from "../plan/claims.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import { isReview } from "../plan/workflow.ts";
import type { Prepared } from "./attempt-request.ts";
import type { Parts } from "./parts.ts";
import type { Judgement, StepFacts } from "./review.ts";
import { tryAgain } from "./try-again.ts";

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
  prepared: Prepared,
  attemptId: string,
  judgement: Judgement,
  isStopping: () => boolean = () => false,
): Promise<FinishedWork> {
  const { store, repository } = parts;
  const { place, settings } = prepared;
  const { end } = judgement;
  const nothing = { end, write: () => {} };
  if (end.type === "failed" && goesOn(end.cause)) return nothing;
  if (end.type === "asked" || end.type === "not-started") return nothing;
  if (end.type === "stopped" && task.wish === "pause" && !isPlanPaused(parts, task)) return nothing;
  try {
    const settled = await settleWithRoom(parts, task, prepared, { attemptId, end, isStopping });
    if (settled === null) return { end: { type: "interrupted" }, write: () => {} };
    if (settled.type === "obstructed") {
      if (end.type !== "succeeded") return nothing;
      const message = `its work could not be committed: ${settled.message}`;
      return { end: { ...noResult, message }, write: () => {} };
    }
    // Most agents commit nothing themselves; then what was committed for them is all there is.
    const paths =
      settled.committed?.parentSha === place.baseSha
        ? settled.committed.files
        : await repository.changedPaths(place.baseSha, settled.sha);
    const write = (): void => {
      store.tasks.setWork(task.planId, task.id, { headSha: settled.sha });
      store.attempts.update(attemptId, { headSha: settled.sha });
      if (settled.note !== null) note(parts, task, attemptId, { type: "attempt-note", message: settled.note });
    };
    if (end.type !== "succeeded") return { end, write };
    const report = isReview(task) ? null : (store.tasks.getWork(task.planId, task.id)?.report ?? null);
    if (report?.status === "failed") {
      const message = `the agent reported: ${report.summary}`;
      return { end: { ...noResult, cause: "reported-failure", message }, write };
    }
    const isAllowed = settings.undeclaredWrites === "allow" || (isReview(task) && settled.sha === place.headSha);
    const words = isAllowed ? null : undeclaredWrites(task, paths);
    if (words !== null && settings.undeclaredWrites === "fail") {
      return { end: { ...noResult, cause: "reported-failure", message: words }, write };
    }
    return {
      // A branch whose commits change nothing in sum still has commits; what counts for merging is the tree.
      end: { ...end, hasChanges: paths.length > 0 },
      write: () => {
        write();
        if (words !== null) note(parts, task, attemptId, { type: "warning", message: `${taskKey(task)} ${words}` });
        writeVerdict(parts, task, attemptId, { judgement, step: prepared.step });
      },
    };
  } catch (thrown) {
    parts.log("warning", `the work of ${taskKey(task)} could not be committed: ${messageOf(thrown)}`, {});
    if (end.type !== "succeeded") return nothing;
    return { end: { ...noResult, cause: "worktree-failed", message: messageOf(thrown) }, write: () => {} };
  }
}

/** A Ctrl-C in `run` too: it may rest for weeks, and who comes back looks for the work in git. */
function isPlanPaused({ board }: Parts, { planId }: TaskRecord): boolean {
  return board.plan(planId).record.paused;
}

interface SettleFacts {
  readonly attemptId: string;
  readonly end: AttemptEnd;
  readonly isStopping: () => boolean;
}

/** Of what an agent did nothing is given up because a disk is full: tried until there is room. Null: the engine stops. */
async function settleWithRoom(
  parts: Parts,
  task: TaskRecord,
  prepared: Prepared,
  { attemptId, end, isStopping }: SettleFacts,
): Promise<Settled | null> {
  for (let tries = 0; ; tries += 1) {
    try {
      const what = `the work of ${taskKey(task)}`;
      return await tryAgain(parts, what, () => settleBranch(parts, task, prepared, end));
    } catch (thrown) {
      const limit = machineLimitOf(thrown);
      if (limit === null || end.type !== "succeeded") throw thrown;
      if (isStopping()) return null;
      if (tries === 0) {
        const message = `its work can't be committed yet, and is tried again by itself: ${limit} (${messageOf(thrown)})`;
        parts.log("warning", `${taskKey(task)}: ${message}`, {});
        parts.store.transaction(() => note(parts, task, attemptId, { type: "attempt-note", message }));
      }
      await delay(ROOM_PAUSE_MS);
    }
  }
}

const ROOM_PAUSE_MS = 1_000;

type Settled =
  | {
      readonly type: "settled";
      readonly sha: string;
      readonly note: string | null;
      /** What was committed for the agent, on top of what; null when nothing was. */
      readonly committed: { readonly parentSha: string; readonly files: readonly string[] } | null;
    }
  | { readonly type: "obstructed"; readonly message: string };

/** What was left becomes a commit of the task; of a later step that may only look, it is put aside. */
async function settleBranch(
  { repository }: Parts,
  task: TaskRecord,
  { place, role }: Prepared,
  end: AttemptEnd,
): Promise<Settled> {
  if (isReview(task) && role.permissions === "read") {
    const kept = await repository.worktrees.putBack(place.path, place.headSha);
    const names = kept.map(({ ref }) => ref).join(", ");
    const note = kept.length === 0 ? null : `the ${role.name} may only look; what it changed is put aside as ${names}`;
    return { type: "settled", sha: place.headSha, note, committed: null };
  }
  const trailers = { planId: task.planId, taskId: task.id, attempt: task.ledger.attempts };
  const title = isReview(task) ? `${task.spec.title} (${role.name})` : task.spec.title;
  const subject = end.type === "succeeded" ? title : `Work in progress: ${title}`;
  const committed = await repository.worktrees.commitLeftovers(place.path, { subject, trailers });
  if (committed.type === "obstructed") return { type: "obstructed", message: committed.message };
  const own = committed.type === "committed" ? committed : null;
  return { type: "settled", sha: committed.sha, note: null, committed: own };
}

function writeVerdict(
  parts: Parts,
  task: TaskRecord,
  attemptId: string,
  { judgement, step }: { readonly judgement: Judgement; readonly step: StepFacts | null },
): void {
  const { end, report } = judgement;
  if (end.type !== "succeeded" || end.verdict == null || step === null) return;
  if (report !== null) parts.store.attempts.update(attemptId, { report });
  const { type: verdict, words } = end.verdict;
  const { agent, number, round } = step;
  const summary = words.length > MAX_TOLD ? `${words.slice(0, MAX_TOLD)}…` : words;
  note(parts, task, attemptId, { type: "verdict", agent, step: number, round, verdict, summary });
}

/** The whole is in the attempt's report. */
const MAX_TOLD = 2_000;

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

/** What was written that no claim covers, also where it was renamed from, in words; null when nothing was. */
function undeclaredWrites(task: TaskRecord, paths: readonly string[]): string | null {
  if (task.spec.writes === null) return null;
  const outside = pathsOutside(task.spec.writes, paths);
  if (outside.length === 0) return null;
  const more = outside.length > 10 ? ` and ${outside.length - 10} more` : "";
  return `wrote outside its claim: ${outside.slice(0, 10).join(", ")}${more}`;
}

function note(parts: Parts, task: TaskRecord, attemptId: string, body: EventBody): void {
  parts.store.events.append({ planId: task.planId, taskId: task.id, attemptId, body });
}
