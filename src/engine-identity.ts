/** By which id an engine marks and finds its processes: one a repository, and another one for a copy of it. */
import { existsSync } from "node:fs";
import { join } from "node:path";

interface Meta {
  get(key: string): string | null;
  set(key: string, value: string): void;
}

export interface EngineIdentity {
  readonly engineId: string;
  /** The state came here with a copy of the repository: the processes that it tells of belong to the other one. */
  readonly isCopy: boolean;
}

/**
 * `makeId` gives the id of a state without one. A repository that was moved keeps its id. Of a copy (`cp -r`, a
 * restored backup beside the original) the original still has its state: with its id the copy's engine would end the
 * original's agents. Call it in a transaction.
 */
export function identify(meta: Meta, commonDir: string, makeId: (isCopy: boolean) => string): EngineIdentity {
  const home = meta.get("home");
  const isCopy = home !== null && home !== commonDir && existsSync(join(home, "orchestrator", "state.db"));
  const engineId = isCopy ? makeId(true) : (meta.get("engineId") ?? makeId(false));
  meta.set("engineId", engineId);
  if (home !== commonDir) meta.set("home", commonDir);
  return { engineId, isCopy };
}
