/**
 * Gets a client its connection: to the engine that runs, or to one that it starts. Any number of clients may do so at
 * once: each engine process that finds the lock held steps back, and all clients meet at the winner's socket.
 */
import { connect as connectSocket, type Socket } from "node:net";
import { AppError } from "../errors.ts";
import { ATTEMPT_MARK, selectVariables } from "./environment.ts";
import { LineChannel } from "./line-channel.ts";
import {
  MAX_LINE_BYTES,
  parseFields,
  PROTOCOL,
  readWelcome,
  readWireError,
  toAppError,
  type Hello,
  type Speaks,
  type Welcome,
} from "./protocol.ts";
import type { StartReport } from "./start.ts";
import { readEngineFile, socketPathsToTry, stateFolderOf } from "./state-folder.ts";

export interface ConnectOptions {
  readonly commonDir: string;
  /** Of this package; an idle engine of an older one makes room. */
  readonly version: string;
  readonly speaks: Speaks;
  readonly cwd: string;
  /** See ClientFacts. */
  readonly place: string;
  /** The client's own; what the engine asks for of it is sent, nothing else. */
  readonly environment: NodeJS.ProcessEnv;
  readonly clientName: string | null;
  /** False: an engine that does not run is ENGINE_UNREACHABLE. */
  readonly mayStart: boolean;
  /** For so long only look for an engine before starting one: another client was told to start it. */
  readonly startAfterMs?: number;
  readonly deadlineMs?: number;
}

export interface Connection {
  readonly welcome: Welcome;
  /** After the handshake. Nothing was read past the welcome that the first listener will not hear. */
  readonly channel: LineChannel;
}

/** Longer than an engine's own wait for a predecessor that is ending its agents. */
const DEADLINE_MS = 40_000;
/** An engine that accepts and says nothing for so long hangs or was stopped (SIGSTOP). */
const WELCOME_TIMEOUT_MS = 15_000;
const LOOK_AGAIN_MS = 25;
/** Starting more often than this within one call can't help: something ends each engine. */
const MAX_STARTS = 3;

/**
 * Throws ENGINE_UNREACHABLE (with the end of engine.log when it died), ENGINE_OUTDATED, and what an engine threw on its
 * start: STATE_UNUSABLE, NATIVE_MODULE_MISSING, CONFIG_INVALID and the like.
 */
export async function connectEngine(options: ConnectOptions): Promise<Connection> {
  const beganMs = performance.now();
  const deadlineMs = beganMs + (options.deadlineMs ?? DEADLINE_MS);
  let startAtMs = beganMs + (options.startAfterMs ?? 0);
  let starts = 0;
  let start: Start | null = null;
  for (;;) {
    const reached = await tryConnect(options);
    if (reached === "handover") {
      startAtMs = 0;
      start = null;
    } else if (reached !== null) return reached;
    if (!options.mayStart) throw notRunning(options.commonDir);

    const report = start?.report ?? null;
    if (report?.outcome === "failed") throw toAppError(report.error);
    if (report !== null && report.outcome !== "begun") starts += 1;
    const nowMs = performance.now();
    if (nowMs > deadlineMs || starts >= MAX_STARTS) throw await gaveUp(options.commonDir, report);
    // "ready" without an answer: it ended again at once. "held": by one that is ending. "begun": that may have failed.
    if ((start === null || report !== null) && nowMs >= startAtMs) start = beginStart(options);
    await Promise.race([delay(LOOK_AGAIN_MS), ...(start === null ? [] : [start.settled])]);
  }
}

interface Start {
  /** Null while it starts. */
  report: StartReport | null;
  readonly settled: Promise<void>;
}

function beginStart(options: ConnectOptions): Start {
  const start: Start = { report: null, settled: begin() };
  return start;

  async function begin(): Promise<void> {
    const { startEngine } = await import("./start.ts");
    const report = await startEngine(options.commonDir, options.environment);
    if (report.outcome === "begun") await delay(LOOK_AGAIN_MS);
    start.report = report;
  }
}

/** Null when nothing listens. */
async function tryConnect(options: ConnectOptions): Promise<Connection | "handover" | null> {
  for (const path of socketPathsToTry(options.commonDir, options.environment)) {
    const socket = await dial(path);
    if (socket !== null) return await shakeHands(socket, options);
  }
  return null;
}

function dial(path: string): Promise<Socket | null> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ path });
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      socket.destroy();
      if (error.code === "EACCES" || error.code === "EPERM") {
        reject(
          new AppError(
            "ENGINE_UNREACHABLE",
            `${path} can't be opened: the engine of this repository is another user's.`,
            {
              details: { socket: path },
              cause: error,
            },
          ),
        );
      } else resolve(null);
    });
  });
}

/** Null when the engine went away meanwhile: it was just ending. */
async function shakeHands(socket: Socket, options: ConnectOptions): Promise<Connection | "handover" | null> {
  const channel = new LineChannel(socket, MAX_LINE_BYTES);
  const hello: Hello = {
    protocol: PROTOCOL,
    version: options.version,
    speaks: options.speaks,
    pid: process.pid,
    cwd: options.cwd,
    place: options.place,
    mark: options.environment[ATTEMPT_MARK] ?? null,
    clientName: options.clientName,
    takesOver: options.mayStart,
  };
  channel.send(JSON.stringify({ hello }));
  const answer = await channel.readLine(WELCOME_TIMEOUT_MS);
  if ("ended" in answer) {
    channel.destroy();
    if (answer.ended === "closed") return null;
    throw silentEngine(options.commonDir);
  }
  const fields = parseFields(answer.line) ?? {};
  const welcome = readWelcome(fields);
  if (welcome !== null) {
    channel.send(JSON.stringify({ env: selectVariables(options.environment, welcome.passEnv) }));
    return { welcome, channel };
  }
  channel.destroy();
  if ("handover" in fields) return "handover";
  const error = readWireError(fields);
  if (error?.code === "ENGINE_STOPPING") return null;
  if (error !== null) throw toAppError(error);
  throw new AppError(
    "ENGINE_UNREACHABLE",
    "The engine's first line was not understood. Run `orchestrator stop`, then try again.",
  );
}

function silentEngine(commonDir: string): AppError {
  const pid = readEngineFile(stateFolderOf(commonDir).engineFile)?.pid;
  const who = pid === undefined ? "The engine" : `The engine (process ${pid})`;
  const how = pid === undefined ? "End it" : `End it with \`kill -9 ${pid}\``;
  return new AppError(
    "ENGINE_UNREACHABLE",
    `${who} took the connection but said nothing for ${WELCOME_TIMEOUT_MS / 1000} s. ${how}; the next command starts a ` +
      "new one, and nothing is lost.",
    { details: { pid: pid ?? null } },
  );
}

function notRunning(commonDir: string): AppError {
  return new AppError("ENGINE_UNREACHABLE", `No engine is running for ${commonDir}.`, { details: { running: false } });
}

async function gaveUp(commonDir: string, report: StartReport | null): Promise<AppError> {
  const { logFile, engineFile } = stateFolderOf(commonDir);
  const { readLogTail } = await import("./engine-log.ts");
  const tail = readLogTail(logFile);
  const pid = readEngineFile(engineFile)?.pid;
  const what =
    report?.outcome === "held"
      ? `Another process${pid === undefined ? "" : ` (${pid}, by engine.json)`} holds engine.lock but does not listen`
      : report?.outcome === "died"
        ? "The engine ended while it started"
        : "The engine was started but can't be reached";
  const end = tail === "" ? "" : ` The end of ${logFile}:\n${tail}`;
  return new AppError("ENGINE_UNREACHABLE", `${what}.${end}`, { details: { logFile, pid: pid ?? null } });
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
