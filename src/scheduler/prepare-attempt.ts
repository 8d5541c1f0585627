/**
 * All that an attempt needs before it counts: its role and provider, the program, room on the machine, and a worktree
 * that is set up. What is lacking is an end of its own: nothing was begun and nothing is written down.
 */
import type { ResolvedProvider } from "../agents/backend.ts";
import { crashPoint } from "../crash-point.ts";
import { AppError, hasCode } from "../errors.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import { isReview, stepOf } from "../plan/workflow.ts";
import type { ManagedProcess, StopReason } from "../process/process-manager.ts";
import type { QuestionDesk } from "../questions/question-desk.ts";
import { failure, stoppedBy } from "./attempt-end.ts";
import { environmentFor, taskVariables, type Prepared } from "./attempt-request.ts";
import { descriptorWait, machineWait } from "./machine-wait.ts";
import type { Parts } from "./parts.ts";
import { questionWait } from "./question-wait.ts";
import { clearAfterCut, leavesNothing, stepFactsOf } from "./review.ts";
import type { ProviderSettings } from "./settings.ts";
import { openWorktree } from "./task-place.ts";
import { setUpWorktree } from "./worktree-setup.ts";

/** What others may look at and change meanwhile. */
export interface Preparing {
  readonly slot: number;
  /** The one that runs: a command of the set-up; later the agent. */
  process: ManagedProcess | null;
  /** Set by who wants it to end. */
  stopReason: StopReason | null;
}

export async function prepareAttempt(
  parts: Parts,
  desk: QuestionDesk,
  task: TaskRecord,
  live: Preparing,
): Promise<Prepared | AttemptEnd> {
  const key = taskKey(task);
  const settings = parts.settingsOf(task.planId);
  const role = settings.roles[stepOf(task).agent];
  const providerSettings = settings.providers[task.provider];
  if (role === undefined || providerSettings === undefined) {
    throw new AppError("INTERNAL", `the pinned config of ${key} lacks its role or provider`);
  }
  // However it came here (resumed, retried, after a restart): without the answer it would only ask again.
  const unanswered = questionWait(desk, task);
  if (unanswered !== null) return { type: "not-started", wait: unanswered };
  const missing = missingVariable(parts, providerSettings);
  if (missing !== null) {
    const message = `provider ${providerSettings.name} needs the variable ${missing}, which no client has brought`;
    const command = `${missing}=… orchestrator retry ${key}`;
    return { type: "not-started", wait: { code: "auth", message, command, untilMs: null } };
  }
  const backend = parts.backend(providerSettings.kind);
  let provider: ResolvedProvider;
  try {
    provider = await backend.locate(providerSettings, environmentFor(parts, providerSettings)["PATH"] ?? "");
  } catch (thrown) {
    if (!hasCode(thrown, "AGENT_CLI_MISSING")) throw thrown;
    const command = `orchestrator retry ${key}`;
    return { type: "not-started", wait: { code: "spawn-failed", message: thrown.message, command, untilMs: null } };
  }
  const wait = descriptorWait(parts);
  if (wait !== null) return { type: "not-started", wait };
  const place = await openWorktree(parts, task, { isRepeatable: !backend.hasSessions && !isReview(task) });
  if (place.type === "wait") return { type: "not-started", wait: place.wait };
  if (place.type === "failed") return failure("worktree-failed", place.message, null);
  if (leavesNothing(role, backend)) await clearAfterCut(parts, task, place.place);
  crashPoint("attempt-worktree-made");
  const variables = taskVariables(task, live.slot);
  const problem = await setUpWorktree(parts, task, place.place, settings, variables, (child) => {
    live.process = child;
    if (live.stopReason !== null) void child.stop(live.stopReason);
  });
  live.process = null;
  if (live.stopReason !== null) return stoppedBy(live.stopReason);
  const lack = problem === null ? null : machineWait(parts, problem);
  if (lack !== null) return { type: "not-started", wait: lack };
  if (problem !== null) return failure("worktree-failed", problem, null);
  crashPoint("attempt-worktree-set-up");
  const step = await stepFactsOf(parts, task, place.place);
  return { place: place.place, role, settings, providerSettings, provider, backend, slot: live.slot, step };
}

/** A variable named outright in `passEnv` that nobody brought; patterns are optional by nature. */
function missingVariable(parts: Parts, provider: ProviderSettings): string | null {
  const names = provider.passEnv.filter((name) => !name.endsWith("*"));
  const brought = parts.providerEnvironment(names);
  return names.find((name) => brought[name] === undefined && provider.env[name] === undefined) ?? null;
}
