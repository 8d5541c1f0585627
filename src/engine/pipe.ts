/**
 * The pipe: what a host starts as its MCP server. It copies JSON-RPC lines between the host and the engine, and hides
 * that engines come and go: what the host asked and nobody answered is asked again of the next engine, with the same
 * request key, so that nothing is done twice and nothing is answered twice.
 *
 * It loads no library and runs no git, so that it is there about as fast as an empty program. It holds nothing that
 * needs saving and installs no signal handler: hosts give it half a second from SIGINT to SIGKILL, and end of input ends
 * it at once.
 */
import { AppError, messageOf } from "../errors.ts";
import type { Connection } from "./launch.ts";
import { connectEngine } from "./launch.ts";
import { BUFFER_LIMIT_BYTES } from "./line-channel.ts";
import { createLineSplitter } from "./lines.ts";
import { HostRequests, type HostMessage } from "./pipe-requests.ts";
import {
  isFields,
  MAX_LINE_BYTES,
  parseFields,
  readGoodbye,
  readWireError,
  toAppError,
  type Fields,
  type Goodbye,
} from "./protocol.ts";
import { discoverRepository, type FoundRepository } from "./repository-paths.ts";
import { stateFolderOf } from "./state-folder.ts";
import { compareVersions, readPackageVersion } from "./version.ts";

const USAGE = `Usage: orchestrator-mcp [--repo DIR]

The MCP server of orchestrator-mcp, over standard input and output: started by an agent CLI, not by hand.
  --repo DIR   the repository to work on (default: the current folder, else CLAUDE_PROJECT_DIR, else the client's root)
  --version    print the version`;

/** The engine ending without a goodbye more often than this ends our starting it: something kills each one. */
const MAX_LOSSES = 3;
const LOSSES_WITHIN_MS = 30_000;
/** An engine that makes room: only the client of the newer version starts the next one, unless it does not come. */
const SUCCESSOR_WAIT_MS = 5000;
const ROOTS_TIMEOUT_MS = 5000;
const ROOTS_REQUEST_ID = "orchestrator-pipe/roots";

/** Serves this process's standard input and output until the input ends. `args` as `orchestrator-mcp` takes them. */
export function runPipe(args: readonly string[]): void {
  const parsed = parsePipeArguments(args);
  if ("print" in parsed) {
    console.log(parsed.print === "version" ? readPackageVersion() : USAGE);
    return;
  }
  if ("problem" in parsed) {
    console.error(`${parsed.problem}\n\n${USAGE}`);
    process.exit(2);
  }
  if (process.stdin.isTTY) console.error("Waiting for a host's JSON-RPC lines. By hand? See `orchestrator --help`.");
  // A host that is gone does not need us; EPIPE says so too.
  process.stdout.on("error", () => process.exit(0));
  const pipe = new Pipe(parsed.repo);
  const split = createLineSplitter({
    maxLineBytes: () => MAX_LINE_BYTES,
    onLine: (line) => pipe.fromHost(line),
    onOversized: () => pipe.refuse(null, -32600, `A message may have at most ${MAX_LINE_BYTES} bytes.`),
  });
  process.stdin.on("data", split);
  process.stdin.on("end", () => process.exit(0));
  process.stdin.on("error", () => process.exit(0));
  // After what the host has already sent: a probe or a ping need not wait for the engine to be found.
  setImmediate(() => pipe.start());
}

function parsePipeArguments(
  args: readonly string[],
): { readonly repo: string | null } | { readonly print: "version" | "help" } | { readonly problem: string } {
  let repo: string | null = null;
  const rest = [...args];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === "--help" || word === "-h") return { print: "help" };
    if (word === "--version") return { print: "version" };
    const value = word === "--repo" ? rest.shift() : word.startsWith("--repo=") ? word.slice(7) : null;
    if (value === null) return { problem: `Unknown argument: ${word}` };
    if (value === undefined || value === "") return { problem: "--repo needs a folder" };
    repo = value;
  }
  return { repo };
}

/** Whatever answers the host at the moment: an engine, or the server in this process. */
export interface Endpoint {
  send(message: object): void;
  close(): void;
}

class Pipe {
  readonly #repo: string | null;
  /** Read when it is first needed. */
  #ownVersion: string | null = null;
  readonly #requests = new HostRequests();
  /** Null: nobody is there yet, or any more; what the host sends waits in #requests. */
  #endpoint: Endpoint | null = null;
  #connection: Connection | null = null;
  #isConnecting = false;
  /** Set while the endpoint is the server in this process. */
  #problem: AppError | null = null;
  #engineVersion: string | null = null;
  #roots: string[] | null = null;
  /** Set while the host is being asked for its roots. */
  #rootsTimer: NodeJS.Timeout | null = null;
  #lossesAtMs: number[] = [];

  constructor(repo: string | null) {
    this.#repo = repo;
  }

  start(): void {
    void this.#goOnline(0);
  }

  get #version(): string {
    return (this.#ownVersion ??= readPackageVersion());
  }

  refuse(id: unknown, code: number, message: string): void {
    this.#toHost(JSON.stringify({ jsonrpc: "2.0", id: id ?? null, error: { code, message } }));
  }

  fromHost(line: string): void {
    const message = parseFields(line);
    if (message === null) return this.refuse(null, -32700, "Parse error: a line must be one JSON object.");
    const { id, method } = message;
    if (id === ROOTS_REQUEST_ID && method === undefined) return this.#takeRoots(message);
    if (method === "ping" && id !== undefined) return this.#toHost(JSON.stringify({ jsonrpc: "2.0", id, result: {} }));
    // A probe of newer hosts before their first request: a start must not wait for an engine to hear "no".
    if (method === "server/discover" && id !== undefined) return this.refuse(id, -32601, "Method not found");

    const taken = this.#requests.take(message);
    if (taken.kind === "nothing") return;
    if (this.#endpoint !== null && this.#problem !== null && this.#isWorthTrying(taken)) this.#dropEndpoint();
    if (this.#endpoint !== null) this.#endpoint.send(taken.message);
    else {
      this.#requests.hold(taken);
      if (taken.kind === "request" && this.#rootsTimer === null) void this.#goOnline(0);
    }
    if (method === "notifications/initialized" || method === "notifications/roots/list_changed") this.#askForRoots();
  }

  /** With no engine, each call of a tool looks again: the user may have run `git init` meanwhile, or mended the state. */
  #isWorthTrying(taken: HostMessage): boolean {
    return taken.kind === "request" && taken.message["method"] === "tools/call" && this.#rootsTimer === null;
  }

  async #goOnline(startAfterMs: number): Promise<void> {
    if (this.#isConnecting) return;
    this.#isConnecting = true;
    try {
      const repository = this.#locate();
      const connection = await connectEngine({
        commonDir: repository.commonDir,
        version: this.#version,
        speaks: "mcp",
        cwd: tryCwd() ?? repository.place,
        place: repository.place,
        environment: process.env,
        clientName: null,
        mayStart: true,
        startAfterMs,
      });
      this.#attachEngine(connection, repository);
    } catch (thrown) {
      await this.#goOffline(thrown);
    } finally {
      this.#isConnecting = false;
    }
  }

  #locate(): FoundRepository {
    return discoverRepository({
      repo: this.#repo,
      cwd: tryCwd(),
      projectDir: process.env["CLAUDE_PROJECT_DIR"] ?? null,
      roots: this.#roots,
    });
  }

  #attachEngine(connection: Connection, repository: FoundRepository): void {
    const { channel, welcome } = connection;
    let goodbye: Goodbye | null = null;
    this.#connection = connection;
    channel.listen({
      onLine: (line) => {
        const message = parseFields(line);
        if (message === null) return;
        if (typeof message["jsonrpc"] === "string") return this.#fromEndpoint(message, line);
        goodbye = readGoodbye(message) ?? goodbye;
        const error = readWireError(message);
        if (error !== null) console.error(`orchestrator-mcp: ${toAppError(error).message}`);
      },
      onOversized: () => channel.destroy(),
      onClose: () => {
        if (this.#connection !== connection) return;
        this.#connection = null;
        this.#endpoint = null;
        this.#engineGone(goodbye, repository);
      },
    });
    const endpoint = {
      send: (message: object) => {
        channel.send(JSON.stringify(message));
        if (channel.bufferedBytes > BUFFER_LIMIT_BYTES && !process.stdin.isPaused()) {
          process.stdin.pause();
          void channel.whenSent().then(() => process.stdin.resume());
        }
      },
      close: () => channel.destroy(),
    };
    const isOtherVersion = this.#engineVersion !== null && this.#engineVersion !== welcome.version;
    this.#engineVersion = welcome.version;
    this.#attach(endpoint, null);
    // The tools may be others now; hosts list them again within the same turn.
    if (isOtherVersion) this.#toHost('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');
  }

  #attach(endpoint: Endpoint, problem: AppError | null): void {
    if (this.#problem !== null) this.#dropEndpoint();
    this.#endpoint = endpoint;
    this.#problem = problem;
    for (const message of this.#requests.forNewEndpoint()) endpoint.send(message);
  }

  /** Only while the server in this process answers. */
  #dropEndpoint(): void {
    this.#endpoint?.close();
    this.#endpoint = null;
    this.#problem = null;
  }

  #engineGone(goodbye: Goodbye | null, repository: FoundRepository): void {
    if (goodbye?.reason === "stopping") {
      // Somebody ended it: asking again would start it again. The host's next request may.
      const message = "The engine was stopped while this call waited. Call again to start it; nothing is lost.";
      for (const answer of this.#requests.answerAll("ENGINE_STOPPING", message)) this.#toHost(JSON.stringify(answer));
      return;
    }
    if (goodbye?.reason === "restarting") {
      const isOurs = goodbye.version !== null && compareVersions(this.#version, goodbye.version) >= 0;
      void this.#goOnline(isOurs ? 0 : SUCCESSOR_WAIT_MS);
      return;
    }
    const nowMs = performance.now();
    this.#lossesAtMs = [...this.#lossesAtMs.filter((atMs) => nowMs - atMs < LOSSES_WITHIN_MS), nowMs];
    if (this.#lossesAtMs.length < MAX_LOSSES) {
      void this.#goOnline(0);
      return;
    }
    this.#lossesAtMs = [];
    void this.#giveUp(repository);
  }

  async #giveUp(repository: FoundRepository): Promise<void> {
    const { readLogTail } = await import("./engine-log.ts");
    const { logFile } = stateFolderOf(repository.commonDir);
    const what = `The engine ended ${MAX_LOSSES} times within ${LOSSES_WITHIN_MS / 1000} s; calling again starts it again.`;
    await this.#goOffline(
      new AppError("ENGINE_UNREACHABLE", `${what} The end of ${logFile}:\n${readLogTail(logFile)}`),
    );
  }

  async #goOffline(thrown: unknown): Promise<void> {
    const problem = thrown instanceof AppError ? thrown : new AppError("ENGINE_UNREACHABLE", messageOf(thrown));
    try {
      const { openOffline } = await import("./pipe-offline.ts");
      const endpoint = openOffline(problem, this.#version, tryCwd() ?? "/", (message) =>
        this.#fromEndpoint(message, JSON.stringify(message)),
      );
      // An engine that came meanwhile is better.
      if (this.#connection !== null) return endpoint.close();
      this.#attach(endpoint, problem);
    } catch (failure) {
      // Not even that could be loaded: the installation is broken.
      console.error(`orchestrator-mcp: ${messageOf(failure)}`);
      for (const answer of this.#requests.answerAll(problem.code, problem.message))
        this.#toHost(JSON.stringify(answer));
    }
    if (this.#requests.isInitialized) this.#askForRoots();
  }

  #fromEndpoint(message: Fields, line: string): void {
    if (this.#requests.isForHost(message)) this.#toHost(line);
  }

  #toHost(line: string): void {
    const isRoomy = process.stdout.write(`${line}\n`);
    if (!isRoomy && process.stdout.writableLength > BUFFER_LIMIT_BYTES && this.#connection !== null) {
      const { channel } = this.#connection;
      channel.pause("host");
      process.stdout.once("drain", () => channel.resume("host"));
    }
  }

  /** Where nothing else names a repository, a client that has roots is asked for them; requests wait for its answer. */
  #askForRoots(): void {
    const isMissing = this.#problem?.code === "NOT_A_REPOSITORY" && this.#repo === null;
    if (!isMissing || !this.#requests.hasRoots || this.#rootsTimer !== null) return;
    // Once, unless they changed: an answer that names no repository would be the same again.
    if (this.#roots !== null && this.#requests.areRootsFresh) return;
    this.#requests.areRootsFresh = true;
    this.#dropEndpoint();
    this.#rootsTimer = setTimeout(() => this.#settleRoots(this.#roots ?? []), ROOTS_TIMEOUT_MS);
    this.#toHost(JSON.stringify({ jsonrpc: "2.0", id: ROOTS_REQUEST_ID, method: "roots/list" }));
  }

  #takeRoots(answer: Fields): void {
    const result = answer["result"];
    const roots = isFields(result) && Array.isArray(result["roots"]) ? result["roots"] : [];
    this.#settleRoots(roots.map((root: unknown) => (isFields(root) ? root["uri"] : null)).filter(isText));
  }

  #settleRoots(roots: string[]): void {
    if (this.#rootsTimer === null) return;
    clearTimeout(this.#rootsTimer);
    this.#rootsTimer = null;
    this.#roots = roots;
    void this.#goOnline(0);
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** Null when the folder was removed. */
function tryCwd(): string | null {
  try {
    return process.cwd();
  } catch {
    return null;
  }
}
