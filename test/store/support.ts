import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { systemClock, type Clock } from "../../src/clock.ts";
import { newTask, singleStep, type TaskRecord, type TaskSpec } from "../../src/plan/records.ts";
import { NOTHING_YET, type AttemptRow } from "../../src/store/attempts.ts";
import type { PlanRow } from "../../src/store/plans.ts";
import { openStore, type Store } from "../../src/store/store.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));

/** A clock that stands still until it is set. */
export function settableClock(startMs = 1_700_000_000_000): Clock & { setMs(nowMs: number): void } {
  let nowMs = startMs;
  return { ...systemClock, nowMs: () => nowMs, setMs: (next) => void (nowMs = next) };
}

/** A folder that is gone when the test has ended. */
export function temporaryFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "store-test-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A store in a folder of its own; closed and gone when the test has ended. */
export function temporaryStore(clock: Clock = systemClock): Store {
  const store = openStore(join(temporaryFolder(), "state.db"), { clock });
  onTestFinished(() => store.close());
  return store;
}

export function samplePlan(id: string, changes: Partial<PlanRow> = {}): PlanRow {
  return {
    id,
    name: null,
    goal: null,
    target: "main",
    maxConcurrent: 4,
    budget: { usd: null, tokens: null, minutes: null },
    createdAtMs: 1_700_000_000_000,
    paused: false,
    endedAtMs: null,
    file: null,
    startSha: null,
    text: "{}",
    config: "{}",
    ...changes,
  };
}

export function sampleTask(planId: string, id: string, ordinal: number, changes: Partial<TaskSpec> = {}): TaskRecord {
  return newTask(
    planId,
    ordinal,
    {
      id,
      title: `Task ${id}`,
      prompt: "Do it.",
      agent: "coder",
      dependsOn: [],
      writes: null,
      onFailure: "hard",
      workflow: null,
      verify: null,
      merge: "auto",
      timeoutMinutes: 60,
      priority: 0,
      retries: null,
      continues: null,
      ...changes,
    },
    singleStep("coder", "claude"),
  );
}

export function sampleAttempt(
  id: string,
  planId: string,
  taskId: string,
  changes: Partial<AttemptRow> = {},
): AttemptRow {
  return {
    ...NOTHING_YET,
    id,
    planId,
    taskId,
    number: 1,
    step: 0,
    role: "coder",
    provider: "claude",
    kind: "claude",
    model: null,
    sessionId: null,
    turnKind: "start",
    startedAtMs: 1_700_000_000_000,
    booked: { usd: 0, tokens: 0, minutes: 0 },
    ...changes,
  };
}

/** A store with plan `p` and tasks `a` and `b`, b after a. */
export function storeWithTasks(clock: Clock = systemClock): Store {
  const store = temporaryStore(clock);
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany([sampleTask("p", "a", 1), sampleTask("p", "b", 2, { dependsOn: ["a"] })]);
  return store;
}

/** What `act` throws; fails when it throws nothing. */
export function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("nothing was thrown");
}

/**
 * Compiles the store as it ships, so that plain Node can run it in processes of their own. Answers the folder, which
 * any user may read; the caller removes it.
 */
export function compileStore(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "store-compiled-")));
  const config = {
    extends: join(REPOSITORY, "tsconfig.json"),
    compilerOptions: {
      rootDir: join(REPOSITORY, "src"),
      outDir: join(folder, "dist"),
      noCheck: true,
      sourceMap: false,
    },
    include: [],
    files: ["store/store.ts", "clock.ts", "plan/records.ts"].map((file) => join(REPOSITORY, "src", file)),
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  symlinkSync(join(REPOSITORY, "node_modules"), join(folder, "node_modules"));
  const compiler = join(REPOSITORY, "node_modules", "typescript", "bin", "tsc");
  const compiled = spawnSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(`tsc failed: ${compiled.stdout}${compiled.stderr}`);
  chmodSync(folder, 0o755);
  return folder;
}

/** The path of a script beside this file. */
export function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
