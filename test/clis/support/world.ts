/**
 * A user of ours for one test: a home, a repository, a config, three models on loopback, and the built program. What
 * matters is the environment of whoever calls, HOME and the config, as for a real user; nothing of this process's
 * environment gets in. `leave` stops the engine, sees to it that nothing lives on, and removes everything.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { EngineClient } from "../../../src/engine/client.ts";
import type { PlanStatus, TaskDetail, TaskStatusOutput } from "../../../src/operations/task-status.ts";
import { commandLine, kill, processesOf } from "../../support/processes.js";
import { until } from "../../support/until.js";
import { CLI_NAMES, startModel, type CliName, type Model } from "./models.ts";

const BIN = fileURLToPath(new URL("../node_modules/.bin/", import.meta.url));

/** The programs as a user has them. */
export const PROGRAMS: Readonly<Record<CliName, string>> = {
  claude: join(BIN, "claude"),
  codex: join(BIN, "codex"),
  goose: fileURLToPath(new URL("../node_modules/@aaif/goose-binary-linux-x64/bin/goose", import.meta.url)),
};

/** The build that is tested; another one than dist/ while working on it. */
const DIST = process.env["ORCHESTRATOR_TEST_DIST"] ?? fileURLToPath(new URL("../../../dist", import.meta.url));
export const PIPE = join(DIST, "engine", "pipe-main.cjs");
const CLI = join(DIST, "cli", "main.js");

/** Models of the roles in the world's config; each must reach its API. */
export const MODELS: Readonly<Record<CliName, string>> = {
  claude: "claude-sonnet-4-5",
  codex: "gpt-5.5",
  goose: "gpt-4o",
};

export interface Finished {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface WorldOptions {
  /** Merged over the usual config, key by key at the first two levels. */
  readonly config?: Readonly<Record<string, Record<string, unknown>>>;
  /** Files of the first commit. */
  readonly files?: Readonly<Record<string, string>>;
  /** Which CLIs are needed; default all three. */
  readonly clis?: readonly CliName[];
}

const RUN_DEADLINE_MS = 150_000;

export class World {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-clis-")));
  readonly home = join(this.folder, "home");
  readonly repository = join(this.folder, "repository");
  readonly stateFolder = join(this.repository, ".git", "orchestrator");
  readonly #models: Readonly<Partial<Record<CliName, Model>>>;
  readonly #children = new Set<ChildProcess>();
  #client: EngineClient | null = null;

  private constructor(models: Readonly<Partial<Record<CliName, Model>>>, options: WorldOptions) {
    this.#models = models;
    for (const name of ["home", "repository", "tmp", "orchestrator-home", "home/.codex"]) {
      mkdirSync(join(this.folder, name), { recursive: true });
    }
    this.put(
      "home/.gitconfig",
      "[user]\n\tname = A User\n\temail = user@example.test\n[init]\n\tdefaultBranch = main\n",
    );
    if (models.codex !== undefined) this.put("home/.codex/config.toml", models.codex.codexConfig());
    this.configure(options.config ?? {});
    this.git("init", "--quiet");
    for (const [path, content] of Object.entries(options.files ?? { "README.md": "hello\n" })) {
      this.put(join("repository", path), content);
    }
    this.git("add", "--all");
    this.git("commit", "--quiet", "--message=first");
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    if (!existsSync(PIPE)) throw new Error(`${PIPE} is missing: npm run build comes first`);
    const names = options.clis ?? CLI_NAMES;
    const models = await Promise.all(names.map(async (name) => [name, await startModel(name)] as const));
    return new World(Object.fromEntries(models), options);
  }

  model(cli: CliName): Model {
    const model = this.#models[cli];
    if (model === undefined) throw new Error(`this world has no ${cli}`);
    return model;
  }

  /** The global config: a provider and a role for each CLI. */
  configure(changes: Readonly<Record<string, Record<string, unknown>>>): void {
    const providers = {
      // Each CLI's own waits between tries would take half a minute; ours are what is tried.
      claude: { kind: "claude", command: PROGRAMS.claude, env: { CLAUDE_CODE_MAX_RETRIES: "0" } },
      codex: { kind: "codex", command: PROGRAMS.codex, passEnv: ["SCRIPTED_API_KEY"] },
      goose: { kind: "goose", command: PROGRAMS.goose },
    };
    const role = (cli: CliName) => ({
      provider: cli,
      model: MODELS[cli],
      systemPrompt: `You are the ${cli} of the test.`,
    });
    const config: Record<string, Record<string, unknown>> = {
      providers,
      agents: { "coder-claude": role("claude"), "coder-codex": role("codex"), "coder-goose": role("goose") },
      retry: { baseMs: 200, maxMs: 500 },
    };
    for (const [key, value] of Object.entries(changes)) config[key] = { ...config[key], ...value };
    this.put("orchestrator-home/config.json", JSON.stringify(config, null, 2));
  }

  /** What the user's shell has: the CLIs' own variables, and nothing of this process. */
  environment(without: readonly string[] = []): Record<string, string> {
    const all: Record<string, string> = {
      PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
      HOME: this.home,
      TMPDIR: join(this.folder, "tmp"),
      LANG: "C.UTF-8",
      ORCHESTRATOR_HOME: join(this.folder, "orchestrator-home"),
    };
    if (this.#models.claude !== undefined) {
      all["ANTHROPIC_BASE_URL"] = this.#models.claude.baseUrl;
      all["ANTHROPIC_API_KEY"] = "dummy-key-of-claude";
    }
    if (this.#models.codex !== undefined) all["SCRIPTED_API_KEY"] = "dummy-key-of-codex";
    if (this.#models.goose !== undefined) {
      Object.assign(all, {
        GOOSE_PROVIDER: "openai",
        GOOSE_MODEL: "not-the-role's-model",
        OPENAI_HOST: this.#models.goose.baseUrl,
        OPENAI_API_KEY: "dummy-key-of-goose",
        GOOSE_DISABLE_KEYRING: "1",
        // A request for a title, which would be a turn of its own for the scripts.
        GOOSE_DISABLE_SESSION_NAMING: "true",
        GOOSE_PROVIDER_SKIP_BACKOFF: "true",
      });
    }
    for (const name of without) delete all[name];
    return all;
  }

  put(path: string, content: string): string {
    const file = join(this.folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  git(...args: readonly string[]): string {
    const env = { PATH: process.env["PATH"], HOME: this.home, GIT_CONFIG_NOSYSTEM: "1" };
    return execFileSync("git", args, {
      cwd: this.repository,
      env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trim();
  }

  /** Runs a program in the repository to its end. */
  async run(
    file: string,
    args: readonly string[],
    options: { readonly env?: Record<string, string>; readonly stdin?: string } = {},
  ): Promise<Finished> {
    const child = spawn(file, args, {
      cwd: this.repository,
      env: options.env ?? this.environment(),
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#children.add(child);
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.stdin ?? "");
    const deadline = setTimeout(() => child.kill("SIGKILL"), RUN_DEADLINE_MS);
    try {
      const exitCode = await new Promise<number | null>((resolve, reject) => {
        child.on("error", reject);
        child.on("close", resolve);
      });
      return { exitCode, stdout, stderr };
    } finally {
      clearTimeout(deadline);
      this.#children.delete(child);
    }
  }

  /** Ends it at the latest when the world is left. */
  adopt(child: ChildProcess): void {
    this.#children.add(child);
    child.on("close", () => this.#children.delete(child));
  }

  /** `orchestrator …`. */
  orchestrator(args: readonly string[], env?: Record<string, string>): Promise<Finished> {
    return this.run(process.execPath, [CLI, ...args], env === undefined ? {} : { env });
  }

  /** An operation, as the CLI calls it. Throws when it is refused. */
  async call<Output>(name: string, input: object, env: Record<string, string> = this.environment()): Promise<Output> {
    if (this.#client === null) {
      const { connectClient } = (await import(
        pathToFileURL(join(DIST, "engine", "client.js")).href
      )) as typeof import("../../../src/engine/client.ts");
      this.#client = await connectClient({
        commonDir: join(this.repository, ".git"),
        place: this.repository,
        clientName: "test",
        mayStart: true,
        environment: env,
      });
    }
    const result = await this.#client.call(name, input);
    if (!result.ok) throw new Error(`${name}: ${result.code}: ${result.message}`);
    return result.structured as Output;
  }

  /** The next call makes a new connection: with another environment, or after the engine was killed. */
  disconnect(): void {
    this.#client?.close();
    this.#client = null;
  }

  async createPlan(plan: object): Promise<string> {
    const { plan: id } = await this.call<{ plan: string }>("create_plan", plan);
    return id;
  }

  async plan(id: string): Promise<PlanStatus> {
    const { plans } = await this.call<TaskStatusOutput>("task_status", { plan: id, include: ["why"] });
    const [plan] = plans;
    if (plan === undefined) throw new Error(`no plan ${id}`);
    return plan;
  }

  async task(name: string, include: readonly string[] = ["why", "output", "history"]): Promise<TaskDetail> {
    const { task } = await this.call<TaskStatusOutput>("task_status", { task: name, include });
    if (task === undefined) throw new Error(`no task ${name}`);
    return task;
  }

  /** Waits until the plan is as `test` wants it; fails with what it is instead. */
  async untilPlan(id: string, test: (plan: PlanStatus) => boolean): Promise<PlanStatus> {
    const deadlineMs = Date.now() + RUN_DEADLINE_MS;
    let since: number | undefined;
    for (;;) {
      const answer = await this.call<TaskStatusOutput>("task_status", {
        plan: id,
        ...(since === undefined ? {} : { waitSeconds: 5, since }),
      });
      since = answer.seq;
      const plan = await this.plan(id);
      if (test(plan)) return plan;
      if (Date.now() > deadlineMs) throw new Error(`waited in vain; the plan is ${JSON.stringify(plan, null, 1)}`);
    }
  }

  /** Waits until nothing moves by itself any more. */
  untilSettled(id: string): Promise<PlanStatus> {
    return this.untilPlan(id, (plan) => plan.state !== "running");
  }

  /** Waits for the engine that somebody has started: a pipe answers its host before there is one. */
  async untilEngine(): Promise<number> {
    await until("there is an engine", () => existsSync(join(this.stateFolder, "engine.json")));
    return this.enginePid();
  }

  /** The engine's own words about itself. */
  enginePid(): number {
    const file = join(this.stateFolder, "engine.json");
    return (JSON.parse(readFileSync(file, "utf8")) as { pid: number }).pid;
  }

  log(): string {
    const file = join(this.stateFolder, "engine.log");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** Everything alive that belongs to this world, as `pid command`. */
  processes(): string[] {
    return processesOf(this.folder).map((pid) => `${pid} ${commandLine(pid)}`);
  }

  /** Stops the engine and waits until nothing of this world lives. */
  async stop(): Promise<void> {
    // One whose starter has gone again is there before its engine.json, and nobody else would end it for minutes.
    await this.#untilEngineIsKnown();
    if (existsSync(join(this.stateFolder, "engine.json"))) {
      await this.call("stop_engine", {}).catch(() => undefined);
    }
    this.disconnect();
    await until(
      "nothing of this world lives",
      () => this.processes().length === 0,
      () => this.processes().join("\n"),
    );
  }

  async #untilEngineIsKnown(): Promise<void> {
    const isKnown = (): boolean => existsSync(join(this.stateFolder, "engine.json"));
    const begins = (): boolean => this.processes().some((line) => line.includes("engine-main"));
    await until("an engine that begins tells of itself", () => isKnown() || !begins());
  }

  async leave(): Promise<void> {
    try {
      for (const child of this.#children) child.kill("SIGKILL");
      await this.stop();
    } finally {
      for (const pid of processesOf(this.folder)) kill(pid);
      for (const model of Object.values(this.#models)) await model.close();
      if (process.env["ORCHESTRATOR_TEST_KEEP"] === undefined) {
        rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
      } else console.log(`kept: ${this.folder}`);
    }
  }
}
