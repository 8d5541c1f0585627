/** What the engine needs of the app: kept narrow, so that sockets and lifetime are tested without a plan. */
import type { Caller, OperationCall, OperationResult } from "../operations/operation.ts";

/** What a client tells of itself when it connects. */
export interface ClientFacts {
  readonly pid: number;
  /** Its working directory: what tells whether it runs in one of our worktrees. */
  readonly cwd: string;
  /**
   * Where its repository was found: `cwd`, or what `--repo`, CLAUDE_PROJECT_DIR or the client's root named. This is
   * where an operator works (`Caller.cwd`); it is never a reason to call a client a satellite.
   */
  readonly place: string;
  /** The value of ORCHESTRATOR_ATTEMPT in its environment; null when unset. */
  readonly mark: string | null;
  readonly clientName: string | null;
}

/** How an operation looks to a transport that lists tools. JSON Schemas, not zod. */
export interface ToolListing {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly audience: "operator" | "satellite";
  readonly isReading: boolean;
  readonly inputSchema: Record<string, unknown>;
  readonly outputSchema: Record<string, unknown>;
}

export interface EngineHost {
  /** Stable over restarts of this repository's engine. */
  readonly engineId: string;
  /** Satellite when the mark, the cwd or an ancestor process belongs to an attempt; else operator. */
  identify(client: ClientFacts): Promise<Caller>;
  /** Names or `PREFIX_*` patterns of variables that providers need; a client sends those it has. */
  passEnvPatterns(): readonly string[];
  /** With each hello, also of one who has none. Held in memory only. Called for operators alone: what an agent has in its environment came from here. */
  takeEnvironment(variables: Readonly<Record<string, string>>): void;
  tools(): readonly ToolListing[];
  /** Never rejects: failures are values. Refuses what the caller's role may not do (NOT_ALLOWED). */
  call(name: string, input: unknown, call: OperationCall): Promise<OperationResult>;
  /** True while any task can still move without a person, also by a timer: the engine stays. */
  canMove(): boolean;
  /** True when no plan was ever made here: then nothing is lost with the state folder. Also asked after `stop`. */
  isUnused(): boolean;
  /** False once what it stores is lost with this process, because its file was removed or exchanged: end in order. */
  isStateInPlace(): boolean;
  /** Plans that have not ended, for whoever finds that this engine died. */
  openPlans(): readonly string[];
  /** Number of agents alive (for "restart pending" and hand-over to a newer client). */
  liveAgents(): number;
  /** Called when the last operator left. */
  lastClientLeft(): void;
  /** What the last operator's leaving does; read when it happens, so that a changed config counts at once. */
  onLastClientExit(): "continue" | "stop";
  /** How long an engine that has nothing to do and no client stays. Read each second. */
  idleExitSeconds(): number;
  /** A newer client waits for this engine to have no living agents ("restart pending"); null: none does. */
  setRestartPending(version: string | null): void;
  /** Ends agents in order, commits their work, writes state. Called once. `reason` goes into the log. */
  stop(reason: string): Promise<void>;
  /** Subscribes to committed events; the answer unsubscribes. */
  onEvent(listener: (event: { readonly seq: number }) => void): () => void;
  /** The first `limit` stored events with a greater sequence number, oldest first: a slow listener is retold. */
  eventsAfter(seq: number, limit: number): readonly { readonly seq: number }[];
}

/** The engine's log file. Lines are made safe here; nobody hands it a secret. */
export interface EngineLog {
  write(message: string): void;
  /** Writes what was thrown, with its stack; the answer is the id under which people find it. */
  error(message: string, thrown: unknown): string;
}

/** What `createApp` of `app.ts` is given. */
export interface HostOptions {
  /** The repository's common git folder, without symbolic links. */
  readonly commonDir: string;
  /** Null when the repository has none (bare). */
  readonly mainWorktree: string | null;
  /** `<commonDir>/orchestrator`, which exists. */
  readonly stateDir: string;
  readonly engineVersion: string;
  readonly log: EngineLog;
  /** Asks the engine to end in order (`orchestrator stop`): answers calls under way, then calls `stop`. */
  readonly stopEngine: (reason: string) => void;
}

export type CreateHost = (options: HostOptions) => Promise<EngineHost>;
