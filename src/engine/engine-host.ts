/** What the engine needs of the app: kept narrow, so that sockets and lifetime are tested without a plan. */
import type { Caller, OperationCall, OperationResult } from "../operations/operation.ts";

/** What a client tells of itself when it connects. */
export interface ClientFacts {
  readonly pid: number;
  readonly cwd: string;
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
  /** Held in memory only. */
  takeEnvironment(variables: Readonly<Record<string, string>>): void;
  tools(): readonly ToolListing[];
  /** Never rejects: failures are values. */
  call(name: string, input: unknown, call: OperationCall): Promise<OperationResult>;
  /** True while any task can still move without a person, also by a timer: the engine stays. */
  canMove(): boolean;
  /** Number of agents alive (for "restart pending" and hand-over to a newer client). */
  liveAgents(): number;
  /** Called when the last client left. */
  lastClientLeft(): void;
  /** Ends agents in order, commits their work, writes state. Called once. `reason` goes into the log. */
  stop(reason: string): Promise<void>;
  /** Subscribes to committed events; the answer unsubscribes. */
  onEvent(listener: (event: { readonly seq: number }) => void): () => void;
}
