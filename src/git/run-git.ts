/**
 * Runs one git command, through simple-git's `raw`.
 *
 * Every command gets an instance of its own. What simple-git 4.0 does by default and must not happen here:
 * - exit code ≠ 0 with nothing on stderr, and death by a signal, count as success: so we look at the code ourselves;
 * - it answers 50 ms after `exit` though output may still be in the pipe: so reading commands wait for `close`;
 * - stdin stays an open pipe, on which a hook that reads would hang: so an (empty) input is always given;
 * - it makes git refuse abbreviated options, also in the user's own hooks: so that is switched off;
 * - it waits 50 ms more for a command that printed nothing, which most that change something do: so an empty piece of
 *   output is told when the output has ended;
 * - output is decoded as UTF-8, which destroys other file names: so we take the bytes.
 */
import { existsSync } from "node:fs";
import { simpleGit, type SimpleGitOptions } from "simple-git";
import { AppError, messageOf } from "../errors.ts";
import { gitEnvironment, SET_BY_US, type GitVariables } from "./git-environment.ts";

/** Where a command runs. With `gitDir`, git looks for nothing: it can't end up in another repository further up. */
export interface GitPlace {
  readonly folder: string;
  readonly gitDir?: string;
}

export interface GitOptions {
  /** Bytes or text for stdin; none: stdin is empty. */
  readonly input?: string | Buffer;
  /** `true` for what changes files or refs. Reading commands never take optional locks. */
  readonly mutates?: boolean;
  /** The user's hooks run, and git gets no settings of ours about hooks. Only the fast-forward of a checkout asks for it. */
  readonly usersHooks?: boolean;
  /** Further `key=value` settings for this command. */
  readonly settings?: readonly string[];
  readonly variables?: GitVariables;
  /** Output beyond this many bytes is cut and git is stopped. */
  readonly maxOutputBytes?: number;
  /** After this the command is interrupted. */
  readonly timeoutMs?: number;
  /** Exit codes, apart from 0, that `git` answers instead of throwing. */
  readonly alsoOk?: readonly number[];
}

export interface GitResult {
  /** null: ended by a signal. */
  readonly exitCode: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly isTruncated: boolean;
}

/** Large checkouts on slow disks, and clean filters that fetch (LFS), take minutes and print nothing. */
const MUTATING_TIMEOUT_MS = 900_000;
const READING_TIMEOUT_MS = 300_000;

/** A hook may leave a process behind that holds our pipes; its output no longer matters to us. */
const WAIT_AFTER_EXIT_MS = 2000;

/** Enough of git's words to act on. */
const MAX_WORDS = 4000;

/** Starting no daemon, packing nothing: all that the user's hooks may inherit (git hands `-c` on to them). */
const SETTINGS: readonly string[] = ["core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false"];

/** Nothing of the user's runs, nothing is signed (a signing program may ask for a password). */
const ENGINE_SETTINGS: readonly string[] = [
  "core.hooksPath=/dev/null",
  "commit.gpgsign=false",
  "tag.gpgsign=false",
  "advice.addEmbeddedRepo=false",
  "core.quotePath=false",
  "color.ui=false",
];

/** How git ended, whatever the exit code. Throws GIT_FAILED when it could not run at all or took too long. */
export async function runGit(place: GitPlace, args: readonly string[], options: GitOptions = {}): Promise<GitResult> {
  const deadline = new AbortController();
  const timeoutMs = options.timeoutMs ?? (options.mutates === true ? MUTATING_TIMEOUT_MS : READING_TIMEOUT_MS);
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  const ending: { result: Omit<GitResult, "isTruncated"> | null; isTruncated: boolean } = {
    result: null,
    isTruncated: false,
  };
  const client = clientFor(place, options, deadline.signal, (result) => (ending.result = result));
  client.outputHandler((_command, stdout) => {
    stdout.once("end", () => stdout.emit("data", Buffer.alloc(0)));
    const maxOutputBytes = options.maxOutputBytes;
    if (maxOutputBytes === undefined) return;
    let bytes = 0;
    stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxOutputBytes || ending.isTruncated) return;
      ending.isTruncated = true;
      // git gets SIGPIPE at its next write; what was read so far stays.
      if ("destroy" in stdout && typeof stdout.destroy === "function") stdout.destroy();
    });
  });
  try {
    await client.raw([...args]);
  } catch (thrown) {
    if (ending.result === null) throw couldNotRun(place, args, messageOf(thrown), thrown);
  } finally {
    clearTimeout(timer);
  }
  const result = ending.result;
  if (deadline.signal.aborted) throw couldNotRun(place, args, `it took longer than ${timeoutMs / 1000} s`);
  if (result === null) throw couldNotRun(place, args, "it left no result");
  if (result.exitCode !== null && result.exitCode < 0) throw notStarted(place, args, result.stderr);
  const limit = options.maxOutputBytes ?? Infinity;
  const stdout = result.stdout.length > limit ? result.stdout.subarray(0, limit) : result.stdout;
  return { ...result, stdout, isTruncated: ending.isTruncated };
}

/** Stdout as text, without the last line's end. Throws GIT_FAILED on an exit code that is neither 0 nor in `alsoOk`. */
export async function git(place: GitPlace, args: readonly string[], options: GitOptions = {}): Promise<string> {
  const result = await runGit(place, args, options);
  return result.exitCode === 0 || (result.exitCode !== null && options.alsoOk?.includes(result.exitCode) === true)
    ? result.stdout.toString("utf8").replace(/\n$/, "")
    : throwFailure(args, result);
}

/** As `git`, for `-z` output: the fields as bytes, without the empty one after the last NUL. */
export async function gitFields(place: GitPlace, args: readonly string[], options: GitOptions = {}): Promise<Buffer[]> {
  const result = await runGit(place, args, options);
  if (result.exitCode !== 0) throwFailure(args, result);
  return splitAtNul(result.stdout);
}

export function splitAtNul(bytes: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(0, start); end !== -1; end = bytes.indexOf(0, start)) {
    fields.push(bytes.subarray(start, end));
    start = end + 1;
  }
  if (start < bytes.length) fields.push(bytes.subarray(start));
  return fields;
}

/** The GIT_FAILED for a result that nobody expected. */
export function throwFailure(args: readonly string[], result: GitResult): never {
  const words = wordsOf(result);
  throw new AppError("GIT_FAILED", `git ${args[0] ?? ""} failed: ${words}`, {
    details: { args: [...args], exitCode: result.exitCode, gitWords: words },
  });
}

/** What git said, cut to a size that fits an error. */
export function wordsOf(result: Pick<GitResult, "stdout" | "stderr" | "exitCode">): string {
  const words = (result.stderr.trim() || result.stdout.toString("utf8").trim()).slice(0, MAX_WORDS);
  return words || `exit code ${result.exitCode ?? "none (ended by a signal)"}`;
}

function clientFor(
  place: GitPlace,
  options: GitOptions,
  abort: AbortSignal,
  onEnd: (result: Omit<GitResult, "isTruncated">) => void,
): ReturnType<typeof simpleGit> {
  if (!existsSync(place.folder)) {
    throw new AppError("GIT_FAILED", `git can't run in ${place.folder}: no such folder.`, {
      details: { folder: place.folder },
    });
  }
  const engineSettings = options.usersHooks === true ? [] : ENGINE_SETTINGS;
  const settings: Partial<SimpleGitOptions> = {
    baseDir: place.folder,
    abort,
    config: [...SETTINGS, ...engineSettings, ...(options.settings ?? [])],
    allowEnvironment: SET_BY_US,
    unsafe: { allowUnsafeHooksPath: true, allowUnsafeFsMonitor: true, allowAbbreviatedOptions: true },
    completion: { onClose: true, onExit: options.usersHooks === true ? WAIT_AFTER_EXIT_MS : false },
    input: () => Buffer.from(options.input ?? ""),
    errors: (rejection, { exitCode, stdOut, stdErr }) => {
      const stderr = Buffer.concat(stdErr).toString("utf8");
      onEnd({ exitCode, stdout: Buffer.concat(stdOut), stderr });
      return Buffer.isBuffer(rejection) ? undefined : rejection;
    },
  };
  const variables: GitVariables = {
    ...(options.mutates === true ? {} : { GIT_OPTIONAL_LOCKS: "0" }),
    ...(place.gitDir === undefined ? {} : { GIT_DIR: place.gitDir }),
    ...(place.gitDir === undefined || place.gitDir === place.folder ? {} : { GIT_WORK_TREE: place.folder }),
    ...options.variables,
  };
  return simpleGit(settings).env(gitEnvironment(process.env, variables));
}

function couldNotRun(place: GitPlace, args: readonly string[], why: string, cause?: unknown): AppError {
  return new AppError("GIT_FAILED", `git ${args[0] ?? ""} in ${place.folder}: ${why}.`, {
    details: { args: [...args], folder: place.folder },
    cause,
  });
}

function notStarted(place: GitPlace, args: readonly string[], words: string): AppError {
  const isMissing = words.includes("ENOENT") && existsSync(place.folder);
  if (!isMissing) return couldNotRun(place, args, words.split("\n", 1)[0] ?? "");
  return new AppError("NOT_SUPPORTED", "git was not found on PATH: install git 2.38 or newer.");
}
