/**
 * The one place where the engine loads the rest of the program. All of it is loaded before the lock is taken: an update
 * of the package under a running engine must not mix two versions, and who takes the lock must be able to serve.
 */
import { AppError } from "../errors.ts";
import type { ServeMcp } from "../mcp/server.ts";
import type { CreateHost, ToolListing } from "./engine-host.ts";

export interface EngineCode {
  readonly createHost: CreateHost;
  readonly serveMcp: ServeMcp;
}

export async function loadEngineCode(): Promise<EngineCode> {
  const [app, { serveMcp }] = await Promise.all([import("../app.ts"), import("../mcp/server.ts")]);
  const createHost: unknown = Reflect.get(app, "createApp");
  if (typeof createHost !== "function") {
    throw new AppError("INTERNAL", "app.ts exports no createApp");
  }
  // The signature is the contract of engine-host.ts, which app.ts is checked against where it is written.
  return { createHost: createHost as CreateHost, serveMcp };
}

/** The tools as they are listed where there is no engine to ask. */
export async function loadToolListings(): Promise<readonly ToolListing[]> {
  const app: object = await import("../app.ts");
  const toolListings: unknown = Reflect.get(app, "toolListings");
  return typeof toolListings === "function" ? (toolListings as () => readonly ToolListing[])() : [];
}
