/** What the scheduler is made of. Built by `app.ts`; nothing here is made by the scheduler itself. */
import type { AgentBackend, AgentEvent, BackendKind } from "../agents/backend.ts";
import type { Clock } from "../clock.ts";
import type { Room } from "../disk-room.ts";
import type { EventBus } from "../events/bus.ts";
import type { Repository } from "../git/repository.ts";
import type { Ids } from "../ids.ts";
import type { Board } from "../plan/board.ts";
import type { ProcessManager } from "../process/process-manager.ts";
import type { KnownAttempt } from "../process/strays.ts";
import type { Store } from "../store/store.ts";
import type { PlanSettings } from "./settings.ts";

export type LogLevel = "info" | "warning" | "error";
export type Log = (level: LogLevel, message: string, facts: Readonly<Record<string, unknown>>) => void;

/** Runs a change of the board in one transaction with its rows and events. */
export type Commit = <Result>(work: () => Result) => Result;

export interface SatelliteAccess {
  /** The program and arguments that agents start as their MCP server. */
  readonly pipe: { readonly command: string; readonly args: readonly string[] };
  /** What the pipe needs to find the engine; some CLIs start their servers with next to no environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** A folder with an `orchestrator` command, put first on an agent's PATH. */
  readonly binFolder: string;
  /** The folder of the fence's hooks. */
  readonly hooksFolder: string;
}

export interface MachineRoom {
  look(): void;
  /** As the last look found it. */
  readonly room: Room;
}

export interface Parts {
  readonly board: Board;
  readonly store: Store;
  readonly bus: EventBus<AgentEvent>;
  readonly processes: ProcessManager;
  readonly repository: Repository;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  /** Stable over restarts of this repository's engine. */
  readonly engineId: string;
  /** `<state>/attempts`: a folder of its own for each attempt. */
  readonly attemptsFolder: string;
  readonly satellite: SatelliteAccess;
  /** Ends what an earlier engine of this repository left running; answers how many processes. */
  endLeftovers(known: readonly KnownAttempt[]): Promise<number>;
  backend(kind: BackendKind): AgentBackend;
  /** The plan's pinned config. */
  settingsOf(planId: string): PlanSettings;
  /** The clean environment that every child begins with. */
  baseEnvironment(): Record<string, string>;
  /** Variables that clients brought for providers, by names and `PREFIX_*` patterns. Never logged. */
  providerEnvironment(patterns: readonly string[]): Record<string, string>;
  /** Room on the disks. Missing: nobody looks. */
  readonly room?: MachineRoom;
  /** The store can't be written any more: the engine ends. */
  onFatal(thrown: unknown): void;
}
