/** What one turn of an agent needs, out of its task, its role and the plan: prompt, session, environment. */
import type { AgentBackend, ResolvedProvider, TurnRequest } from "../agents/backend.ts";
import { DECOMPOSE_TASK, decompositionJsonSchema } from "../plan/decomposition.ts";
import type { NextTurn, TaskRecord } from "../plan/records.ts";
import { taskKey } from "../plan/records.ts";
import { isReview, sessionNameOf, stepOf } from "../plan/workflow.ts";
import { attemptMark } from "../process/strays.ts";
import { allMail, undeliveredMail, type Mail } from "./mail.ts";
import type { Parts } from "./parts.ts";
import { decomposePrompt } from "./decompose-prompt.ts";
import { promptFor } from "./prompt.ts";
import type { StepFacts } from "./review.ts";
import { modelFor, type PlanSettings, type ProviderSettings, type RoleSettings } from "./settings.ts";
import type { TaskPlace } from "./task-place.ts";

/** All that was found before the attempt began to count. */
export interface Prepared {
  readonly place: TaskPlace;
  readonly role: RoleSettings;
  readonly settings: PlanSettings;
  readonly providerSettings: ProviderSettings;
  readonly provider: ResolvedProvider;
  readonly backend: AgentBackend;
  /** The lowest number that no other living agent has, counted from 0: for ports. */
  readonly slot: number;
  /** Its place among the steps of the task's workflow; null without one. */
  readonly step: StepFacts | null;
}

/** A turn, and the mail that its prompt carries. */
export interface TurnWithMail {
  readonly request: TurnRequest;
  readonly mail: readonly Mail[];
}

export function requestFor(
  parts: Parts,
  task: TaskRecord,
  prepared: Prepared,
  { attemptId, scratchDir }: { readonly attemptId: string; readonly scratchDir: string },
): TurnWithMail {
  const { engineId, satellite, repository } = parts;
  const { place, role, backend, providerSettings } = prepared;
  const conversation = conversationFor(parts, task, prepared);
  const mail = mailFor(parts, task, prepared, conversation);
  const env = { ...satellite.environment, ORCHESTRATOR_ATTEMPT: attemptMark(engineId, attemptId) };
  const request: TurnRequest = {
    attemptId,
    prompt:
      backend.kind === "command"
        ? (stepOf(task).prompt ?? task.spec.prompt)
        : promptOf(parts, task, prepared, conversation, mail),
    session: conversation.session,
    worktree: place.path,
    gitDir: place.gitDir,
    gitCommonDir: repository.commonDir,
    scratchDir,
    model: modelFor(prepared.settings, role, providerSettings.name),
    systemPrompt: role.systemPrompt,
    tools: role.tools,
    permissions: role.permissions,
    mcpServer: backend.hasMcp ? { name: "orchestrator-mcp", ...satellite.pipe, env } : null,
    maxCostUsd: costFence(parts, task, providerSettings),
    environment: environmentFor(parts, providerSettings),
    outputSchema: task.id === DECOMPOSE_TASK ? decompositionJsonSchema() : null,
  };
  return { request, mail };
}

/**
 * All that is left of the plan's money when what is set aside for others stays untouched: a turn that runs away spends
 * that and not ten times the budget. A fence that the user gave the CLI is the user's.
 */
function costFence(parts: Parts, task: TaskRecord, { args }: ProviderSettings): number | null {
  if (args.some((argument) => argument.startsWith("--max-budget-usd"))) return null;
  return parts.board.plan(task.planId).budget.headroom(task.id).usd;
}

/**
 * A session that takes over for another is told again what that one was told. A command has no ears: what was said to a
 * task before it was changed into one counts as told, or it would never end.
 */
function mailFor(parts: Parts, task: TaskRecord, { place }: Prepared, { whose }: Conversation): Mail[] {
  const takesOver = whose === "nobody's" && !place.isFirst && task.nextTurn.kind !== "start";
  return takesOver ? allMail(parts, task) : undeliveredMail(parts, task);
}

function promptOf(
  parts: Parts,
  task: TaskRecord,
  { place, backend, settings, role, step }: Prepared,
  { whose }: Conversation,
  mail: readonly Mail[],
): string {
  const { store, board } = parts;
  const plan = board.plan(task.planId);
  const work = store.tasks.listWork(task.planId);
  const { spec } = task;
  const turn: NextTurn = place.isFirst ? { kind: "start", note: null } : task.nextTurn;
  const lastWords =
    whose === "nobody's" ? (store.attempts.listByTask(task.planId, task.id).at(-1)?.finalText ?? null) : null;
  if (task.id === DECOMPOSE_TASK) {
    const continuesSession = whose !== "nobody's";
    return decomposePrompt({ spec, settings, worktree: place.path, turn, continuesSession, lastWords, mail });
  }
  const before = spec.continues === null ? undefined : plan.nodes.get(spec.continues)?.record;
  return promptFor({
    spec,
    goal: plan.record.goal,
    branch: place.branch,
    target: plan.record.target,
    worktree: place.path,
    turn,
    conversation: whose,
    before: before === undefined ? null : { spec: before.spec, isMerged: before.mergedSha !== null },
    dependencies: task.spec.dependsOn.map((id) => ({
      id,
      title: plan.nodes.get(id)?.record.spec.title ?? id,
      summary: work.get(id)?.report?.summary ?? null,
    })),
    lastWords,
    hasTools: backend.hasMcp,
    mayWrite: role.permissions !== "read",
    failedChecks: openChecks(parts, task),
    step,
    mail,
  });
}

/** What its last merge on trial failed with, unless the first step has ended well since. */
function openChecks({ store }: Parts, { planId, id }: TaskRecord): string | null {
  const last = store.merges.listByTask(planId, id).at(-1);
  if (last?.outcome !== "verify-failed" || last.endedAtMs === null) return null;
  const { endedAtMs } = last;
  const isAnswered = store.attempts
    .listByTask(planId, id)
    .some(({ step, outcome, startedAtMs }) => step === 0 && outcome === "succeeded" && startedAtMs >= endedAtMs);
  return isAnswered ? null : last.verifyOutput;
}

interface Conversation {
  readonly session: TurnRequest["session"];
  /** The task's own, that of the task which it continues, or a new one that knows nothing. */
  readonly whose: "its own" | "the earlier task's" | "nobody's";
}

const NEW_CONVERSATION: Conversation = { session: null, whose: "nobody's" };

/** The conversation to go on with: only in the worktree and with the provider it began with, and only when nothing says to start afresh. */
function conversationFor(parts: Parts, task: TaskRecord, { place, backend, provider }: Prepared): Conversation {
  const { kind } = task.nextTurn;
  if (!backend.hasSessions || kind === "hand-over") return NEW_CONVERSATION;
  const { sessions, attempts } = parts.store;
  const name = sessionNameOf(task);
  const own = kind === "start" ? null : sessions.latest(task.planId, task.id, name);
  // Who judges a new task looks at it afresh.
  const continues = isReview(task) ? null : task.spec.continues;
  const session = own ?? (continues === null ? null : sessions.latest(task.planId, continues, name));
  if (session === null || !session.isUsable || session.kind !== backend.kind) return NEW_CONVERSATION;
  if (session.worktree !== place.path) return NEW_CONVERSATION;
  // Another provider of the same kind may be another account, which does not know the conversation.
  const last = session.lastAttemptId === null ? null : attempts.get(session.lastAttemptId);
  if (last !== null && last.provider !== provider.name) return NEW_CONVERSATION;
  const nothing = { tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 }, costUsd: null };
  return {
    session: { id: session.sessionId, totals: session.totals ?? nothing },
    whose: own === null ? "the earlier task's" : "its own",
  };
}

/** The agent's environment without what its own turn adds. Later layers win; our command stays first on its PATH. */
export function environmentFor(parts: Parts, provider: ProviderSettings): Record<string, string> {
  const base = parts.baseEnvironment();
  const backend = parts.backend(provider.kind);
  const brought = parts.providerEnvironment([...backend.defaultPassEnv, ...provider.passEnv]);
  const path = provider.env["PATH"] ?? base["PATH"] ?? "";
  return {
    ...base,
    ...brought,
    ...backend.defaultEnv,
    ...provider.env,
    PATH: `${parts.satellite.binFolder}:${path}`,
  };
}

/** What scripts in a worktree are told: which task they serve, and a number for ports of their own. */
export function taskVariables(task: TaskRecord, slot: number): Record<string, string> {
  return { ORCHESTRATOR_TASK: taskKey(task), ORCHESTRATOR_SLOT: String(slot) };
}
