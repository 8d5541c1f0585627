/**
 * The state of one repository's engine: `state.db`, a SQLite file in WAL mode, and the only way to read or write it.
 *
 * Always true: what a transaction wrote is on the disk, whole, when `transaction` returns, and none of it is when it
 * throws or the process is killed in it; an event is stored with the change it tells or not at all; what comes out has
 * the types it says, or an error names table, row and column. Everything is synchronous, so no two transactions of
 * this process ever mix.
 *
 * Never: awaits within a transaction, decides anything, deletes history (plans, attempts, events, turns) or a damaged
 * file. Only the engine opens the file; whoever holds `engine.lock` is the engine.
 */
import { closeSync, existsSync, openSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../clock.ts";
import { Attempts } from "./attempts.ts";
import { Connection, type CommitListener } from "./connection.ts";
import { Consultations } from "./consultations.ts";
import { Events } from "./events.ts";
import { FilePlace } from "./file-place.ts";
import { FollowUpRows } from "./follow-ups.ts";
import { Merges } from "./merges.ts";
import { Messages } from "./messages.ts";
import { Meta } from "./meta.ts";
import { keptName, openDatabase } from "./open-database.ts";
import { Plans } from "./plans.ts";
import { Questions } from "./questions.ts";
import { Providers } from "./providers.ts";
import { RequestKeys } from "./request-keys.ts";
import { RoleDurations } from "./role-durations.ts";
import { Sessions } from "./sessions.ts";
import { Tasks } from "./tasks.ts";
import { Turns } from "./turns.ts";

export interface StoreOptions {
  readonly clock: Clock;
  /** Told when an `onCommit` listener throws; the change is committed all the same. Default: a process warning. */
  readonly onListenerError?: (thrown: unknown) => void;
  /** Called before each outermost transaction: the last moment to make room for it. Must not throw. */
  readonly beforeWrite?: () => void;
}

export interface Store {
  /** Absolute path. */
  readonly file: string;
  readonly meta: Meta;
  readonly plans: Plans;
  readonly tasks: Tasks;
  readonly attempts: Attempts;
  readonly sessions: Sessions;
  readonly turns: Turns;
  readonly messages: Messages;
  readonly merges: Merges;
  readonly providers: Providers;
  readonly roles: RoleDurations;
  readonly requestKeys: RequestKeys;
  readonly questions: Questions;
  readonly consultations: Consultations;
  readonly followUps: FollowUpRows;
  readonly events: Events;
  /**
   * Runs `work` in one transaction (immediate: taken for writing from the start) and answers what it answers. Within
   * another it joins that one; if it throws there, only what it did itself is undone. The events appended in it go to
   * the `onCommit` listeners, in order, after the commit and before this returns; none on a rollback. `work` must not
   * be async: a promise is refused and rolled back (TypeError).
   */
  transaction<Result>(work: () => Result): Result;
  /**
   * Hears the events of each committed transaction, in the order of commits. A listener that commits something itself
   * is told of that after all have heard the first. The answer unsubscribes.
   */
  onCommit(listener: CommitListener): () => void;
  /** False once its file or log was removed or exchanged: what is written from then on is lost with this process. */
  isInPlace(): boolean;
  /** Where its file was removed or exchanged, all of it is written beside that place as `<file>.removed-<time>`: its path; else null. */
  keepWhenRemoved(): string | null;
  /** Idempotent. Any call afterwards throws ENGINE_STOPPING. */
  close(): void;
}

/**
 * Opens the state, makes it where there is none, brings an older schema up to date; reads no rows. Throws
 * STATE_UNUSABLE (damaged and kept aside, newer, somebody else's, not writable, disk full, held) or
 * NATIVE_MODULE_MISSING, each with what to do.
 */
export function openStore(file: string, options: StoreOptions): Store {
  const { clock, onListenerError = warn, beforeWrite = () => {} } = options;
  const connection = new Connection(openDatabase(file, clock), file, { onListenerError, beforeWrite });
  try {
    const place = new FilePlace(file);
    return {
      file,
      meta: new Meta(connection),
      plans: new Plans(connection),
      tasks: new Tasks(connection),
      attempts: new Attempts(connection),
      sessions: new Sessions(connection),
      turns: new Turns(connection),
      messages: new Messages(connection),
      merges: new Merges(connection),
      providers: new Providers(connection),
      roles: new RoleDurations(connection),
      requestKeys: new RequestKeys(connection, clock),
      questions: new Questions(connection),
      consultations: new Consultations(connection),
      followUps: new FollowUpRows(connection),
      events: new Events(connection, clock),
      transaction: (work) => connection.transaction(work),
      onCommit: (listener) => connection.onCommit(listener),
      isInPlace: () => place.isWhole,
      keepWhenRemoved: () => (place.hasFile ? null : keepCopy(connection, clock)),
      close: () => connection.close(),
    };
  } catch (thrown) {
    connection.close();
    throw thrown;
  }
}

/** Null where not even the folder is there any more. */
function keepCopy(connection: Connection, clock: Clock): string | null {
  if (!existsSync(dirname(connection.file))) return null;
  const kept = keptName(connection.file, "removed", clock);
  // SQLite would make it readable for all.
  closeSync(openSync(kept, "wx", 0o600));
  connection.copyTo(kept);
  return kept;
}

function warn(thrown: unknown): void {
  process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
}
