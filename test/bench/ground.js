/**
 * A user's machine in small for one bench: a home, one repository, and the real engine of `dist/` with `command` agents.
 * What the engine costs is read from outside, in /proc and on the disk, so these benches need Linux.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { everyPid, isAlive, statOf } from "../support/processes.js";
import { until } from "../support/until.js";

const dist = new URL("../../dist/", import.meta.url);
const { connectClient } = await import(new URL("engine/client.js", dist).href);

export class Ground {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-bench-")));
  repository = join(this.folder, "repository");
  stateDir = join(this.repository, ".git", "orchestrator");
  home = join(this.folder, "home");
  /** Programs here come first on the engine's PATH. */
  programs = join(this.folder, "bin");
  #client = null;

  constructor(config = {}) {
    for (const folder of [this.home, this.programs, join(this.home, ".orchestrator")]) mkdirSync(folder);
    writeFileSync(join(this.home, ".orchestrator", "config.json"), JSON.stringify(config));
    this.git("init", "--quiet", "--initial-branch=main", this.repository);
    this.git("config", "user.name", "Bench");
    this.git("config", "user.email", "bench@example.test");
    writeFileSync(join(this.repository, "README.md"), "hello\n");
    this.git("add", "README.md");
    this.git("commit", "--quiet", "--message=first");
  }

  get environment() {
    const path = [this.programs, process.env.PATH].join(delimiter);
    return { PATH: path, LANG: "C.UTF-8", HOME: this.home, ORCHESTRATOR_HOME: join(this.home, ".orchestrator") };
  }

  git(...args) {
    const cwd = args[0] === "init" ? this.folder : this.repository;
    return execFileSync("git", args, { cwd, env: this.environment, encoding: "utf8" }).trim();
  }

  program(name, text) {
    const file = join(this.programs, name);
    writeFileSync(file, text);
    chmodSync(file, 0o755);
    return file;
  }

  /** Starts the engine where none runs. */
  async connect() {
    this.#client = await connectClient({
      commonDir: join(this.repository, ".git"),
      place: this.repository,
      clientName: "bench",
      mayStart: true,
      environment: this.environment,
    });
    return this.#client;
  }

  async call(name, input) {
    const client = this.#client ?? (await this.connect());
    const result = await client.call(name, input);
    if (!result.ok) throw new Error(`${name} failed: ${result.code}: ${result.message}\n${this.log().slice(-2000)}`);
    return result.structured;
  }

  /** Tells each event from now on. */
  async listen(onEvent) {
    const client = this.#client ?? (await this.connect());
    const subscription = client.subscribe(null, onEvent);
    // It ends with the engine.
    subscription.ended.catch(() => undefined);
  }

  /** Runs a plan of `command` tasks to its end. Throws unless all succeeded. */
  async run(name, tasks, more = {}) {
    await this.call("create_plan", { name, tasks: tasks.map((task) => ({ agent: "command", ...task })), ...more });
    await this.settled(name);
  }

  async settled(name) {
    for (let since = 0; ;) {
      const { seq, plans } = await this.call("task_status", { plan: name, since, waitSeconds: 20 });
      since = seq;
      const [{ state, counts }] = plans;
      if (state === "succeeded") return;
      if (state !== "running")
        throw new Error(`${name} is ${state}: ${JSON.stringify(counts)}\n${this.log().slice(-2000)}`);
    }
  }

  enginePid() {
    return JSON.parse(readFileSync(join(this.stateDir, "engine.json"), "utf8")).pid;
  }

  log() {
    return readFileSync(join(this.stateDir, "engine.log"), "utf8");
  }

  /** Does nothing where no engine runs. */
  async stop() {
    if (!existsSync(join(this.stateDir, "engine.json"))) return;
    const pid = this.enginePid();
    await this.call("stop_engine", {}).catch(() => undefined);
    this.#client?.close();
    this.#client = null;
    await until("the engine has ended", () => !isAlive(pid));
  }

  kill() {
    process.kill(this.enginePid(), "SIGKILL");
  }

  async leave() {
    try {
      await this.stop();
    } finally {
      rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    }
  }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resident memory; null when there is no such process. Anonymous memory apart: mapped files are not the process's own. */
export function memoryOf(pid) {
  const text = readOrEmpty(`/proc/${pid}/status`);
  const kibibytes = (key) => Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
  return { residentBytes: kibibytes("VmRSS") * 1024, peakBytes: kibibytes("VmHWM") * 1024 };
}

/** What each open descriptor is. */
export function descriptorsOf(pid) {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Processes below `root`, at any depth, each with its state (`Z` is a zombie). */
export function processesBelow(root) {
  const all = everyPid().map((pid) => ({ pid, ...statOf(pid) }));
  const below = new Set([root]);
  for (let found = -1; found !== below.size;) {
    found = below.size;
    for (const { pid, parent } of all) if (below.has(parent)) below.add(pid);
  }
  return all.filter(({ pid }) => below.has(pid) && pid !== root);
}

/** Blocks on the disk of all files below a folder, as `du` counts them. */
export function diskUse(folder) {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    bytes += (lstatSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.blocks ?? 0) * 512;
  }
  return bytes;
}

function readOrEmpty(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

export const MEBIBYTE = 1024 * 1024;

export function mebibytes(bytes) {
  return `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
}

/** Sets the peak that `memoryOf` tells back to what is resident now. proc(5), clear_refs. */
export function resetPeak(pid) {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}
