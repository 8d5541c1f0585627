/**
 * A user's machine in small for one test: a home, repositories, and the real engine of `dist/` with command agents in
 * processes of its own. What agents do is measured from outside, by what they write into a folder of the test.
 * ORCHESTRATOR_DIST names another build to try.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { CallOptions, EngineClient } from "../../src/engine/client.ts";
import type { OperationResult } from "../../src/operations/operation.ts";
import type { PlanStatus, TaskDetail, TaskStatusOutput } from "../../src/operations/task-status.ts";
import { childrenOf, commandLine, environmentOf, isAlive, kill, processesOf } from "../support/processes.js";
import { until } from "../support/until.js";

export const DIST = process.env["ORCHESTRATOR_DIST"] ?? new URL("../../dist", import.meta.url).pathname;
/** Its modules, to look into one of them. */
export const BUILD = join(DIST, "..", "build");

export type Fields = Record<string, unknown>;
export interface Task extends Fields {
  readonly id: string;
}

export interface ClientChoice {
  readonly environment?: NodeJS.ProcessEnv;
  readonly mayStart?: boolean;
  readonly clientName?: string;
}

/** The text of a client program that agents run: `node try-client.mjs COMMON_DIR PLACE [NAME JSON]...`. */
const CLIENT_PROGRAM = `
import { connectClient } from ${JSON.stringify(pathToFileURL(join(DIST, "engine", "client.js")).href)};
const [commonDir, place, ...calls] = process.argv.slice(2);
const client = await connectClient({ commonDir, place, clientName: "agent", mayStart: true });
console.log(JSON.stringify({ role: client.role, engineId: client.engineId }));
for (let index = 0; index + 1 < calls.length; index += 2) {
  console.log(JSON.stringify(await client.call(calls[index], JSON.parse(calls[index + 1]))));
}
client.close();
`;

export class Ground {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator e2e ")));
  readonly home = join(this.folder, "home");
  /** Where agents leave their traces. */
  readonly traces = join(this.folder, "traces");
  readonly program = join(this.folder, "try-client.mjs");
  readonly repositories: Repo[] = [];
  readonly main: Repo;

  constructor(config: Fields = {}) {
    for (const folder of [this.home, this.traces, join(this.folder, "tmp")]) mkdirSync(folder);
    writeFileSync(this.program, CLIENT_PROGRAM);
    this.configure(config);
    this.main = this.repository("repo ünï 'q'");
  }

  /** Every process that we start has this folder in its environment, so that none can be overlooked. */
  get environment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"],
      LANG: "C.UTF-8",
      HOME: this.home,
      TMPDIR: join(this.folder, "tmp"),
      ORCHESTRATOR_HOME: join(this.home, ".orchestrator"),
    };
  }

  /** Writes the global config. A short grace keeps tests quick. */
  configure(config: Fields): void {
    mkdirSync(join(this.home, ".orchestrator"), { recursive: true });
    const { agents, ...rest } = config;
    const text = JSON.stringify({ agents: { killGraceSeconds: 1, ...(agents as Fields | undefined) }, ...rest });
    writeFileSync(join(this.home, ".orchestrator", "config.json"), text);
  }

  repository(name: string): Repo {
    const repo = new Repo(this, join(this.folder, name));
    this.repositories.push(repo);
    return repo;
  }

  /** Lines of a file in the traces folder. */
  trace(name: string): string[] {
    const file = join(this.traces, name);
    if (!existsSync(file)) return [];
    return readFileSync(file, "utf8").split("\n").filter(Boolean);
  }

  /** Ends what is left and removes everything. Answers what was still running, which should have been nothing. */
  async leave(): Promise<void> {
    for (const repo of this.repositories) repo.closeClients();
    await until("everything of the test is gone", () => {
      const left = processesOf(this.folder);
      for (const pid of left) kill(pid, "SIGKILL");
      return left.length === 0;
    });
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Repo {
  readonly ground: Ground;
  readonly path: string;
  readonly commonDir: string;
  readonly stateDir: string;
  readonly #clients: EngineClient[] = [];

  constructor(ground: Ground, path: string) {
    this.ground = ground;
    this.path = path;
    this.commonDir = join(path, ".git");
    this.stateDir = join(this.commonDir, "orchestrator");
    mkdirSync(path, { recursive: true });
    this.git("init", "-q", "-b", "main");
    this.git("config", "user.name", "A User");
    this.git("config", "user.email", "user@example.org");
    this.commit("first", { "README.md": "hello\n" });
  }

  git(...args: string[]): string {
    return this.gitAt(this.path, ...args);
  }

  gitAt(cwd: string, ...args: string[]): string {
    return execFileSync("git", args, { cwd, encoding: "utf8", env: this.ground.environment, stdio: "pipe" }).trim();
  }

  write(path: string, text: string): void {
    const file = join(this.path, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  read(path: string): string {
    return readFileSync(join(this.path, path), "utf8");
  }

  commit(message: string, files: Readonly<Record<string, string>>): string {
    for (const [path, text] of Object.entries(files)) this.write(path, text);
    this.git("add", "-A", "--", ...Object.keys(files));
    this.git("commit", "-qm", message);
    return this.git("rev-parse", "HEAD");
  }

  async client(choice: ClientChoice = {}): Promise<EngineClient> {
    const module = (await import(pathToFileURL(join(DIST, "engine", "client.js")).href)) as {
      connectClient: typeof import("../../src/engine/client.ts").connectClient;
    };
    const client = await module.connectClient({
      commonDir: this.commonDir,
      place: this.path,
      clientName: choice.clientName ?? "test",
      mayStart: choice.mayStart ?? true,
      environment: choice.environment ?? this.ground.environment,
    });
    this.#clients.push(client);
    return client;
  }

  closeClients(): void {
    for (const client of this.#clients) client.close();
    this.#clients.length = 0;
  }

  async #latest(): Promise<EngineClient> {
    return this.#clients.at(-1) ?? (await this.client());
  }

  async ask(name: string, input: Fields, options?: CallOptions): Promise<OperationResult> {
    return await (await this.#latest()).call(name, input, options);
  }

  /** An answer that must be good. */
  async call(name: string, input: Fields, options?: CallOptions): Promise<Fields> {
    const result = await this.ask(name, input, options);
    if (!result.ok) throw new Error(`${name} failed: ${result.code}: ${result.message}\n${this.log().slice(-1500)}`);
    return result.structured;
  }

  /** A refusal: its code and words. */
  async refusal(name: string, input: Fields, options?: CallOptions): Promise<{ code: string; message: string }> {
    const result = await this.ask(name, input, options);
    if (result.ok) throw new Error(`${name} was to be refused, but: ${result.text}`);
    return { code: result.code, message: result.message };
  }

  /** Submits tasks of command agents; answers the plan's id. */
  async submit(name: string, tasks: readonly Task[], more: Fields = {}): Promise<string> {
    const withAgent = tasks.map((task) => ({ agent: "command", ...task }));
    const { plan } = await this.call("create_plan", { name, tasks: withAgent, ...more });
    return String(plan);
  }

  async control(action: string, what: Fields): Promise<Fields> {
    return await this.call("control", { action, ...what });
  }

  async status(input: Fields): Promise<TaskStatusOutput> {
    // The schema of the operation is the contract of this very package.
    return (await this.call("task_status", input)) as unknown as TaskStatusOutput;
  }

  async plan(plan: string): Promise<PlanStatus> {
    const [status] = (await this.status({ plan })).plans;
    if (status === undefined) throw new Error(`no plan ${plan}`);
    return status;
  }

  async task(task: string, include: readonly string[] = []): Promise<TaskDetail> {
    const { task: detail } = await this.status({ task, include });
    if (detail === undefined) throw new Error(`no task ${task}`);
    return detail;
  }

  /** States by task, a wait with its code: `{ a: "succeeded", b: "waiting:conflict" }`. */
  async states(plan: string): Promise<Record<string, string>> {
    const states: Record<string, string> = {};
    for (let offset = 0; ;) {
      const [status] = (await this.status({ plan, include: ["why"], offset })).plans;
      if (status === undefined) return states;
      for (const { task, state, why } of status.tasks) {
        const code = state === "waiting" ? `:${why?.code ?? ""}` : "";
        states[task.split("/")[1] ?? ""] = `${state}${code}`;
      }
      if (status.more === 0) return states;
      offset += status.tasks.length;
    }
  }

  /** Waits until nothing of the plan moves by itself; answers the plan's state. */
  async settled(plan: string, timeoutMs = 90_000): Promise<string> {
    const deadlineMs = performance.now() + timeoutMs;
    let since = 0;
    for (;;) {
      const answer = await this.status({ plan, since, waitSeconds: 5 });
      since = answer.seq;
      const state = answer.plans[0]?.state ?? "";
      if (state !== "running") return state;
      if (performance.now() > deadlineMs) {
        throw new Error(
          `${plan} did not settle: ${JSON.stringify(await this.states(plan)).slice(0, 1000)}\n${this.log().slice(-2000)}`,
        );
      }
    }
  }

  async untilState(task: string, wanted: string, timeoutMs = 30_000): Promise<void> {
    const [plan = "", id = ""] = task.split("/");
    let last = "";
    await until(
      `${task} is ${wanted}`,
      async () => (last = (await this.states(plan))[id] ?? "") === wanted,
      () => `It is ${last}. ${this.log().slice(-2000)}`,
      timeoutMs,
    );
  }

  enginePid(): number {
    const file = join(this.stateDir, "engine.json");
    return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { pid: number }).pid : 0;
  }

  /** The pids of this repository's engine's guards. */
  guardPids(): number[] {
    const engine = this.enginePid();
    return childrenOf(engine).filter((pid) => commandLine(pid).includes("guard-main"));
  }

  async killEngine(): Promise<void> {
    const pid = this.enginePid();
    kill(pid, "SIGKILL");
    await until("the engine is dead", () => !isAlive(pid));
  }

  log(): string {
    const file = join(this.stateDir, "engine.log");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** How often each task's merge is on the branch's first-parent line. */
  merges(branch = "main"): Record<string, number> {
    const format = "--format=%(trailers:key=Orchestrator-Task,valueonly)";
    const counts: Record<string, number> = {};
    for (const id of this.git("log", "--first-parent", "--merges", format, branch).split(/\s+/).filter(Boolean)) {
      counts[id] = (counts[id] ?? 0) + 1;
    }
    return counts;
  }

  /** The subject of a branch's last commit; empty when there is none. Not `log --all`, which a worktree in the making breaks. */
  subjectOf(branch: string): string {
    return this.git("for-each-ref", "--format=%(subject)", `refs/heads/${branch}`);
  }

  keptRefs(): string[] {
    return this.git("for-each-ref", "--format=%(refname)", "refs/orchestrator/kept/").split("\n").filter(Boolean);
  }
}

/** Living roots of attempts that the engine of that pid started. */
export function attemptsBelow(enginePid: number): number[] {
  return childrenOf(enginePid).filter((pid) => environmentOf(pid).includes("ORCHESTRATOR_ATTEMPT=") && isAlive(pid));
}

/** A shell word. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
