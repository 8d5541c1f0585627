/**
 * Who is the engine: whoever holds `engine.lock`, a SQLite file locked exclusively. The kernel drops the lock when the
 * holder dies, however it dies, so a file left behind never is an engine. The file stays empty and nothing else may open
 * it: POSIX locks belong to the process, and closing any other descriptor of the file in the holder would drop them.
 */
import { statSync, truncateSync } from "node:fs";
import Database from "better-sqlite3";
import { AppError, messageOf } from "../errors.ts";

export interface EngineLock {
  /** False once the file is gone or another one stands in its place: somebody else could be the engine by now. */
  isInPlace(): boolean;
  /** May be called twice. */
  release(): void;
}

/** Null when another process holds it. Never waits. Throws NATIVE_MODULE_MISSING or STATE_UNUSABLE. */
export function tryEngineLock(lockFile: string): EngineLock | null {
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
  const inode = statSync(lockFile).ino;
  return {
    isInPlace: () => statSync(lockFile, { throwIfNoEntry: false })?.ino === inode,
    release: () => {
      if (held.open) held.close();
    },
  };
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
