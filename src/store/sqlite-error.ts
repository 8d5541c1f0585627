/** What SQLite, or its missing native part, says, in our own words: what happened, where, and what to do. */
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import Database from "better-sqlite3";
import { AppError, messageOf } from "../errors.ts";

/**
 * The AppError for anything that a call into better-sqlite3 threw; an AppError stays as it is. `file` is the database.
 * STATE_UNUSABLE: damaged, disk full, not writable, held by another program. NATIVE_MODULE_MISSING: no compiled part.
 * ENGINE_STOPPING: the database was closed. INTERNAL: a constraint or statement is broken, which is a bug of ours.
 */
export function storeError(thrown: unknown, file: string): AppError {
  if (thrown instanceof AppError) return thrown;
  const native = nativeModuleError(thrown);
  if (native !== null) return native;
  if (!(thrown instanceof Database.SqliteError)) {
    if (thrown instanceof TypeError && /connection is not open/.test(thrown.message)) {
      return new AppError("ENGINE_STOPPING", `${file} is closed already: the engine is stopping`, { cause: thrown });
    }
    return new AppError("INTERNAL", `${file}: ${messageOf(thrown)}`, { cause: thrown, details: { file } });
  }
  const { code, message } = thrown;
  const options = { cause: thrown, details: { file, sqliteCode: code } };
  if (isDamage(thrown)) {
    return new AppError(
      "STATE_UNUSABLE",
      `${file} is damaged (${message}). Stop the engine with \`orchestrator stop\` and start it again: the file is then checked and, if it is damaged, kept aside`,
      options,
    );
  }
  switch (code.split("_").slice(0, 2).join("_")) {
    case "SQLITE_FULL":
      return new AppError(
        "STATE_UNUSABLE",
        `the disk is full: ${file} can't grow. Free some space in ${dirname(file)} and start again; nothing that was stored is lost`,
        options,
      );
    case "SQLITE_READONLY":
    case "SQLITE_CANTOPEN":
    case "SQLITE_PERM":
    case "SQLITE_AUTH":
      return new AppError(
        "STATE_UNUSABLE",
        `${file} can't be written (${message}). Make ${dirname(file)} and the files in it writable for this user, and see that the file system is not mounted read-only`,
        options,
      );
    case "SQLITE_BUSY":
    case "SQLITE_LOCKED":
    case "SQLITE_PROTOCOL":
      return new AppError(
        "STATE_UNUSABLE",
        `${file} is held by another program (${message}). Only the engine may use it: close whatever else has it open`,
        options,
      );
    case "SQLITE_IOERR":
    case "SQLITE_NOLFS":
      return new AppError(
        "STATE_UNUSABLE",
        `${file} can't be read or written (${message}, ${code}). See whether the disk is full, failing or gone, then start again`,
        options,
      );
    default:
      return new AppError("INTERNAL", `${file} refused a statement: ${message} (${code})`, options);
  }
}

/** True when SQLite says that the file's content is broken (not: that it can't be reached). */
export function isDamage(thrown: unknown): boolean {
  return thrown instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB)/.test(thrown.code);
}

/**
 * NATIVE_MODULE_MISSING when `thrown` says that better-sqlite3's compiled part is missing or made for another Node;
 * else null. The part is loaded by the first `new Database`, not by the import.
 */
function nativeModuleError(thrown: unknown): AppError | null {
  if (!(thrown instanceof Error)) return null;
  const isMissing = thrown.message.startsWith("Could not locate the bindings file");
  const isWrong = "code" in thrown && thrown.code === "ERR_DLOPEN_FAILED";
  if (!isMissing && !isWrong) return null;
  const folder = packageFolder();
  const firstLine = thrown.message.split("\n", 1)[0] ?? "";
  return new AppError(
    "NATIVE_MODULE_MISSING",
    `better-sqlite3 has no compiled part that fits Node ${process.version} on ${process.platform} ${process.arch} (${firstLine}). ` +
      `Run \`npm rebuild better-sqlite3\`${folder === null ? "" : ` in ${folder}`}. Where no ready-made part can be fetched it is compiled, which needs python3, make and g++. ` +
      `Where npm is told not to run install scripts, allow them for better-sqlite3`,
    { cause: thrown, details: { nodeVersion: process.version, abi: process.versions.modules, folder } },
  );
}

/** The folder in which `npm rebuild better-sqlite3` finds it; null when it can't be told. */
function packageFolder(): string | null {
  try {
    return resolve(dirname(createRequire(import.meta.url).resolve("better-sqlite3/package.json")), "..", "..");
  } catch {
    return null;
  }
}
