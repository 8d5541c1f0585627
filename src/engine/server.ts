/**
 * The engine's life: it loads everything, takes the lock, makes the host, listens, and goes when nothing is left to do.
 * It owns the lock, the socket, engine.json and the count of clients. Always true: only the holder of the lock makes a
 * host, listens or removes a socket file. It never knows what a plan is: that is the host's.
 */
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { crashPoint } from "../crash-point.ts";
import { AppError } from "../errors.ts";
import type { OperationResult } from "../operations/operation.ts";
import { identityOf } from "../process/process-table.ts";
import { loadEngineCode, type EngineCode } from "./engine-code.ts";
import type { EngineHost, EngineLog } from "./engine-host.ts";
import { openEngineLog } from "./engine-log.ts";
import { EngineSocket } from "./engine-socket.ts";
import { forgetLostTemporaryFolder } from "./environment.ts";
import { tryEngineLock, type EngineLock } from "./lock.ts";
import { HELLO_TIMEOUT_MS, PROTOCOL, type Goodbye } from "./protocol.ts";
import { mainWorktreeOf } from "./repository-paths.ts";
import { openSession, type Session, type SessionEngine } from "./session.ts";
import {
  keptStates,
  ensureStateFolder,
  removeStateFolder,
  socketPathToListen,
  type StateFolder,
} from "./state-folder.ts";

export interface EngineOptions {
  readonly commonDir: string;
  readonly version: string;
  /** Where the socket goes when its path is too long. */
  readonly environment: NodeJS.ProcessEnv;
  readonly loadCode?: () => Promise<EngineCode>;
  /** How long a process that finds the lock held by one that does not answer waits for it. */
  readonly lockWaitMs?: number;
  readonly helloTimeoutMs?: number;
  /** A host that restarts its server is not the last client leaving. */
  readonly lastClientGraceMs?: number;
  readonly tickMs?: number;
  /** Aborted: it ends in order, also one that is only starting. The reason is told. */
  readonly signal?: AbortSignal;
}

export interface RunningEngine {
  readonly engineId: string;
  readonly socketPath: string;
  readonly log: EngineLog;
  /** Ends in order; the same promise however often it is asked. */
  stop(reason: string): Promise<void>;
  /** Resolves when everything is released, whatever began the end. */
  readonly ended: Promise<void>;
}

/** An ending engine may need `agents.killGraceSeconds` (10) and more for its agents. */
const LOCK_WAIT_MS = 35_000;
const LOCK_POLL_MS = 50;
const TICK_MS = 1000;
const LAST_CLIENT_GRACE_MS = 3000;
/** For calls that were under way when the end began: the host has ended what they waited for. */
const DRAIN_MS = 2000;

/** Null: another engine has the repository, or it was asked to end while it waited for it. Throws STATE_UNUSABLE, NATIVE_MODULE_MISSING and whatever the host throws. */
export async function runEngine(options: EngineOptions): Promise<RunningEngine | null> {
  const code = await (options.loadCode ?? loadEngineCode)();
  const folder = ensureStateFolder(options.commonDir);
  const socketPath = socketPathToListen(options.commonDir, options.environment);
  const lock = await waitForLock(options, socketPath);
  if (lock === null) return null;
  const log = openEngineLog(folder.logFile);
  log.rotate();
  try {
    const engine = new Engine(options, code, folder, socketPath, lock, log);
    await engine.start();
    const stop = (): void => void engine.stop(String(options.signal?.reason));
    if (options.signal?.aborted === true) stop();
    else options.signal?.addEventListener("abort", stop);
    return engine;
  } catch (thrown) {
    log.error("The engine could not start", thrown);
    // Refused (bare, no commit yet) before anything was stored: the reason is told, and nothing stays behind.
    // A state that was just put aside because it is damaged is all there is of it: it stays.
    const isStored = existsSync(join(folder.path, "state.db")) || keptStates(folder.path).length > 0;
    const isRefused = thrown instanceof AppError && !isStored;
    if (isRefused && lock.isInPlace()) removeStateFolder(folder);
    lock.release();
    throw thrown;
  }
}

/** Who is second steps back as soon as the first one answers, and follows one that is ending. */
async function waitForLock(
  { commonDir, signal, lockWaitMs = LOCK_WAIT_MS }: EngineOptions,
  socketPath: string,
): Promise<EngineLock | null> {
  const deadlineMs = performance.now() + lockWaitMs;
  for (;;) {
    if (signal?.aborted === true) return null;
    const lock = tryEngineLock(ensureStateFolder(commonDir).lockFile);
    if (lock !== null) return lock;
    if (performance.now() > deadlineMs || (await isAnswered(socketPath))) return null;
    await delay(LOCK_POLL_MS);
  }
}

function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path: socketPath });
    const settle = (isAlive: boolean): void => {
      socket.destroy();
      resolve(isAlive);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

class Engine implements RunningEngine {
  readonly socketPath: string;
  readonly log: EngineLog;
  readonly ended: Promise<void>;
  readonly #options: EngineOptions;
  readonly #code: EngineCode;
  readonly #folder: StateFolder;
  readonly #lock: EngineLock;
  readonly #socket: EngineSocket;
  #host: EngineHost | null = null;
  #ticker: NodeJS.Timeout | null = null;
  #stopping: Promise<void> | null = null;
  #tellEnded: () => void = () => undefined;
  /** Every connection, also before its hello. */
  readonly #sessions = new Set<Session>();
  readonly #clients = new Set<Session>();
  #callsUnderWay = 0;
  #idleSinceMs: number | null = null;
  #lastOperatorLeftMs: number | null = null;
  #pendingVersion: string | null = null;
  readonly #startedAtMs = Date.now();
  #engineFileText = "";

  constructor(
    options: EngineOptions,
    code: EngineCode,
    folder: StateFolder,
    socketPath: string,
    lock: EngineLock,
    log: EngineLog,
  ) {
    this.#options = options;
    this.#code = code;
    this.#folder = folder;
    this.#lock = lock;
    this.socketPath = socketPath;
    this.log = log;
    this.#socket = new EngineSocket(
      socketPath,
      (socket) => void this.#sessions.add(openSession(socket, this.#sessionEngine())),
      (error) => this.log.error("The socket failed", error),
    );
    this.ended = new Promise((resolve) => (this.#tellEnded = resolve));
  }

  get engineId(): string {
    return this.#madeHost.engineId;
  }

  get #madeHost(): EngineHost {
    if (this.#host === null) throw new AppError("INTERNAL", "the host is used before it is made");
    return this.#host;
  }

  async start(): Promise<void> {
    const { commonDir, version } = this.#options;
    let wasAskedToStop: string | null = null;
    this.#host = await this.#code.createHost({
      commonDir,
      mainWorktree: mainWorktreeOf(commonDir),
      stateDir: this.#folder.path,
      engineVersion: version,
      log: this.log,
      stopEngine: (reason) => {
        if (this.#ticker === null && this.#stopping === null) wasAskedToStop = reason;
        else void this.stop(reason);
      },
    });
    try {
      crashPoint("engine-made");
      await this.#socket.listen();
      crashPoint("engine-listens");
      this.#writeEngineFile();
    } catch (thrown) {
      await this.#host.stop("the socket could not be opened");
      throw thrown;
    }
    this.#ticker = setInterval(() => this.#tick(), this.#options.tickMs ?? TICK_MS);
    this.log.write(`Engine ${this.engineId} ${version} listens on ${this.socketPath}`);
    if (wasAskedToStop !== null) void this.stop(wasAskedToStop);
  }

  stop(reason: string): Promise<void> {
    return this.#end(reason, { reason: "stopping", version: null });
  }

  #end(reason: string, goodbye: Goodbye): Promise<void> {
    this.#stopping ??= this.#endOnce(reason, goodbye).finally(() => this.#tellEnded());
    return this.#stopping;
  }

  async #endOnce(reason: string, goodbye: Goodbye): Promise<void> {
    this.log.write(`The engine ends: ${reason}`);
    if (this.#ticker !== null) clearInterval(this.#ticker);
    // Nobody new comes in; who waits for the lock sees that nobody answers.
    this.#socket.close();
    try {
      crashPoint("engine-stopping");
      await this.#madeHost.stop(reason);
    } catch (thrown) {
      this.log.error("The host did not stop in order", thrown);
    }
    const deadlineMs = performance.now() + DRAIN_MS;
    while (this.#callsUnderWay > 0 && performance.now() < deadlineMs) await delay(10);
    for (const session of this.#sessions) {
      session.sayGoodbye(goodbye);
      session.end();
    }
    while (this.#sessions.size > 0 && performance.now() < deadlineMs + DRAIN_MS) await delay(10);
    crashPoint("engine-host-stopped");
    this.log.write("The engine has ended");
    if (this.#lock.isInPlace()) {
      rmSync(this.#folder.engineFile, { force: true });
      if (this.#madeHost.isUnused()) removeStateFolder(this.#folder);
    }
    this.#lock.release();
  }

  /** Only information: a disk that takes none keeps nobody from working. */
  #noteOpenPlans(): void {
    if (this.#stopping !== null) return;
    try {
      this.#writeEngineFile();
    } catch {
      // Tried again with the next look around.
    }
  }

  #writeEngineFile(): void {
    const facts = {
      pid: process.pid,
      processStart: identityOf(process.pid)?.startTime ?? null,
      version: this.#options.version,
      protocol: PROTOCOL,
      socket: this.socketPath,
      startedAtMs: this.#startedAtMs,
      engineId: this.engineId,
      openPlans: this.#madeHost.openPlans(),
    };
    const text = `${JSON.stringify(facts)}\n`;
    if (text === this.#engineFileText) return;
    const next = `${this.#folder.engineFile}.next`;
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, this.#folder.engineFile);
    this.#engineFileText = text;
  }

  #sessionEngine(): SessionEngine {
    return {
      host: this.#madeHost,
      version: this.#options.version,
      log: this.log,
      serveMcp: this.#code.serveMcp,
      helloTimeoutMs: this.#options.helloTimeoutMs ?? HELLO_TIMEOUT_MS,
      isStopping: () => this.#stopping !== null,
      call: (name, input, call) => this.#call(name, input, call),
      tryHandOver: (session) => this.#tryHandOver(session),
      opened: (session) => {
        this.#clients.add(session);
        this.#idleSinceMs = null;
        if (session.isOperator) this.#lastOperatorLeftMs = null;
      },
      closed: (session) => this.#closed(session),
    };
  }

  async #call(...[name, input, call]: Parameters<SessionEngine["call"]>): Promise<OperationResult> {
    if (this.#stopping !== null) {
      const message = "The engine is shutting down. The next command starts it again.";
      return { ok: false, code: "ENGINE_STOPPING", message, details: {} };
    }
    this.#callsUnderWay += 1;
    try {
      return await this.#madeHost.call(name, input, call);
    } catch (thrown) {
      const id = this.log.error(`The operation ${name} failed`, thrown);
      const message = `Internal error ${id}: a bug. ${this.#folder.logFile} has more under that id.`;
      return { ok: false, code: "INTERNAL", message, details: { id } };
    } finally {
      this.#callsUnderWay -= 1;
      // Before the answer: a plan that somebody was told of is named, should we die in the next moment.
      this.#noteOpenPlans();
    }
  }

  #closed(session: Session): void {
    this.#sessions.delete(session);
    if (!this.#clients.delete(session) || !session.isOperator || this.#stopping !== null) return;
    if ([...this.#clients].some((client) => client.isOperator)) return;
    this.#lastOperatorLeftMs = performance.now();
    this.#madeHost.lastClientLeft();
    this.#leaveWhenUnused();
  }

  #tryHandOver(session: Session): boolean {
    if (this.#stopping !== null) return true;
    const version = session.hello?.version ?? "";
    if (this.#madeHost.liveAgents() > 0) {
      this.#pendingVersion = version;
      this.#madeHost.setRestartPending(version);
      return false;
    }
    void this.#end(`it makes room for version ${version}`, { reason: "restarting", version });
    return true;
  }

  /** Who only looked, or had a plan refused, finds the repository as it was. */
  #leaveWhenUnused(): void {
    // Not the clients alone: one that is just saying hello would be told that the engine stops.
    if (this.#sessions.size > 0 || this.#callsUnderWay > 0 || this.#lastOperatorLeftMs === null) return;
    if (this.#madeHost.isUnused()) void this.stop("nothing was planned here and no client is here");
  }

  #tick(): void {
    try {
      this.#lookAround();
    } catch (thrown) {
      this.log.error("The engine's look around failed", thrown);
    }
  }

  #lookAround(): void {
    const host = this.#madeHost;
    if (!this.#lock.isInPlace()) {
      void this.stop("its lock file was removed, so another engine may take the repository");
      return;
    }
    if (!host.isStateInPlace()) {
      void this.stop("its state file or the log of it was removed or exchanged");
      return;
    }
    if (!this.#socket.isInPlace()) {
      this.log.write("The socket's file is gone; listening again");
      void this.#socket.listenAgain().catch((thrown: unknown) => this.log.error("Listening again failed", thrown));
    }
    const lost = forgetLostTemporaryFolder(process.env);
    if (lost !== null) this.log.write(`TMPDIR (${lost}) is gone; what is started from now on has the system's own`);
    this.#noteOpenPlans();
    if (this.#pendingVersion !== null) this.#lookAtPendingRestart(this.#pendingVersion);
    const nowMs = performance.now();
    const leftForMs = this.#lastOperatorLeftMs === null ? 0 : nowMs - this.#lastOperatorLeftMs;
    const graceMs = this.#options.lastClientGraceMs ?? LAST_CLIENT_GRACE_MS;
    if (this.#lastOperatorLeftMs !== null && leftForMs >= graceMs && host.onLastClientExit() === "stop") {
      void this.stop("the last client left (engine.onLastClientExit)");
      return;
    }
    this.#leaveWhenUnused();
    if (this.#clients.size > 0 || host.canMove()) this.#idleSinceMs = null;
    else if (this.#idleSinceMs === null) this.#idleSinceMs = nowMs;
    else if (nowMs - this.#idleSinceMs >= host.idleExitSeconds() * 1000) {
      void this.stop("nothing is left to do and no client is here (engine.idleExitSeconds)");
    }
  }

  /** Only while the newer client is here: it is the one who starts the next engine. */
  #lookAtPendingRestart(version: string): void {
    if (![...this.#clients].some((client) => client.hello?.version === version)) {
      this.#pendingVersion = null;
      this.#madeHost.setRestartPending(null);
    } else if (this.#madeHost.liveAgents() === 0) {
      void this.#end(`it makes room for version ${version}`, { reason: "restarting", version });
    }
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
