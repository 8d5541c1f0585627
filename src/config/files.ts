/**
 * Reads and writes the few files of the config. Reading is bounded and never waits (a config may be a pipe or a device
 * that somebody put there); writing is all or nothing, and one writer at a time.
 */
import { randomBytes } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync, realpathSync } from "node:fs";
import { link, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { AppError, messageOf } from "../errors.ts";

/** No config that a person wrote is larger. */
const MAX_FILE_BYTES = 1_048_576;

export interface TextFile {
  readonly text: string;
  /** Began with a byte order mark, which is not part of `text`. */
  readonly hasMark: boolean;
}

/** The text of a file, or null when there is none. Throws CONFIG_INVALID for what is no readable text file. */
export function readTextFile(path: string, maxBytes: number = MAX_FILE_BYTES): TextFile | null {
  const bytes = readBytes(path, maxBytes);
  if (bytes === null) return null;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw unreadable(path, "is not UTF-8 text; save it as UTF-8", cause);
  }
  const nul = text.indexOf("\0");
  if (nul >= 0) {
    const line = text.slice(0, nul).split("\n").length;
    throw unreadable(path, `has a NUL character in line ${line}; it is not a text file`, undefined);
  }
  const hasMark = text.startsWith("\uFEFF");
  return { text: hasMark ? text.slice(1) : text, hasMark };
}

function readBytes(path: string, maxBytes: number): Uint8Array | null {
  const descriptor = openForReading(path);
  if (descriptor === null) return null;
  try {
    const found = fstatSync(descriptor);
    if (found.isDirectory()) throw unreadable(path, "is a folder; expected a file", undefined);
    if (!found.isFile()) throw unreadable(path, "is not a regular file", undefined);
    if (found.size > maxBytes) throw tooLarge(path, found.size, maxBytes);
    // The file may grow while it is read: never take more than was allowed.
    const buffer = Buffer.alloc(Math.min(maxBytes, found.size + 4096) + 1);
    let length = 0;
    while (length < buffer.length) {
      const bytesRead = readSync(descriptor, buffer, length, buffer.length - length, null);
      if (bytesRead === 0) return buffer.subarray(0, length);
      length += bytesRead;
    }
    throw tooLarge(path, length, maxBytes);
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    throw unreadable(path, `can't be read: ${messageOf(thrown)}`, thrown);
  } finally {
    closeSync(descriptor);
  }
}

function openForReading(path: string): number | null {
  try {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (thrown) {
    if (isErrno(thrown, "ENOENT", "ENOTDIR")) return null;
    throw unreadable(path, `can't be read: ${messageOf(thrown)}`, thrown);
  }
}

/** Replaces the file in one step, or leaves it as it is. Throws STATE_UNUSABLE. `mode` is for a file that is new. */
export async function writeFileAtomically(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: mode === 0o600 ? 0o700 : 0o777 });
    const existing = await stat(path).catch(() => null);
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(text, "utf8");
      await handle.chmod(existing === null ? mode : existing.mode & 0o777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new AppError("STATE_UNUSABLE", `${path} can't be written: ${messageOf(cause)}`, { details: { path }, cause });
  }
}

/** A lock is held for milliseconds; one this old was left by a process that died. */
const STALE_LOCK_MS = 10_000;
const LOCK_WAIT_MS = 30_000;
const LOCK_RETRY_MS = 15;

/**
 * Runs `work` while no other process is in a `withLock` on the same file. Throws STATE_UNUSABLE when the lock can't be
 * had. A file made with O_EXCL and not flock, which Node does not have.
 */
export async function withLock<Result>(lockFile: string, work: () => Promise<Result>): Promise<Result> {
  await acquire(lockFile);
  try {
    return await work();
  } finally {
    await rm(lockFile, { force: true });
  }
}

async function acquire(lockFile: string): Promise<void> {
  const deadline = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      await mkdir(dirname(lockFile), { recursive: true, mode: 0o700 });
      const handle = await open(lockFile, "wx", 0o600);
      await handle.close();
      return;
    } catch (thrown) {
      if (!isErrno(thrown, "EEXIST")) throw lockFailed(lockFile, messageOf(thrown), thrown);
    }
    await takeAwayStaleLock(lockFile);
    if (performance.now() > deadline) {
      throw lockFailed(lockFile, "another process holds it; remove the file if none does", undefined);
    }
    await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS));
  }
}

/** Moved aside first, so that of two that find it stale only one takes it; a fresh one that slipped in is put back. */
async function takeAwayStaleLock(lockFile: string): Promise<void> {
  const found = await stat(lockFile).catch(() => null);
  if (found === null || Date.now() - found.mtimeMs < STALE_LOCK_MS) return;
  const aside = `${lockFile}.${randomBytes(6).toString("hex")}.stale`;
  try {
    await rename(lockFile, aside);
    const moved = await stat(aside);
    if (moved.ino !== found.ino) await link(aside, lockFile).catch(() => undefined);
  } catch {
    return; // Somebody else took it.
  } finally {
    await rm(aside, { force: true });
  }
}

/** Where `path` really lies: links followed, also one that leads nowhere yet; what does not exist is kept as it is. */
export function realPathSoFar(path: string, linksLeft = 40): string {
  try {
    return realpathSync(path);
  } catch (thrown) {
    const parent = dirname(path);
    if (parent === path || linksLeft === 0 || !isErrno(thrown, "ENOENT", "ENOTDIR")) return path;
    const realParent = realPathSoFar(parent, linksLeft - 1);
    const target = linkTarget(join(realParent, basename(path)));
    if (target === null) return join(realParent, basename(path));
    return realPathSoFar(resolve(realParent, target), linksLeft - 1);
  }
}

function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

export function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function isErrno(thrown: unknown, ...codes: readonly string[]): boolean {
  return thrown instanceof Error && "code" in thrown && codes.includes(String(thrown.code));
}

function unreadable(path: string, what: string, cause: unknown): AppError {
  return new AppError("CONFIG_INVALID", `${path} ${what}.`, { details: { file: path }, cause });
}

function tooLarge(path: string, bytes: number, maxBytes: number): AppError {
  return unreadable(path, `has ${bytes} bytes; at most ${maxBytes} are read`, undefined);
}

function lockFailed(lockFile: string, reason: string, cause: unknown): AppError {
  return new AppError("STATE_UNUSABLE", `The lock ${lockFile} can't be had: ${reason}`, {
    details: { path: lockFile },
    cause,
  });
}
