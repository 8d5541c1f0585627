/**
 * The engine's side of the guard: starts it, keeps it told, starts another when it dies, sends it home at the end.
 *
 * Always true: the guard is no child of any attempt and in no group of ours, so neither Ctrl-C nor a group kill takes
 * both at once; it learns of an attempt before that is started. It holds the reading end of a pipe whose only other
 * end is ours, so our death, of whatever kind, is its call.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

import { systemClock, type Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { encodeGuardMessage } from "./guard-protocol.ts";
import { ENGINE_MARK, GUARD_MARK } from "./process-table.ts";
import type { ProcessLogEntry } from "./process-types.ts";
import type { KnownAttempt } from "./strays.ts";

export interface GuardOptions {
  readonly engineId: string;
  /** The compiled program. Default: `guard-main.js` beside this file, which exists in `dist`. */
  readonly guardFile?: string;
  /** Where the guard adds a line about what it ended, once the engine is gone. Default: nowhere. */
  readonly logFile?: string;
  readonly log?: (entry: ProcessLogEntry) => void;
  readonly clock?: Clock;
}

/** A guard that dies sooner than this is started again only after as long: its program may be missing. */
const RESTART_PAUSE_MS = 1000;

/** After its goodbye; then it is killed. */
const LEAVE_TIMEOUT_MS = 2000;

/** Not yet read by the guard. Above this the list is sent again, once, when it has read. */
const LONGEST_BACKLOG_BYTES = 256 * 1024;

export class Guard {
  readonly #options: GuardOptions;
  readonly #clock: Clock;
  #child: ChildProcess | null = null;
  #attempts: readonly KnownAttempt[] = [];
  #lastSent = "";
  #isClosed = false;
  #isOwing = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Null while none runs. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Starts it. Does not wait: what it is told, and our end, wait for it in the pipe. */
  start(): void {
    if (this.#isClosed || this.#child !== null) return;
    const { engineId, guardFile, logFile } = this.#options;
    const file = guardFile ?? fileURLToPath(new URL("./guard-main.js", import.meta.url));
    const startedAtMs = this.#clock.monotonicMs();
    const child = spawn(process.execPath, [file, ...(logFile === undefined ? [] : [logFile])], {
      // Not the repository: nothing keeps a folder from being removed or unmounted.
      cwd: "/",
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", [ENGINE_MARK]: engineId, [GUARD_MARK]: "1" },
    });
    this.#child = child;
    const onEnd = (why: string): void => {
      if (this.#child !== child) return;
      this.#child = null;
      if (this.#isClosed) return;
      this.#tell("error", `the guard ended (${why}); another is started`);
      const hasLived = this.#clock.monotonicMs() - startedAtMs > RESTART_PAUSE_MS;
      this.#clock.schedule(hasLived ? 0 : RESTART_PAUSE_MS, () => this.start());
    };
    child.once("error", (error) => onEnd(error.message));
    child.once("exit", (code, signal) => onEnd(signal ?? `code ${code}`));
    child.stdin.on("error", () => {});
    child.stdin.on("drain", () => this.#payUp());
    // It must not keep alive an engine that has nothing left to do.
    child.unref();
    if ("unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref();
    this.#tell("spawn", "the guard was started");
    this.#lastSent = "";
    this.update(this.#attempts);
  }

  /** Tells it all living attempts. Cheap when nothing changed. */
  update(attempts: readonly KnownAttempt[]): void {
    this.#attempts = attempts;
    const line = encodeGuardMessage({ type: "attempts", attempts });
    const stdin = this.#child?.stdin;
    if (stdin === undefined || stdin === null || line === this.#lastSent || this.#isClosed) return;
    // A guard that is stopped reads nothing; it must not cost us memory.
    this.#isOwing = stdin.writableLength > LONGEST_BACKLOG_BYTES;
    if (this.#isOwing) return;
    this.#lastSent = line;
    stdin.write(line);
  }

  /** Sends it home and waits until it is gone. Call when nothing lives any more. Never throws; may be called twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const child = this.#child;
    if (child === null || child.pid === undefined) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.ref();
    child.stdin?.end(encodeGuardMessage({ type: "goodbye" }));
    const cancel = this.#clock.schedule(LEAVE_TIMEOUT_MS, () => {
      try {
        child.kill("SIGKILL");
      } catch (error) {
        this.#tell("error", `the guard can't be ended: ${messageOf(error)}`);
      }
    });
    await gone;
    cancel();
    this.#child = null;
  }

  #payUp(): void {
    if (this.#isOwing) this.update(this.#attempts);
  }

  #tell(event: "spawn" | "error", message: string): void {
    try {
      const pid = this.pid;
      this.#options.log?.({ event, atMs: this.#clock.nowMs(), ...(pid === null ? {} : { pid }), message });
    } catch {
      // A log that fails must not leave attempts without a guard.
    }
  }
}
