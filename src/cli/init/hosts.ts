/** The agent CLIs that can have us as an MCP server, and which of them are on PATH. */
import { createBackend } from "../../agents/index.ts";
import { findProgram } from "../../agents/find-program.ts";
import { loadConfig } from "../../config/index.ts";
import { engineEnvironment, selectVariables } from "../../engine/environment.ts";
import { claudeHost } from "./claude-host.ts";
import { codexHost } from "./codex-host.ts";
import { gooseHost } from "./goose-host.ts";
import type { Host } from "./host.ts";

export interface HostHere {
  readonly host: Host;
  /** Its program; null when it is not on PATH. */
  readonly program: string | null;
}

/** All that are known, in a fixed order. */
export async function findHosts(home: string): Promise<HostHere[]> {
  const find = (name: string): Promise<string | null> => findProgram(name, process.env["PATH"] ?? "");
  const [claude, codex, goose] = await Promise.all([find("claude"), find("codex"), find("goose")]);
  return [
    { host: claudeHost, program: claude },
    { host: codexHost(codex, variableNames(home)), program: codex },
    { host: gooseHost, program: goose },
  ];
}

/** Names, never values: what agents' providers and our own paths are taken from. */
function variableNames(home: string): string[] {
  const patterns = Object.values(providersOf(home)).flatMap(({ kind, passEnv }) => [
    ...createBackend(kind).defaultPassEnv,
    ...passEnv,
  ]);
  const ours = Object.keys(engineEnvironment(process.env, "")).filter((name) =>
    /^(ORCHESTRATOR_HOME$|XDG_)/.test(name),
  );
  const set = Object.keys(selectVariables(process.env, patterns));
  return [...new Set(["ANTHROPIC_API_KEY", "OPENAI_API_KEY", ...ours, ...set])].toSorted();
}

function providersOf(home: string): ReturnType<typeof loadConfig>["config"]["providers"] {
  try {
    return loadConfig({ home, mainWorktree: null }).config.providers;
  } catch {
    // A broken config is told by every other verb; the built-in providers are enough here.
    return loadConfig({ home: "/dev/null", mainWorktree: null }).config.providers;
  }
}
