/**
 * Starts one child: own session and group, no shell, exactly the environment given, output over real pipes.
 *
 * execa starts it; how it ends is not left to execa, which waits for pipes that grandchildren hold (3.1 s for a 0.3 s
 * timeout were seen). Node's own "pipe" is a socket on Linux, and opening `/dev/stderr` or `/dev/stdout` fails on a
 * socket ("No such device or address"), which makes ordinary scripts (`echo … > /dev/stderr`, `tee /dev/stderr`) fail
 * under us only. Node can't make pipes, so two FIFOs are made, opened and at once removed.
 */
import { spawnSync } from "node:child_process";
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { Readable, Writable } from "node:stream";

import { execa } from "execa";

import { messageOf } from "../errors.ts";

export interface SpawnRequest {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly hasStdin: boolean;
}

export interface SpawnedChild {
  readonly pid: number;
  /** For its `exit` event. */
  readonly child: {
    once(event: "exit", listener: (exitCode: number | null, signal: string | null) => void): unknown;
  };
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

export type SpawnOutcome =
  | { readonly isStarted: true; readonly child: SpawnedChild }
  | { readonly isStarted: false; readonly why: Promise<string> };

/** Starts it, or says in words why that failed. Never throws. */
export function spawnChild(request: SpawnRequest): SpawnOutcome {
  const pipes = makePipes();
  try {
    const child = execa(request.file, [...request.args], {
      cwd: request.cwd,
      env: { ...request.env },
      extendEnv: false,
      detached: true,
      cleanup: false,
      buffer: false,
      reject: false,
      stdin: request.hasStdin ? "pipe" : "ignore",
      stdout: pipes === null ? "pipe" : descriptor(pipes.stdout.writeFd),
      stderr: pipes === null ? "pipe" : descriptor(pipes.stderr.writeFd),
    });
    const { pid } = child;
    const stdout = pipes?.stdout.read() ?? child.stdout;
    const stderr = pipes?.stderr.read() ?? child.stderr;
    if (pid === undefined || stdout === null || stderr === null) {
      stdout?.destroy();
      stderr?.destroy();
      return { isStarted: false, why: whyOf(child, request) };
    }
    return { isStarted: true, child: { pid, child, stdin: child.stdin, stdout, stderr } };
  } catch (error) {
    // Refused before anything was started: a NUL in an argument, no file descriptors left.
    pipes?.stdout.read().destroy();
    pipes?.stderr.read().destroy();
    return { isStarted: false, why: Promise.resolve(explain(codeOf(error), messageOf(error), request)) };
  } finally {
    pipes?.stdout.closeWriteEnd();
    pipes?.stderr.closeWriteEnd();
  }
}

/** execa hands on any descriptor, but its types only know those up to 9. */
function descriptor(fd: number): 3 {
  return fd as 3;
}

async function whyOf(child: PromiseLike<{ readonly cause?: unknown }>, request: SpawnRequest): Promise<string> {
  const { cause } = await child;
  return explain(codeOf(cause), messageOf(cause), request);
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}

/** What was found and the next step; the system's own code stays in front for those who look for it. */
function explain(code: string | null, message: string, { file, args, cwd, env }: SpawnRequest): string {
  const cwdProblem = problemOfFolder(cwd);
  if (cwdProblem !== null) return `${code ?? "ENOENT"}: the working folder ${cwd} ${cwdProblem}`;
  switch (code) {
    case "ENOENT":
      if (isAbsolute(file) && existsSync(file)) {
        return `ENOENT: ${file} exists, but the interpreter or loader that it names does not; look at its first line`;
      }
      return isAbsolute(file) || file.includes("/")
        ? `ENOENT: there is no program ${file}`
        : `ENOENT: no program "${file}" on PATH (${env["PATH"] ?? "which is not set"}); install it or give its path`;
    case "EACCES":
      return `EACCES: ${file} may not be executed; check that it is a program and not a folder, and its mode (chmod +x)`;
    case "E2BIG": {
      const bytes = [...args, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)].reduce(
        (sum, text) => sum + Buffer.byteLength(text) + 1,
        0,
      );
      return `E2BIG: arguments and environment of ${file} (${bytes} bytes) are more than the system takes; send long text over stdin`;
    }
    default:
      return message.includes(code ?? "") ? message : `${code}: ${message}`;
  }
}

function problemOfFolder(path: string): string | null {
  try {
    return statSync(path).isDirectory() ? null : "is not a folder";
  } catch (error) {
    return codeOf(error) === "ENOENT" ? "does not exist" : `can't be entered (${codeOf(error)})`;
  }
}

interface Pipe {
  readonly writeFd: number;
  /** The reading end as a stream, made once. */
  read(): Readable;
  closeWriteEnd(): void;
}

/** Two pipes, or null where FIFOs can't be made (then Node's sockets serve). macOS opens /dev/stderr by itself. */
function makePipes(): { readonly stdout: Pipe; readonly stderr: Pipe } | null {
  if (process.platform !== "linux") return null;
  let folder: string | null = null;
  const opened: Pipe[] = [];
  try {
    folder = makePipeFolder();
    const [out, error] = [join(folder, "out"), join(folder, "err")];
    if (spawnSync("mkfifo", ["-m", "600", out, error], { stdio: "ignore" }).status !== 0) return null;
    const stdout = openPipe(out);
    opened.push(stdout);
    const stderr = openPipe(error);
    return { stdout, stderr };
  } catch {
    for (const pipe of opened) {
      pipe.read().destroy();
      pipe.closeWriteEnd();
    }
    return null;
  } finally {
    if (folder !== null) rmSync(folder, { recursive: true, force: true });
  }
}

/** A folder for temporary files that was one of somebody's who has gone since is gone with him. */
function makePipeFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), "orchestrator-pipe-"));
  } catch (thrown) {
    if (tmpdir() === "/tmp") throw thrown;
    return mkdtempSync("/tmp/orchestrator-pipe-");
  }
}

function openPipe(path: string): Pipe {
  // The reading end first and without waiting for a writer; the writing end then finds a reader.
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let writeFd: number;
  try {
    writeFd = openSync(path, constants.O_WRONLY);
  } catch (error) {
    closeSync(readFd);
    throw error;
  }
  let stream: Socket | null = null;
  return {
    writeFd,
    read: () => (stream ??= new Socket({ fd: readFd, readable: true, writable: false })),
    closeWriteEnd: () => closeSync(writeFd),
  };
}
