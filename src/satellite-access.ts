/** How agents find their way back to the engine, and how the engine tells them from operators. */
import { chmodSync, mkdirSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { ClientFacts } from "./engine/engine-host.ts";
import { engineEnvironment } from "./engine/environment.ts";
import { writeFence } from "./git/fence.ts";
import type { Caller } from "./operations/operation.ts";
import type { Parts, SatelliteAccess } from "./scheduler/parts.ts";

/** The clean environment that every child of ours begins with: the engine's own, without what marks it as one. */
export function childEnvironment(): Record<string, string> {
  const { ORCHESTRATOR_ENGINE: _mark, ...rest } = engineEnvironment(process.env, "");
  return rest;
}

/** Writes the `orchestrator` command for agents' PATH and the hooks of their git, and names the program that is their MCP server. */
export function satelliteAccess(stateDir: string): SatelliteAccess {
  const binFolder = join(stateDir, "bin");
  mkdirSync(binFolder, { recursive: true, mode: 0o700 });
  const cli = fileURLToPath(new URL("./cli/main.js", import.meta.url));
  const pipe = fileURLToPath(new URL("./engine/pipe-main.cjs", import.meta.url));
  const file = join(binFolder, "orchestrator");
  const next = `${file}.${process.pid}.next`;
  writeFileSync(next, `#!/bin/sh\nexec ${shellWord(process.execPath)} ${shellWord(cli)} "$@"\n`);
  chmodSync(next, 0o755);
  renameSync(next, file);
  // The socket may lie in a folder that is found through these, and Codex gives its servers another TMPDIR.
  const names = ["ORCHESTRATOR_HOME", "XDG_RUNTIME_DIR", "TMPDIR", "HOME", "PATH"];
  const environment: Record<string, string> = {};
  for (const name of names) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  const hooksFolder = join(stateDir, "agent-hooks");
  writeFence(hooksFolder);
  return { pipe: { command: process.execPath, args: [pipe] }, binFolder, hooksFolder, environment };
}

function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * A satellite's environment carries the mark of an attempt of ours, or it lives below an attempt's process, or it works
 * in one of our worktrees; everybody else is an operator. What lives counts before what is only said: a resumed session
 * may start its servers with the mark of an attempt that has ended.
 */
export async function identifyCaller(parts: Parts, client: ClientFacts): Promise<Caller> {
  const below = await parts.processes.findByDescendant(client.pid);
  const lived = below === null ? null : attemptCaller(parts, below.id);
  if (lived !== null) return lived;
  const [engineId, attemptId] = client.mark?.split("/") ?? [];
  if (engineId === parts.engineId && attemptId !== undefined) {
    return attemptCaller(parts, attemptId) ?? { role: "satellite", attemptId, planId: "", taskId: "" };
  }
  const cwd = realPathOf(client.cwd);
  if (cwd === parts.repository.worktreesFolder || cwd.startsWith(parts.repository.worktreesFolder + sep)) {
    return worktreeCaller(parts, cwd);
  }
  return { role: "operator", cwd: client.place, clientName: client.clientName };
}

function attemptCaller(parts: Parts, attemptId: string): Caller | null {
  const attempt = parts.store.attempts.get(attemptId);
  return attempt === null ? null : { role: "satellite", attemptId, planId: attempt.planId, taskId: attempt.taskId };
}

/** The attempt that is alive in this worktree; without one the caller can do nothing. */
function worktreeCaller(parts: Parts, cwd: string): Caller {
  for (const attempt of parts.store.attempts.listOpen()) {
    const path = parts.store.tasks.getWork(attempt.planId, attempt.taskId)?.worktree ?? null;
    if (path !== null && (cwd === path || cwd.startsWith(path + sep))) {
      return { role: "satellite", attemptId: attempt.id, planId: attempt.planId, taskId: attempt.taskId };
    }
  }
  return { role: "satellite", attemptId: "", planId: "", taskId: "" };
}

function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
