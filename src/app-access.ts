/** The app as operations see it: its parts, and the questions that several of them ask. */
import { readdirSync } from "node:fs";
import { AppError } from "./errors.ts";
import { keptStates } from "./engine/state-folder.ts";
import { areHooksInstalled } from "./git/hooks.ts";
import { nearestName } from "./nearest-name.ts";
import { reconsiderBudgets } from "./plan/change-budget.ts";
import { standingOf } from "./plan/explain.ts";
import type { PlanNode } from "./plan/node.ts";
import { taskKey, type TaskKey, type TaskSpec } from "./plan/records.ts";
import type { ConfigSource } from "./config-source.ts";
import type { Notice } from "./notices.ts";
import type { Parts } from "./scheduler/parts.ts";
import { addPlan } from "./scheduler/recover.ts";
import { roleFunds } from "./scheduler/plan-funds.ts";
import type { Scheduler } from "./scheduler/scheduler.ts";
import type { PlanSettings } from "./scheduler/settings.ts";
import { workflowOf } from "./scheduler/workflow-of.ts";
import { branchOf } from "./scheduler/task-place.ts";

export interface CurrentSettings {
  readonly plan: PlanSettings;
  readonly limitAgents: number;
  /** No file sets it: a plan may ask for more. */
  readonly isLimitLeftOpen: boolean;
  readonly warnings: readonly string[];
}

export type App = AppAccess;

export interface AppAccessParts {
  readonly parts: Parts;
  readonly scheduler: Scheduler;
  readonly config: ConfigSource;
  readonly version: string;
  readonly stateFolder: string;
  readonly variables: ReadonlyMap<string, string>;
}

const MAX_DIFF_BYTES = 256 * 1024;

export class AppAccess {
  readonly parts: Parts;
  readonly scheduler: Scheduler;
  readonly version: string;
  readonly stateFolder: string;
  readonly startedAtMs: number;
  /** The version of a client that waits for this engine to end. */
  restartPending: string | null = null;
  #notices: Notice[] = [];
  /** Looks at what git did since the last look, for follow-ups. Set by `app.ts`, which knows them. */
  lookAtGit: () => Promise<void> = async () => {};
  readonly #config: ConfigSource;
  readonly #variables: ReadonlyMap<string, string>;
  readonly #pinned = new Map<string, PlanSettings>();

  constructor({ parts, scheduler, config, version, stateFolder, variables }: AppAccessParts) {
    this.parts = parts;
    this.scheduler = scheduler;
    this.version = version;
    this.stateFolder = stateFolder;
    this.startedAtMs = parts.clock.nowMs();
    this.#config = config;
    this.#variables = variables;
  }

  addNotices(notices: readonly Notice[]): void {
    this.#notices.push(...notices);
  }

  /** What concerns every plan, the most urgent first: told before anything else. */
  notices(): string[] {
    const { board, clock } = this.parts;
    const nowMs = clock.nowMs();
    return [
      ...(board.hold === null ? [] : [`nothing new is started: ${board.hold}`]),
      ...this.#notices.filter((notice) => notice.untilMs > nowMs && this.#concerns(notice)).map(({ text }) => text),
      ...(this.restartPending === null
        ? []
        : [`restart pending: version ${this.restartPending} takes over when no agent runs`]),
    ];
  }

  #concerns({ plans }: Notice): boolean {
    return plans === null || this.openPlans().some((plan) => plans.includes(plan));
  }

  /** Plans that have not ended. */
  openPlans(): string[] {
    const open = [...this.parts.board.plans()].filter(
      (plan) => !["succeeded", "failed"].includes(standingOf(plan).state),
    );
    return open.map((plan) => plan.record.id);
  }

  /** What the config files say now. Throws CONFIG_INVALID, CONFIG_UNTRUSTED, PROVIDER_NOT_FOUND. */
  async currentSettings(): Promise<CurrentSettings> {
    const path = this.parts.baseEnvironment()["PATH"] ?? "";
    const settings = await this.#config.settings(path);
    this.applyLimits();
    this.#reconsiderBudgets();
    return settings;
  }

  /** Limits and what follows failures count at once, also for plans that run. A broken file leaves them as they are. */
  async refreshLimits(): Promise<void> {
    if (!(await this.#config.reload())) return;
    this.applyLimits();
    this.#reconsiderBudgets();
    this.scheduler.look();
  }

  /** A price that became known lets those go on that waited for it. */
  #reconsiderBudgets(): void {
    const { board, clock } = this.parts;
    this.scheduler.commit(() => reconsiderBudgets(board, clock.nowMs()));
  }

  /**
   * Sets the board's limits, retries and circuits and its plans' prices by the config. `limits.agents` is a bound that
   * somebody set; its default is only a guess, so a plan that asks for more (`--concurrent 8`) gets it where no file
   * says otherwise.
   */
  applyLimits(): void {
    const { limitAgents, ...others } = this.#config.boardSettings();
    const wishes = this.#config.isLimitLeftOpen() ? this.#openWishes() : [];
    Object.assign(this.parts.board.settings, others, { limitAgents: Math.max(limitAgents, ...wishes) });
    for (const plan of this.parts.board.plans())
      plan.budget.roles = roleFunds(this.settingsOfPlan(plan.record.id).plan);
  }

  #openWishes(): number[] {
    return [...this.parts.board.plans()].filter((plan) => !hasEnded(plan)).map((plan) => plan.record.maxConcurrent);
  }

  /** The config that a plan was made with. */
  settingsOfPlan(planId: string): CurrentSettings {
    let plan = this.#pinned.get(planId);
    if (plan === undefined) {
      const row = this.parts.store.plans.get(planId);
      if (row === null) throw new AppError("PLAN_NOT_FOUND", `there is no plan "${planId}"`);
      // Written by this program from a checked config; the store checks that it is JSON.
      plan = JSON.parse(row.config) as PlanSettings;
      this.#pinned.set(planId, plan);
    }
    plan = this.#withEnvironments(plan);
    return {
      plan,
      isLimitLeftOpen: this.#config.isLimitLeftOpen(),
      limitAgents: this.parts.board.settings.limitAgents,
      warnings: [],
    };
  }

  /** Values of `providers.*.env` may be secrets, so they are not pinned: like prices they come from the files as they are now. */
  #withEnvironments(plan: PlanSettings): PlanSettings {
    const providers = Object.fromEntries(
      Object.entries(plan.providers).map(([name, provider]) => [
        name,
        { ...provider, env: this.#config.providerEnvironment(name), prices: this.#config.providerPrices(name) },
      ]),
    );
    return { ...plan, providers };
  }

  forgetSettings(planId: string): void {
    this.#pinned.delete(planId);
  }

  /** Throws AGENT_CLI_MISSING when no CLI of a step's providers is installed: before anything has happened. */
  async checkAgents(settings: CurrentSettings, tasks: readonly TaskSpec[]): Promise<void> {
    const path = this.parts.baseEnvironment()["PATH"] ?? "";
    const steps = tasks.flatMap((task) => workflowOf(settings.plan, task).steps);
    const chains = new Map(
      steps.map(({ provider, otherProviders = [] }) => [
        [provider, ...otherProviders].join("\n"),
        [provider, ...otherProviders],
      ]),
    );
    for (const chain of chains.values()) await this.#findOneOf(chain, settings.plan, path);
  }

  /** One is enough to begin: where another is missing, tasks don't go there. Of several misses the first is told. */
  async #findOneOf(chain: readonly string[], { providers }: PlanSettings, path: string): Promise<void> {
    let firstMiss: unknown = null;
    for (const name of chain) {
      const provider = providers[name];
      try {
        if (provider === undefined) throw noAgentFound();
        await this.parts.backend(provider.kind).locate(provider, provider.env["PATH"] ?? path);
        return;
      } catch (thrown) {
        firstMiss ??= thrown;
      }
    }
    throw firstMiss;
  }

  /** The client that `questions.elicit` names now; null: none. */
  elicitedClient(): string | null {
    return this.#config.elicitedClient();
  }

  async branchAt(folder: string): Promise<string | null> {
    return await this.parts.repository.currentBranch(folder);
  }

  /** Puts a plan of the past on the board again where it is not; answers its id. Throws PLAN_NOT_FOUND. */
  async openPlan(planId: string): Promise<string> {
    const { board, store } = this.parts;
    if (board.hasPlan(planId)) return planId;
    const row = store.plans.get(planId);
    if (row === null) {
      const names = store.plans.list().map((plan) => plan.id);
      const near = nearestName(planId, names);
      const hint =
        near !== null
          ? `did you mean "${near}"?`
          : names.length === 0
            ? "none was made here yet"
            : `the last ones are ${names.slice(-5).join(", ")}`;
      throw new AppError("PLAN_NOT_FOUND", `there is no plan "${planId}"; ${hint}`);
    }
    const { id, name, goal, target, maxConcurrent, budget, createdAtMs, paused } = row;
    addPlan(
      this.parts,
      { id, name, goal, target, maxConcurrent, budget, createdAtMs, paused },
      store.tasks.listByPlan(id),
    );
    return await Promise.resolve(planId);
  }

  /** The latest plans of all, ended ones too. */
  async openRecentPlans(count: number): Promise<string[]> {
    const latest = this.parts.store.plans
      .list()
      .sort((left, right) => left.createdAtMs - right.createdAtMs)
      .slice(-count);
    for (const plan of latest) await this.openPlan(plan.id);
    return latest.map((plan) => plan.id);
  }

  /** `PLAN/TASK`, or a task's id where only one open plan has it. Throws TASK_NOT_FOUND. */
  async findTask(name: string): Promise<TaskKey> {
    const { board } = this.parts;
    const slash = name.indexOf("/");
    if (slash > 0) {
      const planId = await this.openPlan(name.slice(0, slash));
      const id = name.slice(slash + 1);
      const { nodes } = board.plan(planId);
      if (nodes.has(id)) return `${planId}/${id}`;
      const near = nearestName(id, nodes.keys());
      throw new AppError(
        "TASK_NOT_FOUND",
        `plan "${planId}" has no task "${id}"${near === null ? "" : `; did you mean "${near}"?`}`,
      );
    }
    const found = this.#plansWith(name);
    const [only] = found;
    if (only !== undefined && found.length === 1) return `${only}/${name}`;
    const why = found.length === 0 ? "no open plan has it" : `several plans have it: ${found.slice(0, 5).join(", ")}`;
    throw new AppError("TASK_NOT_FOUND", `task "${name}": ${why}; name it as PLAN/TASK`);
  }

  #plansWith(taskId: string): string[] {
    const open: string[] = [];
    const ended: string[] = [];
    for (const plan of this.parts.board.plans()) {
      if (!plan.nodes.has(taskId)) continue;
      const { state } = standingOf(plan);
      (state === "running" || state === "needs-person" ? open : ended).push(plan.record.id);
    }
    return open.length > 0 ? open : ended;
  }

  /** Writes what a control changed on the plan itself. Call inside a commit. */
  savePlan(planId: string): void {
    const { board, store } = this.parts;
    const { paused } = board.plan(planId).record;
    if (store.plans.get(planId)?.paused === paused) return;
    store.plans.update(planId, { paused });
    const body = { type: paused ? "plan-paused" : "plan-resumed" } as const;
    store.events.append({ planId, taskId: null, attemptId: null, body });
  }

  /** US dollars that a plan's attempts cost so far; null when no CLI told. */
  costOf(planId: string): number | null {
    const { costUsd, tokens } = this.parts.store.attempts.usageOf(planId);
    return costUsd === 0 && tokens.outputTokens === 0 ? null : costUsd;
  }

  /** What a task changed against where it began, merged or not. */
  async diffOf(key: TaskKey): Promise<string> {
    const { board, store, repository } = this.parts;
    const { record } = board.node(key);
    const work = store.tasks.getWork(record.planId, record.id);
    if (work?.baseSha == null) return "";
    const head = record.mergedSha ?? work.headSha ?? (await repository.branchTip(branchOf(record)));
    if (head === null) return "";
    // A merge commit's first parent is the target as it was: the difference is the task's own work.
    const base =
      record.mergedSha === null ? work.baseSha : ((await repository.resolve(`${record.mergedSha}^1`)) ?? work.baseSha);
    const diff = await repository.diff(base, head, { format: "patch", maxBytes: MAX_DIFF_BYTES });
    return diff.text;
  }

  /** True while nothing was ever planned, followed or installed here: then nothing of us need stay. */
  isUnused(): boolean {
    const { plans, followUps } = this.parts.store;
    if (keptStates(this.stateFolder).length > 0) return false;
    if (!plans.isEmpty() || followUps.positions().size > 0 || areHooksInstalled(this.stateFolder)) return false;
    // Of plans that nobody knows any more, because their state was removed: an agent's words are not ours to delete.
    return !hasEntries(this.parts.attemptsFolder);
  }

  variableNames(): string[] {
    return [...this.#variables.keys()].sort();
  }

  /** For messages: a task's full name. */
  nameOf(task: { readonly planId: string; readonly id: string }): TaskKey {
    return taskKey(task);
  }
}

function noAgentFound(): AppError {
  return new AppError(
    "AGENT_CLI_MISSING",
    "no agent CLI was found on PATH (claude, codex or goose): install one, name one in the config (providers.*.command), or use the agent `command`",
  );
}

function hasEntries(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch {
    return false;
  }
}

function hasEnded(plan: PlanNode): boolean {
  const { state } = standingOf(plan);
  return state === "succeeded" || state === "failed";
}
