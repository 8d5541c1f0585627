/**
 * The composition root: builds every part from the config, starts and stops them in order, and offers the engine what it
 * serves. Nothing else calls constructors of parts.
 *
 * Always true: what a plan needs of the config is pinned in its row when it is made; limits follow the files at once.
 * Variables that clients bring for providers are held here, in memory only, and are never logged.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AgentEvent } from "./agents/backend.ts";
import { createBackend } from "./agents/index.ts";
import { AppAccess } from "./app-access.ts";
import { ConfigSource } from "./config-source.ts";
import { systemClock } from "./clock.ts";
import { AppError, messageOf } from "./errors.ts";
import type { CreateHost, EngineHost, HostOptions, ToolListing } from "./engine/engine-host.ts";
import { readEngineFile, type EngineFile } from "./engine/state-folder.ts";
import { selectVariables } from "./engine/environment.ts";
import { DiskRoom, diskPlaces } from "./disk-room.ts";
import { createEventBus } from "./events/bus.ts";
import { FollowUps } from "./follow-ups/follow-ups.ts";
import { LookFolder } from "./follow-ups/look-folder.ts";
import { noticesOfStart } from "./notices.ts";
import { openRepository } from "./git/repository.ts";
import { systemIds } from "./ids.ts";
import { callOperation } from "./operations/dispatch.ts";
import { OPERATIONS } from "./operations/list.ts";
import { toolListings } from "./operations/tool-listings.ts";
import { Board } from "./plan/board.ts";
import { Guard } from "./process/guard.ts";
import { identify } from "./engine-identity.ts";
import { endLeftovers } from "./process/leftovers.ts";
import { ProcessManager } from "./process/process-manager.ts";
import type { Log, Parts } from "./scheduler/parts.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { takeNewVariables } from "./scheduler/take-new-variables.ts";
import { childEnvironment, identifyCaller, satelliteAccess } from "./satellite-access.ts";
import { openStore } from "./store/store.ts";

export type { App, CurrentSettings } from "./app-access.ts";

/** Request keys are for repeats after a broken connection; a week is far beyond any. */
const KEEP_REQUEST_KEYS_MS = 7 * 24 * 3_600_000;
/** How soon changed limits count: three `stat` calls. */
const REFRESH_LIMITS_MS = 2_000;

export const createApp: CreateHost = async (options) => {
  const log = logOf(options);
  const config = await ConfigSource.open(options.mainWorktree);
  const repository = await openRepository(options.mainWorktree ?? options.commonDir, {
    worktreesRoot: config.worktreesRoot(),
  });
  const room = new DiskRoom(
    options.stateDir,
    diskPlaces(options.commonDir, config.worktreesRoot()),
    () => config.engine().minFreeMegabytes * 1024 * 1024,
  );
  room.look();
  if (!room.canBegin) throw new AppError("STATE_UNUSABLE", stateIsFull(options.stateDir));
  const store = openStore(join(options.stateDir, "state.db"), {
    clock: systemClock,
    beforeWrite: () => room.secure(),
    onListenerError: (thrown) => log("error", `an event listener failed: ${messageOf(thrown)}`, {}),
  });
  // The engine before, when it ended without a word. Its id goes on also where its state was damaged or removed: by it
  // its processes are found.
  const before = readEngineFile(join(options.stateDir, "engine.json"));
  const { engineId, isCopy } = store.transaction(() =>
    identify(store.meta, repository.commonDir, (isNew) => (isNew ? null : ownId(before)) ?? systemIds.uuid()),
  );
  store.transaction(() => store.requestKeys.prune(KEEP_REQUEST_KEYS_MS));
  const bus = createEventBus<AgentEvent>({
    onListenerError: (thrown) => log("error", `an event listener failed: ${messageOf(thrown)}`, {}),
  });
  store.onCommit((events) => bus.publish(events));

  const guard = new Guard({
    engineId,
    logFile: join(options.stateDir, "engine.log"),
    log: (entry) => options.log.write(entry.message),
  });
  const processes = new ProcessManager({
    engineId,
    clock: systemClock,
    log: (entry) => options.log.write(`${entry.event} ${entry.label ?? entry.id ?? ""} ${entry.message}`),
    onAttemptsChanged: (attempts) => guard.update(attempts),
  });
  const variables = new Map<string, string>();
  const attemptsFolder = join(options.stateDir, "attempts");
  mkdirSync(attemptsFolder, { recursive: true, mode: 0o700 });
  const access: { app: AppAccess | null } = { app: null };
  const parts: Parts = {
    board: new Board(config.boardSettings()),
    store,
    bus,
    processes,
    repository,
    clock: systemClock,
    ids: systemIds,
    log,
    engineId,
    attemptsFolder,
    satellite: satelliteAccess(options.stateDir),
    endLeftovers: async (known) => (await endLeftovers(engineId, isCopy ? [] : known)).ended.length,
    backend: createBackend,
    settingsOf: (planId) => required(access.app).settingsOfPlan(planId).plan,
    baseEnvironment: childEnvironment,
    providerEnvironment: (patterns) => selectVariables(Object.fromEntries(variables), patterns),
    room,
    onFatal: (thrown) => {
      options.log.error("The engine can't go on", thrown);
      const leave = (): void => process.exit(70);
      // Nothing more may be done on a board that is ahead of its store; the guard ends the agents. Whoever asked this
      // engine to end waits for its process alone, and was promised that nothing runs then.
      if (scheduler.isStopping) void processes.stopAll("shutdown").finally(leave);
      else setImmediate(leave);
    },
  };
  const scheduler = new Scheduler(parts);
  const app = new AppAccess({
    parts,
    scheduler,
    config,
    version: options.engineVersion,
    stateFolder: options.stateDir,
    variables,
  });
  access.app = app;
  guard.start();
  const { recovered } = await scheduler.start({ firstClientWithinMs: FIRST_CLIENT_WITHIN_MS });
  app.addNotices(noticesOfStart({ stateDir: options.stateDir, before, openPlans: app.openPlans(), recovered }));
  app.applyLimits();
  scheduler.commit(() =>
    store.events.append({
      planId: null,
      taskId: null,
      attemptId: null,
      body: { type: "engine-started", version: options.engineVersion, recovered },
    }),
  );
  const followUps = new FollowUps({
    app,
    folder: new LookFolder(options.stateDir),
    wakeProgram: [process.execPath, fileURLToPath(new URL("./cli/main.js", import.meta.url))],
    rules: async () => {
      await config.reload();
      return config.followUps();
    },
  });
  app.lookAtGit = () => followUps.look();
  await followUps.start();
  return new Host({ app, scheduler, followUps, guard, options, variables, config, room });
};

/** Who starts an engine connects as soon as it listens; it may also have died meanwhile. */
const FIRST_CLIENT_WITHIN_MS = 15_000;
/** From its keys to the change that it came for. */
const FIRST_CHANGE_WITHIN_MS = 500;

interface HostParts {
  readonly app: AppAccess;
  readonly scheduler: Scheduler;
  readonly followUps: FollowUps;
  readonly guard: Guard;
  readonly options: HostOptions;
  readonly variables: Map<string, string>;
  readonly config: ConfigSource;
  readonly room: DiskRoom;
}

class Host implements EngineHost {
  readonly engineId: string;
  readonly #parts: HostParts;
  readonly #refresher: NodeJS.Timeout;
  /** Null until the store is closed. */
  #isUnusedForGood: boolean | null = null;

  constructor(parts: HostParts) {
    this.#parts = parts;
    this.engineId = parts.app.parts.engineId;
    this.#refresher = setInterval(() => {
      parts.app.refreshLimits().catch((thrown: unknown) => {
        parts.app.parts.log("warning", `the config could not be read again: ${messageOf(thrown)}`, {});
      });
    }, REFRESH_LIMITS_MS).unref();
  }

  identify: EngineHost["identify"] = (client) => identifyCaller(this.#parts.app.parts, client);

  passEnvPatterns(): readonly string[] {
    return this.#parts.config.passEnvPatterns();
  }

  takeEnvironment(variables: Readonly<Record<string, string>>): void {
    const { app, scheduler, variables: known, room } = this.#parts;
    const changed = Object.keys(variables).filter((name) => known.get(name) !== variables[name]);
    for (const [name, value] of Object.entries(variables)) known.set(name, value);
    if (changed.length > 0 && !scheduler.isStopping && !room.room.isCritical) {
      takeNewVariables(app.parts, (work) => scheduler.commit(work), changed);
    }
    // Who stopped everything and now cancels a plan must not have its agents started again first.
    scheduler.letGoWithin(FIRST_CHANGE_WITHIN_MS);
  }

  tools(): readonly ToolListing[] {
    return toolListings();
  }

  call: EngineHost["call"] = async (name, input, call) => {
    if (name === "stop_engine") {
      if (call.caller.role !== "operator") {
        const message = "stop_engine is not for an agent that carries out a task";
        return { ok: false, code: "NOT_ALLOWED", message, details: {} };
      }
      const summary = "The engine is stopping.";
      const openPlans = this.openPlans();
      this.#parts.options.stopEngine("asked by a client");
      return { ok: true, structured: { summary, openPlans }, text: summary };
    }
    const { room } = this.#parts.room;
    if (room.isCritical && !isReading(name)) {
      // Before anything has happened: what can't be stored must not look as if it had been done.
      return { ok: false, code: "STATE_UNUSABLE", message: stateIsFull(this.#parts.options.stateDir), details: {} };
    }
    const result = await callOperation(this.#parts.app, name, input, call);
    if (result.ok && call.caller.role === "operator" && !isReading(name)) this.#parts.scheduler.letGo();
    return result;
  };

  canMove(): boolean {
    return this.#parts.scheduler.canMove() || this.#parts.followUps.canMove();
  }

  isUnused(): boolean {
    return this.#isUnusedForGood ?? this.#parts.app.isUnused();
  }

  isStateInPlace(): boolean {
    return this.#parts.app.parts.store.isInPlace();
  }

  openPlans(): readonly string[] {
    return this.#parts.app.openPlans();
  }

  liveAgents(): number {
    return this.#parts.app.parts.processes.list().length;
  }

  lastClientLeft(): void {
    this.#parts.app.parts.log("info", "the last client left", {});
    // It came to look only.
    this.#parts.scheduler.letGo();
  }

  onLastClientExit(): "continue" | "stop" {
    return this.#parts.config.engine().onLastClientExit;
  }

  idleExitSeconds(): number {
    return this.#parts.config.engine().idleExitSeconds;
  }

  setRestartPending(version: string | null): void {
    this.#parts.app.restartPending = version;
  }

  async stop(reason: string): Promise<void> {
    const { app, scheduler, followUps, guard } = this.#parts;
    const { store, log, processes } = app.parts;
    log("info", `stopping: ${reason}`, {});
    clearInterval(this.#refresher);
    // Whatever fails on the way (a state that can't be written or is damaged), the next step is taken all the same:
    // agents must not outlive this, and the guard goes home last.
    const attempt = async (step: () => unknown): Promise<void> => {
      try {
        await step();
      } catch (thrown) {
        this.#parts.options.log.error("A step of the engine's end failed", thrown);
      }
    };
    const body = { type: "engine-stopping", reason } as const;
    await attempt(() =>
      store.transaction(() => store.events.append({ planId: null, taskId: null, attemptId: null, body })),
    );
    await attempt(() => followUps.stop());
    await attempt(() => scheduler.stop());
    await attempt(() => processes.stopAll("shutdown"));
    await attempt(() => this.#tidyQueues());
    await attempt(() => guard.close());
    this.#isUnusedForGood = false;
    // As late as can be: a call that was under way may have made the first plan.
    await attempt(() => (this.#isUnusedForGood = app.isUnused()));
    await attempt(() => {
      const kept = store.keepWhenRemoved();
      if (kept !== null) log("warning", `the state file was removed; all of it is kept as ${kept}`, {});
    });
    await attempt(() => store.close());
    this.#parts.room.close();
  }

  /** While an engine runs its queues keep what their checks need (`node_modules`); after it only what goes on. */
  async #tidyQueues(): Promise<void> {
    const { store, repository, log } = this.#parts.app.parts;
    try {
      await repository.removeQueueWorktrees(new Set(store.plans.listOpen().map((plan) => plan.target)));
    } catch (thrown) {
      log("warning", `a worktree of the merge queue could not be removed: ${messageOf(thrown)}`, {});
    }
  }

  onEvent: EngineHost["onEvent"] = (listener) => this.#parts.app.parts.bus.onEvent(listener);

  eventsAfter: EngineHost["eventsAfter"] = (seq, limit) => this.#parts.app.parts.store.events.since(seq, { limit });
}

/** Only what an engine could have written: it becomes part of a mark. */
function ownId(before: EngineFile | null): string | null {
  const id = before?.engineId ?? null;
  return id !== null && /^[0-9a-f-]{36}$/.test(id) ? id : null;
}

function isReading(name: string): boolean {
  return OPERATIONS.find((operation) => operation.name === name)?.isReading ?? true;
}

function stateIsFull(stateDir: string): string {
  return `the disk is full: the state in ${stateDir} can't be written. Free some space there and call again; nothing that was stored is lost, and what ran goes on`;
}

function logOf(options: HostOptions): Log {
  return (level, message, facts) => {
    const { stack, ...rest } = facts;
    const more = Object.keys(rest).length === 0 ? "" : ` ${JSON.stringify(rest)}`;
    options.log.write(`${level}: ${message}${more}${typeof stack === "string" ? `\n${stack}` : ""}`);
  };
}

function required<Value>(value: Value | null): Value {
  if (value === null) throw new Error("the app is used before it is made");
  return value;
}
