/** What tests of processes share: temporary folders, waiting for conditions, proof that nothing is left. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { ProcessManager, type ProcessLogEntry, type ProcessSpec } from "../../src/process/process-manager.ts";
import { readProcessTable, type ProcessRow } from "../../src/process/process-table.ts";
import type { Clock } from "../../src/clock.ts";
import { until } from "../support/until.js";

export const PATH = process.env["PATH"] ?? "/usr/bin:/bin";
const repositoryRoot = fileURLToPath(new URL("../..", import.meta.url));

/** An engine id that nobody else on this machine has. */
export function newEngineId(): string {
  return `test-${randomBytes(6).toString("hex")}`;
}

export interface Bench {
  readonly engineId: string;
  readonly folder: string;
  readonly manager: ProcessManager;
  readonly entries: ProcessLogEntry[];
  spec(script: string, overrides?: Partial<ProcessSpec>): ProcessSpec;
  /** Stops all, removes the folder, and throws when anything marked with the engine's id still runs. */
  close(): Promise<void>;
}

export function openBench(options: { readonly clock?: Clock } = {}): Bench {
  const engineId = newEngineId();
  const folder = mkdtempSync(join(tmpdir(), "process-test-"));
  const entries: ProcessLogEntry[] = [];
  const manager = new ProcessManager({ engineId, log: (entry) => entries.push(entry), ...options });
  let count = 0;
  return {
    engineId,
    folder,
    manager,
    entries,
    spec: (script, overrides = {}) => ({
      id: `p${++count}`,
      label: "a test's child",
      file: "sh",
      args: ["-c", script],
      cwd: folder,
      env: { PATH },
      stdin: null,
      deadlineMs: null,
      killGraceMs: 5000,
      outputDir: null,
      ...overrides,
    }),
    close: async () => {
      await manager.stopAll("shutdown");
      const left = await marked(engineId);
      for (const { pid } of left) process.kill(pid, "SIGKILL");
      rmSync(folder, { recursive: true, force: true });
      if (left.length > 0) throw new Error(`left behind: ${left.map(({ pid }) => pid).join(", ")}`);
    },
  };
}

/** Living processes with a mark of this engine's attempts. */
export async function marked(engineId: string): Promise<readonly ProcessRow[]> {
  const table = await readProcessTable({ marks: "all" });
  return [...table.values()].filter((row) => !row.isDead && row.marks?.attempt?.startsWith(`${engineId}/`) === true);
}

/** The number that a child wrote into a file: its pid. */
export async function pidIn(file: string): Promise<number> {
  return until(`${file} holds a pid`, () => {
    try {
      const text = readFileSync(file, "utf8");
      return text.endsWith("\n") ? Number(text) : null;
    } catch {
      return null;
    }
  });
}

/**
 * Compiles `src/process` into a folder from which Node (20 too) runs it and finds its dependencies. `dist` is other
 * tests' business.
 */
export function compileProcessLayer(): { readonly folder: string; remove(): void } {
  const cache = join(repositoryRoot, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "process-test-"));
  const config = join(folder, "tsconfig.json");
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(repositoryRoot, "tsconfig.json"),
      compilerOptions: { rootDir: join(repositoryRoot, "src"), outDir: folder, sourceMap: false },
      files: ["guard-main", "guard", "process-manager"].map((name) =>
        join(repositoryRoot, "src", "process", `${name}.ts`),
      ),
      include: [],
    }),
  );
  const tsc = join(repositoryRoot, "node_modules", "typescript", "bin", "tsc");
  const compiled = spawnSync(process.execPath, [tsc, "-p", config], { encoding: "utf8" });
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  if (compiled.status === 0) return { folder, remove };
  remove();
  throw new Error(`${compiled.stdout}${compiled.stderr}`);
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #nowMs = 1_000_000;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** As after the machine's sleep: the time jumps at once, and each timer that is due then fires once. */
  jump(byMs: number): void {
    this.#nowMs += byMs;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { callback } of due) callback();
  }

  /** As time passes for a machine that is awake. */
  pass(byMs: number): void {
    for (let left = byMs; left > 0; left -= 100) this.jump(Math.min(100, left));
  }
}
