/** A repository with a scheduler of its own: real git, SQLite and processes; no engine, socket or config. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { AgentEvent } from "../../src/agents/backend.ts";
import { createBackend } from "../../src/agents/index.ts";
import { systemClock, type Clock } from "../../src/clock.ts";
import { createEventBus } from "../../src/events/bus.ts";
import { openRepository } from "../../src/git/repository.ts";
import { systemIds } from "../../src/ids.ts";
import { Board } from "../../src/plan/board.ts";
import { DEFAULT_RETRY_SETTINGS } from "../../src/plan/consequence.ts";
import { standingOf } from "../../src/plan/explain.ts";
import { singleStep } from "../../src/plan/records.ts";
import { parsePlan, type TaskInput } from "../../src/plan/schema.ts";
import { endLeftovers } from "../../src/process/leftovers.ts";
import { ProcessManager } from "../../src/process/process-manager.ts";
import type { Parts } from "../../src/scheduler/parts.ts";
import { Scheduler } from "../../src/scheduler/scheduler.ts";
import type { PlanSettings } from "../../src/scheduler/settings.ts";
import { workflowOf } from "../../src/scheduler/workflow-of.ts";
import { insertPlan } from "../../src/scheduler/submit.ts";
import { openStore } from "../../src/store/store.ts";
import { until } from "../support/until.js";

export const ROLE = { provider: "command", model: null, systemPrompt: null, tools: null, permissions: "edit" } as const;

export const SETTINGS: PlanSettings = {
  roles: { command: { name: "command", ...ROLE }, coder: { name: "coder", ...ROLE } },
  providers: {
    command: { name: "command", kind: "command", command: "/bin/sh", args: [], env: {}, passEnv: [], limit: null },
  },
  verify: [],
  verifyTimeoutMs: 60_000,
  killGraceMs: 1_000,
  undeclaredWrites: "warn",
  stallMs: 60_000,
  worktree: { copy: [], link: [], setup: [] },
  questions: {
    holdMs: 50_000,
    route: ["memory", "parent", "orchestrator", "human"],
    parentQuietMs: 120_000,
    deadlinesMs: { parent: 600_000, orchestrator: 600_000, human: 86_400_000 },
  },
  workflows: {},
  proposals: { policy: "ask", maxDepth: 2, maxPerTask: 10 },
  startsAlone: true,
};

export class World {
  readonly folder = mkdtempSync(join(tmpdir(), "scheduler world "));
  readonly repo = join(this.folder, "repo ünï 'q'");
  readonly logs: string[] = [];
  readonly fatal: unknown[] = [];
  scheduler!: Scheduler;
  parts!: Parts;

  constructor() {
    mkdirSync(this.repo, { recursive: true });
    this.git("init", "-q", "-b", "main");
    this.git("config", "user.name", "A User");
    this.git("config", "user.email", "user@example.org");
    this.write("README.md", "hello\n");
    this.git("add", "-A");
    this.git("commit", "-qm", "first");
  }

  git(...args: string[]): string {
    return execFileSync("git", args, { cwd: this.repo, encoding: "utf8" }).trim();
  }

  write(path: string, text: string): void {
    const file = join(this.repo, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  read(path: string): string {
    return readFileSync(join(this.repo, path), "utf8");
  }

  /** Opens store and scheduler as an engine does at its start. */
  async start({
    limitAgents = 4,
    settings = SETTINGS,
    clock = systemClock,
    usageProbesMs = [1000],
    firstClientWithinMs = 0,
  }: {
    limitAgents?: number;
    settings?: PlanSettings;
    clock?: Clock;
    usageProbesMs?: readonly number[];
    firstClientWithinMs?: number;
  } = {}): Promise<void> {
    const repository = await openRepository(this.repo, { worktreesRoot: join(this.folder, "worktrees") });
    const state = join(repository.commonDir, "orchestrator");
    mkdirSync(join(state, "attempts"), { recursive: true });
    const store = openStore(join(state, "state.db"), { clock });
    const engineId = store.meta.ensure("engineId", () => systemIds.uuid());
    const bus = createEventBus<AgentEvent>({ onListenerError: (thrown) => this.fatal.push(thrown) });
    store.onCommit((events) => bus.publish(events));
    this.parts = {
      board: new Board({
        limitAgents,
        providerLimits: new Map(),
        retry: { ...DEFAULT_RETRY_SETTINGS, backoffBaseMs: 50 },
        gate: { failuresToOpen: 5, openMs: 500, usageProbesMs },
        maxRepairs: 2,
      }),
      store,
      bus,
      processes: new ProcessManager({ engineId }),
      repository,
      clock,
      ids: systemIds,
      log: (level, message, facts) => this.logs.push(`${level} ${message} ${JSON.stringify(facts)}`),
      engineId,
      attemptsFolder: join(state, "attempts"),
      satellite: {
        pipe: { command: "false", args: [] },
        binFolder: join(this.folder, "bin"),
        hooksFolder: join(this.folder, "agent-hooks"),
        environment: {},
      },
      endLeftovers: async () => (await endLeftovers(engineId)).ended.length,
      backend: createBackend,
      settingsOf: (planId) => JSON.parse(store.plans.get(planId)?.config ?? "{}") as PlanSettings,
      baseEnvironment: () => ({ PATH: process.env["PATH"] ?? "", HOME: this.folder, LANG: "C.UTF-8" }),
      providerEnvironment: () => ({}),
      onFatal: (thrown) => this.fatal.push(thrown),
    };
    this.scheduler = new Scheduler(this.parts);
    this.settings = settings;
    await this.scheduler.start({ firstClientWithinMs });
  }

  settings: PlanSettings = SETTINGS;

  submit(
    id: string,
    tasks: readonly Partial<TaskInput>[],
    more: { maxConcurrent?: number; target?: string; provider?: string; timeoutMinutes?: number } = {},
  ): void {
    const draft = parsePlan(
      { tasks: tasks.map((task) => ({ agent: "command", ...task })) },
      { agents: ["command", "coder"], workflows: this.settings.workflows },
    );
    this.scheduler.commit(() =>
      insertPlan(this.parts, {
        id,
        name: id,
        goal: null,
        target: more.target ?? "main",
        maxConcurrent: more.maxConcurrent ?? 100,
        budget: { usd: null, tokens: null, minutes: null },
        isPaused: false,
        // Shorter than a plan may ask for.
        tasks: draft.tasks.map((task) => ({ ...task, timeoutMinutes: more.timeoutMinutes ?? task.timeoutMinutes })),
        workflowOf: (spec) =>
          more.provider === undefined ? workflowOf(this.settings, spec) : singleStep(spec.agent, more.provider),
        text: "{}",
        file: null,
        settings: JSON.stringify(this.settings),
        startSha: this.git("rev-parse", "main"),
      }),
    );
  }

  /** Waits until nothing of the plan moves any more; answers its standing. */
  async settled(planId: string, deadlineMs?: number): Promise<string> {
    return await this.until(
      `plan ${planId} has settled`,
      () => {
        const { state } = standingOf(this.parts.board.plan(planId));
        return state !== "running" && this.parts.processes.list().length === 0 && state;
      },
      () => JSON.stringify(this.states(planId)),
      deadlineMs,
    );
  }

  /** Waits for a condition; fails at once when the scheduler met a bug. */
  async until<Value>(
    what: string,
    condition: () => Value,
    more: () => string = () => "",
    timeoutMs?: number,
  ): Promise<Exclude<Value, false | null | undefined>> {
    return await until(
      what,
      () => {
        if (this.fatal.length > 0) throw this.fatal[0];
        return condition();
      },
      () => `${more()}\n${this.logs.join("\n")}`,
      timeoutMs,
    );
  }

  states(planId: string): Record<string, string> {
    return Object.fromEntries(
      [...this.parts.board.plan(planId).nodes.values()].map(({ record }) => [
        record.id,
        record.wait === null ? record.state : `${record.state}:${record.wait.code}`,
      ]),
    );
  }

  async stop(): Promise<void> {
    await this.scheduler.stop();
    this.parts.store.close();
  }

  async destroy(): Promise<void> {
    try {
      await this.stop();
    } catch {
      // Stopped already.
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
