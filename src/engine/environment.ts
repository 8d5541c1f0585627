/** Which environment variables go where: what an engine is started with, and what a client gives it later. */
import { existsSync } from "node:fs";
import { userEnvironment } from "../user-environment.ts";

/** Marks engines and what starts them, so that a hunt for an attempt's strays spares them. */
export const ENGINE_MARK = "ORCHESTRATOR_ENGINE";
/** Marks whatever belongs to an attempt. Never given to an engine. */
export const ATTEMPT_MARK = "ORCHESTRATOR_ATTEMPT";

/**
 * The whole environment of an engine, which outlives what started it and so gets nothing of the caller;
 * `repositoryHash` becomes its mark.
 */
export function engineEnvironment(
  source: Readonly<Record<string, string | undefined>>,
  repositoryHash: string,
): Record<string, string> {
  return { ...userEnvironment(source), [ENGINE_MARK]: repositoryHash };
}

/**
 * Forgets a TMPDIR that is gone; answers it. An engine outlives the shell that had it made for itself (`nix-shell`, a
 * job of a batch system), and its children would fail at the first temporary file.
 */
export function forgetLostTemporaryFolder(environment: NodeJS.ProcessEnv): string | null {
  const folder = environment["TMPDIR"];
  if (folder === undefined || existsSync(folder)) return null;
  delete environment["TMPDIR"];
  return folder;
}

/** Never passed on, whatever a pattern asks for: they would make a task's process look like another's. */
const NEVER_PASSED = [/^GIT_/, /^ORCHESTRATOR_/];

/** The variables of `source` that `patterns` (`NAME` or `PREFIX_*`) ask for. A lone `*` asks for nothing. */
export function selectVariables(
  source: Readonly<Record<string, unknown>>,
  patterns: readonly string[],
): Record<string, string> {
  const names = new Set(patterns.filter((pattern) => !pattern.endsWith("*")));
  const prefixes = patterns.filter((pattern) => pattern.endsWith("*") && pattern.length > 1);
  const selected: Record<string, string> = {};
  for (const [name, value] of Object.entries(source)) {
    if (typeof value !== "string" || NEVER_PASSED.some((never) => never.test(name))) continue;
    if (names.has(name) || prefixes.some((prefix) => name.startsWith(prefix.slice(0, -1)))) selected[name] = value;
  }
  return selected;
}
