/** Which environment variables go where: what an engine is started with, and what a client gives it later. */

/** An engine outlives what started it, so it gets what describes the user and the machine, and nothing of the caller. */
const KEPT_NAMES = new Set([
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "LANG",
  "TZ",
  "TMPDIR",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "ALL_PROXY",
  "ORCHESTRATOR_HOME",
]);
const KEPT_PREFIXES = ["LC_", "XDG_"];
/** Proxies are read in both spellings by different programs. */
const KEPT_LOWER_CASE = new Set(["http_proxy", "https_proxy", "no_proxy", "all_proxy"]);

/** Marks engines and what starts them, so that a hunt for an attempt's strays spares them. */
export const ENGINE_MARK = "ORCHESTRATOR_ENGINE";
/** Marks whatever belongs to an attempt. Never given to an engine. */
export const ATTEMPT_MARK = "ORCHESTRATOR_ATTEMPT";

/** The whole environment of an engine; `repositoryHash` becomes its mark. */
export function engineEnvironment(
  source: Readonly<Record<string, string | undefined>>,
  repositoryHash: string,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(source)) {
    if (value !== undefined && isKept(name)) kept[name] = value;
  }
  kept[ENGINE_MARK] = repositoryHash;
  return kept;
}

function isKept(name: string): boolean {
  return KEPT_NAMES.has(name) || KEPT_LOWER_CASE.has(name) || KEPT_PREFIXES.some((prefix) => name.startsWith(prefix));
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
