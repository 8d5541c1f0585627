/** A repository with an engine of its own for one test: processes, sockets and folders that are all gone after it. */
import { execFileSync, spawn, type ChildProcessByStdio } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import type { ConnectOptions, Connection } from "../../src/engine/launch.ts";
import type { ClientOptions, EngineClient } from "../../src/engine/client.ts";
import { isAlive, kill, processesNaming } from "../support/processes.js";
import { until } from "../support/until.js";
import type { PackageUnderTest } from "./package-under-test.ts";

export type Fields = Record<string, unknown>;
export type Child = ChildProcessByStdio<Writable, Readable, Readable>;

export interface JournalEntry extends Fields {
  readonly what: string;
}

export interface Scene {
  readonly folder: string;
  readonly repository: string;
  readonly commonDir: string;
  readonly stateDir: string;
  readonly socketPath: string;
  readonly package: PackageUnderTest;
  /** What the fake app does, from now on. */
  set(settings: Fields): void;
  journal(what?: string): JournalEntry[];
  log(): string;
  /** Pids of all engines that ever made an app here. */
  enginePids(): number[];
  livingEngines(): number[];
  connect(options?: Partial<ConnectOptions>, from?: PackageUnderTest): Promise<Connection>;
  client(options?: Partial<ClientOptions>, from?: PackageUnderTest): Promise<EngineClient>;
  /** A bare connection to the engine's socket, which must be there. */
  dial(): Promise<RawClient>;
  pipe(options?: PipeOptions): PipeProcess;
  /** Kills and removes everything. */
  leave(): Promise<void>;
}

export interface PipeOptions {
  readonly cwd?: string;
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  readonly from?: PackageUnderTest;
}

export function openScene(packageUnderTest: PackageUnderTest, folderName = "repo"): Scene {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-engine-")));
  const repository = join(folder, folderName);
  mkdirSync(repository, { recursive: true });
  execFileSync("git", ["init", "-q", "-b", "main", repository]);
  const commonDir = join(repository, ".git");
  const stateDir = join(commonDir, "orchestrator");
  const clients: { close(): void }[] = [];
  const pipes: PipeProcess[] = [];

  const journal = (what?: string): JournalEntry[] => {
    const file = join(stateDir, "journal.jsonl");
    if (!existsSync(file)) return [];
    const entries = readFileSync(file, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as JournalEntry);
    return what === undefined ? entries : entries.filter((entry) => entry.what === what);
  };
  const enginePids = (): number[] => journal("started").map((entry) => Number(entry["pid"]));
  const load = async <Module>(from: PackageUnderTest, file: string): Promise<Module> =>
    (await import(pathToFileURL(join(from.path, "dist", "engine", file)).href)) as Module;

  return {
    folder,
    repository,
    commonDir,
    stateDir,
    socketPath: join(stateDir, "engine.sock"),
    package: packageUnderTest,
    set: (settings) => {
      mkdirSync(stateDir, { recursive: true, mode: 0o700 });
      writeFileSync(join(stateDir, "fake.json"), JSON.stringify(settings));
    },
    journal,
    log: () => (existsSync(join(stateDir, "engine.log")) ? readFileSync(join(stateDir, "engine.log"), "utf8") : ""),
    enginePids,
    livingEngines: () => enginePids().filter(isAlive),
    connect: async (options, from = packageUnderTest) => {
      const { connectEngine } = await load<typeof import("../../src/engine/launch.ts")>(from, "launch.js");
      const connection = await connectEngine({
        commonDir,
        version: versionOf(from),
        speaks: "operations",
        cwd: repository,
        place: repository,
        environment: process.env,
        clientName: "test",
        mayStart: true,
        ...options,
      });
      clients.push({ close: () => connection.channel.destroy() });
      return connection;
    },
    client: async (options, from = packageUnderTest) => {
      const { connectClient } = await load<typeof import("../../src/engine/client.ts")>(from, "client.js");
      const client = await connectClient({
        commonDir,
        place: repository,
        clientName: "test",
        mayStart: true,
        ...options,
      });
      clients.push(client);
      return client;
    },
    dial: async () => {
      const client = await RawClient.dial(join(stateDir, "engine.sock"));
      clients.push(client);
      return client;
    },
    pipe: (options = {}) => {
      const from = options.from ?? packageUnderTest;
      const pipe = new PipeProcess(
        spawn(process.execPath, [from.pipeProgram, ...(options.args ?? [])], {
          cwd: options.cwd ?? repository,
          env: { ...process.env, ...options.env },
          stdio: ["pipe", "pipe", "pipe"],
        }),
      );
      pipes.push(pipe);
      return pipe;
    },
    leave: async () => {
      for (const pipe of pipes) await pipe.end();
      for (const client of clients) client.close();
      // Again and again: one that was just starting takes the lock of one that was killed.
      await until("all engines are gone", () => {
        const left = [...new Set([...enginePids().filter(isAlive), ...processesNaming(commonDir)])];
        for (const pid of left) kill(pid);
        return left.length === 0;
      });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function versionOf(from: PackageUnderTest): string {
  return (JSON.parse(readFileSync(join(from.path, "package.json"), "utf8")) as { version: string }).version;
}

/** A client that may say anything. */
export class RawClient {
  readonly socket: Socket;
  readonly messages: Fields[] = [];
  isClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => (this.isClosed = true));
    const lines = createInterface({ input: socket });
    lines.on("line", (line) => this.messages.push(JSON.parse(line) as Fields));
    lines.on("error", () => undefined);
  }

  static dial(path: string): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path });
      socket.once("connect", () => resolve(new RawClient(socket)));
      socket.once("error", reject);
    });
  }

  send(message: unknown): void {
    this.socket.write(`${JSON.stringify(message)}\n`);
  }

  hello(changes: Fields = {}): void {
    this.send({ hello: { ...HELLO, ...changes } });
  }

  async next(test: (message: Fields) => boolean): Promise<Fields> {
    await until("the engine sent what was waited for", () => this.messages.some(test) || this.isClosed);
    const found = this.messages.find(test);
    if (found === undefined) throw new Error(`closed; it sent ${JSON.stringify(this.messages)}`);
    return found;
  }

  close(): void {
    this.socket.destroy();
  }
}

const HELLO = {
  protocol: 1,
  version: "1.2.3",
  speaks: "operations",
  pid: process.pid,
  cwd: "/",
  place: "/",
  mark: null,
  clientName: "raw",
  takesOver: false,
};

/** A host's end of the pipe: lines in, lines out. */
class PipeProcess {
  readonly child: Child;
  readonly messages: Fields[] = [];
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  errors = "";

  constructor(child: Child) {
    this.child = child;
    child.stdin.on("error", () => undefined);
    createInterface({ input: child.stdout }).on("line", (line) => this.messages.push(JSON.parse(line) as Fields));
    child.stderr.on("data", (chunk: Buffer) => (this.errors += chunk.toString()));
    this.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  }

  send(message: Fields): void {
    this.child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  /** The handshake as hosts do it. */
  async initialize(capabilities: Fields = {}): Promise<Fields> {
    const clientInfo = { name: "test-host", version: "1" };
    this.send({ id: 0, method: "initialize", params: { protocolVersion: "2025-06-18", capabilities, clientInfo } });
    const answer = await this.answer(0);
    this.send({ method: "notifications/initialized" });
    return answer;
  }

  call(id: number | string, name: string, input: Fields = {}, meta?: Fields): void {
    this.send({ id, method: "tools/call", params: { name, arguments: input, ...(meta && { _meta: meta }) } });
  }

  answersTo(id: number | string): Fields[] {
    return this.messages.filter((message) => message["id"] === id && message["method"] === undefined);
  }

  async answer(id: number | string): Promise<Fields> {
    await until(
      `request ${id} is answered`,
      () => this.answersTo(id).length > 0,
      () => this.errors,
    );
    return this.answersTo(id)[0] ?? {};
  }

  /** `structuredContent.value` of a call's answer. */
  async value(id: number | string): Promise<unknown> {
    const result = (await this.answer(id))["result"] as { structuredContent?: { value: unknown } } | undefined;
    return result?.structuredContent?.value;
  }

  async end(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGKILL");
    await this.exited;
  }
}
