/**
 * The one place where the engine loads the rest of the program. All of it is loaded before the lock is taken: an update
 * of the package under a running engine must not mix two versions, and who takes the lock must be able to serve.
 */
import type { ServeMcp } from "../mcp/server.ts";
import type { CreateHost } from "./engine-host.ts";

export interface EngineCode {
  readonly createHost: CreateHost;
  readonly serveMcp: ServeMcp;
}

export async function loadEngineCode(): Promise<EngineCode> {
  const [{ createApp }, { serveMcp }] = await Promise.all([import("../app.ts"), import("../mcp/server.ts")]);
  return { createHost: createApp, serveMcp };
}
