/** create_plan: everything that can be refused is refused before anything has happened. */
import { crashPoint } from "../crash-point.ts";
import type { App, CurrentSettings } from "../app.ts";
import { AppError } from "../errors.ts";
import { DECOMPOSE_TASK, decomposeTask } from "../plan/decomposition.ts";
import { checkGraph, longestPaths } from "../plan/graph.ts";
import { freeId, slugOf } from "../plan/plan-id.ts";
import type { Budget, Step, TaskSpec } from "../plan/records.ts";
import { describeGate } from "../plan/provider-choice.ts";
import { parsePlan } from "../plan/schema.ts";
import type { PlanSettings } from "../scheduler/settings.ts";
import { checkWorkflows, workflowOf } from "../scheduler/workflow-of.ts";
import { compareWithStored, insertPlan, replacePlan, type Continuation, type NewPlan } from "../scheduler/submit.ts";
import type { CreatePlanInput, CreatePlanOutput } from "./create-plan.ts";
import { nextCall } from "./next-call.ts";
import type { ActingCall } from "./operation.ts";
import {
  budgetAgain,
  budgetPreview,
  budgetWarnings,
  checkPrices,
  noteBudgetSaid,
  saveBudget,
  type BudgetPreview,
} from "./plan-budget.ts";

interface Checked {
  readonly name: string | null;
  readonly goal: string | null;
  readonly target: string;
  readonly startSha: string;
  /** A branch to make from `startSha` first. */
  readonly newBranch: string | null;
  readonly maxConcurrent: number;
  readonly budget: Budget;
  readonly budgetPreview: BudgetPreview | null;
  readonly tasks: readonly TaskSpec[];
  readonly order: readonly string[];
  readonly isGoalOnly: boolean;
  /** Nothing starts before somebody resumes the plan. */
  readonly isPaused: boolean;
  readonly warnings: readonly string[];
}

export async function submitPlan(app: App, value: CreatePlanInput, call: ActingCall): Promise<CreatePlanOutput> {
  const settings = await app.currentSettings();
  const draft = await check(app, value, settings, call);
  const plan = await identify(app, value, draft);
  const checked = plan.outcome === "created" ? draft : withStandingBudget(app, settings, draft, plan.id, value);
  if (value.dryRun === true) return preview(checked, settings, plan.id, "checked", true);
  if (plan.outcome === "attached") return attached(app, value, checked, settings, plan.id, call);
  if (checked.newBranch !== null) await app.parts.repository.createBranch(checked.newBranch, checked.startSha);
  crashPoint("plan-target-made");
  await markBefore(app, plan, checked.startSha);
  crashPoint("plan-before-ref-set");
  return call.commit(() => {
    const outcome = carryOut(app, value, checked, settings, plan);
    app.applyLimits();
    return preview(checked, settings, plan.id, outcome, false);
  });
}

async function check(app: App, value: CreatePlanInput, settings: CurrentSettings, call: ActingCall): Promise<Checked> {
  const { dryRun: _dryRun, start: _start, key: _key, file: _file, into, ...input } = value;
  const isGoalOnly = input.tasks === undefined;
  if (isGoalOnly && (input.goal === undefined || input.goal.trim() === "")) {
    throw new AppError(
      "PLAN_INVALID",
      "a plan needs `tasks`, or a `goal` that the orchestrator role decomposes into tasks",
    );
  }
  const tasks = isGoalOnly ? [decomposeTask(input.goal ?? "")] : input.tasks;
  const draft = parsePlan(
    { ...input, tasks },
    { agents: Object.keys(settings.plan.roles), workflows: settings.plan.workflows },
  );
  checkWorkflows(settings.plan, draft.tasks);
  await app.checkAgents(settings, draft.tasks);
  checkPrices(settings.plan, draft.tasks, draft.budget);
  const budget = budgetPreview(app, settings.plan, draft.tasks, draft.budget);
  const { target, startSha, newBranch } = await findTarget(app, draft.target, into ?? null, call);
  return {
    name: draft.name,
    goal: draft.goal,
    target,
    startSha,
    newBranch,
    maxConcurrent: draft.maxConcurrent ?? settings.limitAgents,
    budget: draft.budget,
    budgetPreview: budget,
    tasks: draft.tasks,
    order: draft.order,
    isGoalOnly,
    isPaused: !isGoalOnly && value.start === false,
    warnings: [
      ...warningsFor(draft.tasks, settings),
      ...shutProviders(app, settings.plan, draft.tasks),
      ...limitWarning(draft.maxConcurrent, settings),
      ...budgetWarnings(budget, settings.plan),
    ],
  };
}

/** What does not pass in a moment is told before a plan is made: its tasks go elsewhere, or wait. */
function shutProviders(app: App, settings: PlanSettings, tasks: readonly TaskSpec[]): string[] {
  const { board, clock } = app.parts;
  const nowMs = clock.nowMs();
  const steps = tasks.flatMap((task) => workflowOf(settings, task).steps);
  const names = new Set(steps.flatMap(({ provider, otherProviders = [] }) => [provider, ...otherProviders]));
  return [...names].flatMap((name) => {
    const gate = board.gate(name, nowMs);
    return gate.state === "shut" ? [`provider ${name} ${describeGate(gate)}`] : [];
  });
}

function limitWarning(wished: number | null, settings: CurrentSettings): string[] {
  if (wished === null || wished <= settings.limitAgents || settings.isLimitLeftOpen) return [];
  return [`${wished} at once are asked for, but limits.agents of the config is ${settings.limitAgents}`];
}

/** The branch to merge into and where it is. Throws TARGET_NOT_FOUND, TARGET_DETACHED. */
async function findTarget(
  app: App,
  named: string | null,
  into: string | null,
  call: ActingCall,
): Promise<{ target: string; startSha: string; newBranch: string | null }> {
  const { repository } = app.parts;
  const target =
    named ?? (await app.branchAt(call.caller.role === "operator" ? call.caller.cwd : repository.mainWorktree));
  if (target === null && into === null) {
    throw new AppError(
      "TARGET_DETACHED",
      "HEAD is detached here, so there is no branch to merge into: name one with `target`, or make one with `into` (--into NAME)",
    );
  }
  if (target !== null && /^orchestrator(\/|$)/i.test(target)) {
    throw new AppError("TARGET_NOT_FOUND", `"${target}" is a branch of the orchestrator's own: choose another target`);
  }
  const startSha = target === null ? await repository.resolve("HEAD") : await repository.branchTip(target);
  if (startSha === null) {
    throw new AppError(
      "TARGET_NOT_FOUND",
      `there is no branch "${target ?? "HEAD"}": make it first, or use \`into\` (--into NAME) for a new one`,
      {
        details: { target },
      },
    );
  }
  if (into === null) return { target: target ?? "", startSha, newBranch: null };
  await repository.checkNewBranch(into);
  // The same plan again finds its branch there already.
  const exists = await repository.branchExists(into);
  return {
    target: into,
    startSha: exists ? ((await repository.branchTip(into)) ?? startSha) : startSha,
    newBranch: exists ? null : into,
  };
}

type Identified = {
  readonly id: string;
  readonly outcome: "created" | "continued" | "attached";
  readonly continuation: Continuation | null;
};

/** Which plan it is: a new one, or one of that name that goes on. Throws PLAN_EXISTS. */
async function identify(app: App, value: CreatePlanInput, checked: Checked): Promise<Identified> {
  const { store } = app.parts;
  const isTaken = (id: string): boolean => store.plans.get(id) !== null;
  if (checked.name === null) {
    const base = checked.goal ?? checked.tasks[0]?.title ?? "plan";
    return { id: freeId(slugOf(base), isTaken), outcome: "created", continuation: null };
  }
  const stored = store.plans.get(checked.name);
  if (stored === null) return { id: checked.name, outcome: "created", continuation: null };
  const otherFile = stored.file !== null && value.file !== undefined && stored.file !== value.file;
  if (otherFile) return { id: freeId(checked.name, isTaken), outcome: "created", continuation: null };
  await app.openPlan(stored.id);
  const continuation = compareWithStored(app.parts, stored.id, checked.tasks);
  if (continuation === null) return { id: stored.id, outcome: "attached", continuation: null };
  return { id: stored.id, outcome: "continued", continuation };
}

/** What the text says of the budget is new only where it says something else than the last time. */
function withStandingBudget(
  app: App,
  settings: CurrentSettings,
  draft: Checked,
  id: string,
  value: CreatePlanInput,
): Checked {
  const budget = budgetAgain(app, id, value.budget ?? {});
  checkPrices(settings.plan, draft.tasks, budget);
  return { ...draft, budget, budgetPreview: budgetPreview(app, settings.plan, draft.tasks, budget) };
}

function carryOut(
  app: App,
  value: CreatePlanInput,
  checked: Checked,
  settings: CurrentSettings,
  { id, continuation }: Identified,
): "created" | "continued" {
  const { key: _key, dryRun: _dryRun, ...text } = value;
  const plan: NewPlan = {
    id,
    name: checked.name,
    goal: checked.goal,
    target: checked.target,
    maxConcurrent: checked.maxConcurrent,
    budget: checked.budget,
    isPaused: checked.isPaused,
    tasks: checked.tasks,
    workflowOf: (task) => workflowOf(settings.plan, task),
    text: JSON.stringify(text),
    file: value.file ?? null,
    settings: pinned({
      ...withPolicy(settings.plan, value.proposals),
      startsAlone: value.start ?? !checked.isGoalOnly,
    }),
    startSha: checked.startSha,
  };
  if (continuation === null) {
    insertPlan(app.parts, plan);
    return "created";
  }
  // Before it is put on the board again, which asks for them.
  app.forgetSettings(id);
  replacePlan(app.parts, plan, continuation);
  return "continued";
}

function withPolicy(plan: PlanSettings, policy: CreatePlanInput["proposals"]): PlanSettings {
  return policy === undefined ? plan : { ...plan, proposals: { ...plan.proposals, policy } };
}

/** What is stored with the plan. Values of `providers.*.env` may be secrets: they stay in the config file. */
function pinned(plan: PlanSettings): string {
  const providers = Object.fromEntries(
    Object.entries(plan.providers).map(([name, provider]) => [name, { ...provider, env: {} }]),
  );
  return JSON.stringify({ ...plan, providers });
}

/**
 * Where the target was before the plan, for undo. The value of a continued plan stays: it began back then. One that
 * stands there for a new plan was set by an engine that died before the plan was stored.
 */
async function markBefore(app: App, { id, outcome: found }: Identified, sha: string): Promise<void> {
  const ref = `refs/orchestrator/before/${id}`;
  if (found !== "created" && (await app.parts.repository.resolve(ref)) !== null) return;
  const outcome = await app.parts.repository.setRef(ref, sha);
  if (outcome.type === "refused") {
    throw new AppError("GIT_FAILED", `${ref}, which undo needs, could not be set: ${outcome.gitWords}`);
  }
}

export function warningsFor(tasks: readonly TaskSpec[], settings: CurrentSettings): string[] {
  const warnings = [...settings.warnings];
  const unclaimed = tasks.filter((task) => task.writes === null && task.id !== DECOMPOSE_TASK);
  if (unclaimed.length > 0 && tasks.length > 1) {
    const names = unclaimed.slice(0, 5).map((task) => task.id);
    const more = unclaimed.length > names.length ? ` and ${unclaimed.length - names.length} more` : "";
    warnings.push(
      `no \`writes\` given for ${names.join(", ")}${more}: nothing keeps them from changing the same files at once`,
    );
  }
  const hasVerify = tasks.every((task) => (task.verify ?? settings.plan.verify).length > 0);
  if (!hasVerify)
    warnings.push("nothing is verified after merging: set `verify` in the config or the task to keep the target green");
  return warnings;
}

/** It is there already and goes on as it does; one that is held is told with what lets it go on. */
function attached(
  app: App,
  value: CreatePlanInput,
  checked: Checked,
  settings: CurrentSettings,
  id: string,
  call: ActingCall,
): CreatePlanOutput {
  const told = preview(checked, settings, id, "attached", false);
  const { record } = app.parts.board.plan(id);
  const { budget } = checked;
  if (JSON.stringify(budget) !== JSON.stringify(record.budget)) {
    // Who raises it in the file and runs that again means it.
    return call.commit(() => {
      saveBudget(app, id, budget);
      noteBudgetSaid(app, id, value.budget ?? {});
      return { ...told, summary: `Plan ${id} is under way already; its budget was changed, nothing else.` };
    });
  }
  if (!record.paused) return told;
  return {
    ...told,
    summary: `Plan ${id} is there already and paused; nothing was changed.`,
    next: nextCall(app, id),
  };
}

const MAX_LISTED = 200;

function preview(
  checked: Checked,
  settings: CurrentSettings,
  id: string,
  outcome: CreatePlanOutput["outcome"],
  dryRun: boolean,
): CreatePlanOutput {
  const byId = new Map(checked.tasks.map((task) => [task.id, task]));
  const tasks = checked.order.slice(0, MAX_LISTED).flatMap((taskId) => {
    const task = byId.get(taskId);
    const role = task === undefined ? undefined : settings.plan.roles[task.agent];
    if (task === undefined || role === undefined) return [];
    const { model, permissions } = role;
    const [firstStep, ...steps] = workflowOf(settings.plan, task).steps;
    const laterSteps = steps.map((step) => {
      const later = settings.plan.roles[step.agent];
      return {
        agent: step.agent,
        ...chainOf(step),
        model: later?.model ?? null,
        permissions: later?.permissions ?? "read",
      };
    });
    const first = {
      id: taskId,
      agent: task.agent,
      ...chainOf(firstStep),
      model,
      permissions,
      dependsOn: [...task.dependsOn],
    };
    return [laterSteps.length === 0 ? first : { ...first, laterSteps }];
  });
  const count = `${checked.tasks.length} ${checked.tasks.length === 1 ? "task" : "tasks"}`;
  const words = {
    created: checked.isGoalOnly
      ? `Plan ${id}: the orchestrator role is decomposing the goal.`
      : checked.isPaused
        ? `Plan ${id} is ready and paused: ${count} into ${checked.target}.`
        : `Plan ${id} started: ${count} into ${checked.target}.`,
    continued: `Plan ${id} ${checked.isPaused ? "is ready to go on, and paused" : "goes on"}: ${count}; what ended well and is unchanged is kept.`,
    attached: `Plan ${id} is under way already; nothing was changed.`,
    checked: `The plan is valid: ${count} into ${checked.target}. Nothing was started.`,
  };
  return {
    summary: words[outcome],
    next: dryRun
      ? "the same call without dryRun starts it"
      : checked.isPaused
        ? `control ${JSON.stringify({ action: "resume", plan: id })} starts it`
        : `task_status ${JSON.stringify({ plan: id, waitSeconds: 45 })}`,
    plan: id,
    dryRun,
    outcome,
    target: checked.target,
    total: checked.tasks.length,
    tasks,
    verify: [...settings.plan.verify],
    maxConcurrent: checked.maxConcurrent,
    ...(checked.budgetPreview === null ? {} : { budget: checked.budgetPreview }),
    longestPath: longestPathOf(checked.tasks).slice(0, 50),
    warnings: [...checked.warnings],
  };
}

function chainOf(step: Step | undefined): { provider: string; otherProviders?: string[] } {
  const { provider = "", otherProviders } = step ?? {};
  return otherProviders === undefined ? { provider } : { provider, otherProviders: [...otherProviders] };
}

function longestPathOf(tasks: readonly TaskSpec[]): string[] {
  const order = checkGraph(tasks);
  const lengths = longestPaths(tasks, order, () => 1);
  const dependents = new Map<string, string[]>();
  for (const task of tasks) {
    for (const id of task.dependsOn) {
      const list = dependents.get(id);
      if (list === undefined) dependents.set(id, [task.id]);
      else list.push(task.id);
    }
  }
  const path: string[] = [];
  const longest = (ids: readonly string[]): string | undefined =>
    ids.reduce<string | undefined>(
      (best, id) => (best === undefined || (lengths.get(id) ?? 0) > (lengths.get(best) ?? 0) ? id : best),
      undefined,
    );
  for (let id = longest(order); id !== undefined; id = longest(dependents.get(id) ?? [])) path.push(id);
  return path;
}
