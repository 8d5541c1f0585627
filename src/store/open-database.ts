/**
 * Opens the file: finds out whether it can be used, keeps a damaged one aside, sets what SQLite must promise, brings the
 * schema up to date. Cheap however big the file is; only a small one that was left by a kill is checked whole.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, isAbsolute } from "node:path";
import Database from "better-sqlite3";
import type { Clock } from "../clock.ts";
import { AppError, messageOf } from "../errors.ts";
import { missingFromLog } from "./log-check.ts";
import { APPLICATION_ID, migrate, MIGRATIONS, schemaVersion } from "./migrations.ts";
import { isDamage, storeError } from "./sqlite-error.ts";

/** How long a statement waits for somebody who holds the file (a person's `sqlite3`, a backup) before it fails. */
const BUSY_TIMEOUT_MS = 5000;

/** Measured: `quick_check` reads 80 MB in 50 ms once it is cached. A bigger file is checked only when it is suspect. */
const MAX_CHECKED_BYTES = 64 * 1024 * 1024;

/** A log that grew beyond this in a busy moment is cut back to it at the next checkpoint. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;

/**
 * The open connection, schema up to date. Throws STATE_UNUSABLE (damaged: kept aside as `<file>.damaged-<time>`, never
 * deleted; from a newer version; not ours; not writable; disk full) or NATIVE_MODULE_MISSING.
 */
export function openDatabase(file: string, clock: Clock): Database.Database {
  if (!isAbsolute(file)) throw new AppError("INTERNAL", `the state file's path must be absolute, found ${file}`);
  const found = lookAt(file);
  if (found.isLogWithoutFile) throw keepAside(file, clock, `it is empty or gone, but its log ${file}-wal is not`);
  const missing = missingFromLog(file);
  if (missing !== null) throw keepAside(file, clock, missing);
  ensureWritable(file);

  let database: Database.Database | undefined;
  try {
    database = new Database(file, { timeout: BUSY_TIMEOUT_MS });
    checkOwner(database, file);
    const wasKilled = found.logBytes > 0;
    if (found.isSuspect) checkWhole(database, "integrity_check");
    else if (wasKilled && found.fileBytes <= MAX_CHECKED_BYTES) checkWhole(database, "quick_check");
    configure(database, file);
    migrate(database);
    rmSync(suspectMark(file), { force: true });
    return database;
  } catch (thrown) {
    database?.close();
    if (isDamage(thrown)) throw keepAside(file, clock, messageOf(thrown), thrown);
    throw storeError(thrown, file);
  }
}

/**
 * Call when a statement met damage: the next start then checks the whole file, however big it is. Never throws.
 */
export function markSuspect(file: string): void {
  try {
    writeFileSync(suspectMark(file), "");
  } catch {
    // The disk that damaged the file may refuse this one too. The error that brought us here is told anyway.
  }
}

function suspectMark(file: string): string {
  return `${file}.suspect`;
}

interface Found {
  readonly fileBytes: number;
  /** SQLite removes the log (`-wal`) when the last connection closes: one that is there was left by a kill. */
  readonly logBytes: number;
  readonly isSuspect: boolean;
  /** SQLite would delete such a log without a word. It can't come about by a kill: the file gets its first page first. */
  readonly isLogWithoutFile: boolean;
}

// Only stat, never open: closing a descriptor of the file would drop the locks that this process has on it (POSIX).
function lookAt(file: string): Found {
  try {
    const fileBytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    const logBytes = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
    return {
      fileBytes,
      logBytes,
      isSuspect: existsSync(suspectMark(file)),
      isLogWithoutFile: fileBytes === 0 && logBytes > 0,
    };
  } catch (thrown) {
    throw cannotUse(file, thrown);
  }
}

/**
 * Makes the file where there is none. Prompts and agents' words are nobody else's to read; SQLite gives its log the mode
 * of the file. One that can't be written SQLite would open all the same, for reading, and fail at the first write.
 */
function ensureWritable(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    if (!existsSync(file)) closeSync(openSync(file, "a", 0o600));
    for (const path of [dirname(file), file]) accessSync(path, constants.R_OK | constants.W_OK);
  } catch (thrown) {
    throw cannotUse(file, thrown);
  }
}

function cannotUse(file: string, thrown: unknown): AppError {
  const isFull = thrown instanceof Error && "code" in thrown && (thrown.code === "ENOSPC" || thrown.code === "EDQUOT");
  return new AppError(
    "STATE_UNUSABLE",
    isFull
      ? `the disk is full: ${file} can't be made. Free some space in ${dirname(file)} and start again`
      : `${file} can't be used (${messageOf(thrown)}). Make ${dirname(file)} a folder that this user can write to`,
    { cause: thrown, details: { file } },
  );
}

/** Reads the first page, so that a file cut short or of another kind is noticed, before anything is changed. */
function checkOwner(database: Database.Database, file: string): void {
  const version = schemaVersion(database);
  const tables = Number(database.prepare("SELECT count(*) FROM sqlite_schema").pluck().get());
  const owner = Number(database.pragma("application_id", { simple: true }));
  if (version > MIGRATIONS.length && owner === APPLICATION_ID) {
    throw new AppError(
      "STATE_UNUSABLE",
      `${file} was written by a newer orchestrator-mcp (schema ${version}, this one knows up to ${MIGRATIONS.length}). Update this installation: npm install -g orchestrator-mcp@latest`,
      { details: { file, version, known: MIGRATIONS.length } },
    );
  }
  const isOurs = owner === APPLICATION_ID || (owner === 0 && version === 0 && tables === 0);
  if (!isOurs) {
    throw new AppError(
      "STATE_UNUSABLE",
      `${file} is a SQLite file of another program. Move it away, or set another place for the state, and start again`,
      { details: { file, applicationId: owner } },
    );
  }
}

/** `integrity_check` also compares indexes with their tables and takes some times longer. */
function checkWhole(database: Database.Database, check: "quick_check" | "integrity_check"): void {
  const verdict = String(database.pragma(`${check}(1)`, { simple: true }));
  if (verdict !== "ok") throw new Database.SqliteError(verdict.replace(/\s+/g, " ").trim(), "SQLITE_CORRUPT");
}

function configure(database: Database.Database, file: string): void {
  const mode = String(database.pragma("journal_mode = WAL", { simple: true }));
  if (mode !== "wal") {
    throw new AppError(
      "STATE_UNUSABLE",
      `${file} lies on a file system without shared memory (SQLite offers journal mode ${mode}, not wal). Put the repository on a local disk`,
      { details: { file, mode } },
    );
  }
  // Under WAL the default would lose the last commits with the power, and so start finished tasks again.
  database.pragma("synchronous = FULL");
  database.pragma("foreign_keys = ON");
  database.pragma("trusted_schema = OFF");
  // A broken page is refused where it is read instead of being read wrongly.
  database.pragma("cell_size_check = ON");
  // A folder for temporary files that is full must not look like a state that can't be written.
  database.pragma("temp_store = MEMORY");
  database.pragma(`journal_size_limit = ${MAX_LOG_BYTES}`);
}

/**
 * Renames the file with its log and answers the error that says so. The file goes first: were it the log, a kill between
 * the two would leave a file that looks whole and lacks its last commits.
 */
function keepAside(file: string, clock: Clock, reason: string, cause?: unknown): AppError {
  const kept = keptName(file, "damaged", clock);
  try {
    for (const suffix of ["", "-wal", "-shm"]) {
      if (existsSync(file + suffix)) renameSync(file + suffix, kept + suffix);
    }
    rmSync(suspectMark(file), { force: true });
  } catch (thrown) {
    return new AppError(
      "STATE_UNUSABLE",
      `${file} is damaged: ${reason}. It can't be moved aside: ${messageOf(thrown)}`,
      {
        cause: thrown,
        details: { file, reason },
      },
    );
  }
  return new AppError(
    "STATE_UNUSABLE",
    `${file} was damaged: ${reason}. It is kept as ${kept}. Start again to begin with an empty state, or put a backup in its place first; ` +
      `branches, worktrees and refs of git are untouched. What can be rescued: sqlite3 '${kept}' .recover`,
    { cause, details: { file, kept, reason } },
  );
}

/** A name beside the file that nothing has yet. */
export function keptName(file: string, why: "damaged" | "removed", clock: Clock): string {
  const wanted = `${file}.${why}-${new Date(clock.nowMs()).toISOString().replace(/[-:]|\.\d+/g, "")}`;
  let name = wanted;
  for (let count = 2; existsSync(name) || existsSync(`${name}-wal`); count += 1) name = `${wanted}-${count}`;
  return name;
}
