/**
 * Who is the engine: whoever holds `engine.lock`, a SQLite file locked exclusively. The kernel drops the lock when the
 * holder dies, however it dies, so a file left behind never is an engine. The file stays empty and nothing else may open
 * it: POSIX locks belong to the process, and closing any other descriptor of the file in the holder would drop them.
 */
import { closeSync, openSync, statSync, truncateSync } from "node:fs";
import Database from "better-sqlite3";
import { AppError, messageOf } from "../errors.ts";

export interface EngineLock {
  /** False once the file is gone or another one stands in its place: somebody else could be the engine by now. */
  isInPlace(): boolean;
  /** May be called twice. */
  release(): void;
}

/**
 * Null when another process holds it, or removed the file meanwhile: look again. Never waits. Throws
 * NATIVE_MODULE_MISSING or STATE_UNUSABLE.
 */
export function tryEngineLock(lockFile: string): EngineLock | null {
  // An engine that leaves nothing behind removes the file while it holds it. Whoever opened it just before would get a
  // lock on a file that nobody else sees; so the file is there first, and must still be the same one afterwards.
  const inode = ensureFile(lockFile);
  if (inode === null) return null;
  let database = open(lockFile);
  try {
    let taken = take(database);
    if (taken === "not-a-database") {
      // Left by something else. Emptied, not removed: with a removed file two engines could each hold their own.
      // The holder's file is empty already, so this can't hurt one that came first.
      database.close();
      truncateSync(lockFile, 0);
      database = open(lockFile);
      taken = take(database);
    }
    if (taken !== "taken") {
      database.close();
      return null;
    }
  } catch (thrown) {
    database.close();
    throw unusable(lockFile, thrown);
  }
  const held = database;
  const isInPlace = (): boolean => inodeOf(lockFile) === inode;
  if (!isInPlace()) {
    held.close();
    return null;
  }
  return {
    isInPlace,
    release: () => {
      if (held.open) held.close();
    },
  };
}

/** Null when the folder, or again the file, is gone. Opens only a file that is new: see above. */
function ensureFile(lockFile: string): number | null {
  try {
    closeSync(openSync(lockFile, "wx", 0o600));
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : null;
    if (code === "ENOENT") return null;
    if (code !== "EEXIST") throw unusable(lockFile, thrown);
  }
  return inodeOf(lockFile);
}

function inodeOf(lockFile: string): number | null {
  return statSync(lockFile, { throwIfNoEntry: false })?.ino ?? null;
}

function open(lockFile: string): Database.Database {
  try {
    return new Database(lockFile, { timeout: 0 });
  } catch (thrown) {
    if (isSqliteError(thrown)) throw unusable(lockFile, thrown);
    throw new AppError(
      "NATIVE_MODULE_MISSING",
      `better-sqlite3 can't be loaded with Node ${process.version} (${firstLine(messageOf(thrown))}). ` +
        "Run `npm rebuild better-sqlite3` where orchestrator-mcp is installed, or install it again with this Node.",
      { cause: thrown },
    );
  }
}

function take(database: Database.Database): "taken" | "held" | "not-a-database" {
  try {
    database.pragma("journal_mode = MEMORY");
    database.pragma("locking_mode = EXCLUSIVE");
    database.exec("BEGIN EXCLUSIVE");
    return "taken";
  } catch (thrown) {
    if (!isSqliteError(thrown)) throw thrown;
    if (thrown.code.startsWith("SQLITE_BUSY") || thrown.code.startsWith("SQLITE_LOCKED")) return "held";
    if (thrown.code === "SQLITE_NOTADB" || thrown.code.startsWith("SQLITE_CORRUPT")) return "not-a-database";
    throw thrown;
  }
}

function isSqliteError(thrown: unknown): thrown is Error & { readonly code: string } {
  return thrown instanceof Database.SqliteError;
}

function unusable(lockFile: string, thrown: unknown): AppError {
  return new AppError(
    "STATE_UNUSABLE",
    `${lockFile} can't be locked: ${messageOf(thrown)}. Is the folder writable and on a local disk?`,
    { details: { path: lockFile }, cause: thrown },
  );
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? text;
}
