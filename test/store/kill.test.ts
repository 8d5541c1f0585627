import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { openStore, type Store } from "../../src/store/store.ts";
import { compileStore, sampleAttempt, samplePlan, sampleTask, script, temporaryFolder } from "./support.ts";

let compiled = "";
beforeAll(() => {
  compiled = compileStore();
});
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

const TASKS = 5;

function prepare(file: string): void {
  const store = openStore(file, { clock: systemClock });
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany(Array.from({ length: TASKS }, (_, index) => sampleTask("p", `t${index}`, index + 1)));
  store.attempts.insert(sampleAttempt("x", "p", "t0"));
  store.close();
}

/** What the child has committed, from every table it writes: all must tell the same number. */
function committed(store: Store): number {
  const count = Number(store.meta.get("count") ?? "0");
  const events = store.events.since(0, { limit: 1_000_000 });
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  expect(events.length).toBe(count * TASKS);
  expect(events.at(-1)?.body ?? null).toEqual(count === 0 ? null : { type: "warning", message: `${count}` });
  expect(store.tasks.listOpen().map(({ ledger }) => ledger.attempts)).toEqual(
    Array.from({ length: TASKS }, () => count),
  );
  expect(store.turns.listByTask("p", "t0", { limit: 1_000_000 }).length).toBe(count);
  for (let number = Math.max(1, count - 5); number <= count + 1; number += 1) {
    expect(store.requestKeys.find(`k${number}`)?.response ?? null).toBe(number <= count ? number : null);
  }
  return count;
}

/** Runs the child until `isEnough` says so of a line, then kills it with -9. Answers the last number it told. */
async function runAndKill(args: readonly string[], isEnough: (line: string) => boolean): Promise<number> {
  const child = spawn(process.execPath, [script("kill-child.mjs"), join(compiled, "dist"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit");
  let told = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const number = /^committed (\d+)$/.exec(line)?.[1];
    if (number !== undefined) told = Number(number);
    // Lines that were on their way when it died still count: they were told.
    if (isEnough(line)) child.kill("SIGKILL");
  }
  const [, signal] = await exited;
  expect(signal).toBe("SIGKILL");
  return told;
}

test("S1: after kill -9 at any moment everything committed is there, and nothing half", async () => {
  const file = join(temporaryFolder(), "state.db");
  prepare(file);
  let before = 0;
  for (let round = 0; round < 12; round += 1) {
    let lines = 0;
    // Another number of transactions each time; the kill arrives wherever the child then is.
    const told = await runAndKill([file, "commit"], () => (lines += 1) > 7 * round);
    const store = openStore(file, { clock: systemClock });
    const count = committed(store);
    store.close();
    // The one after the last that was told may have been committed too.
    expect(count).toBeGreaterThanOrEqual(told);
    expect(count).toBeLessThanOrEqual(told + 1);
    expect(count).toBeGreaterThan(before);
    before = count;
  }
});

test("S1: kill -9 within a transaction, even one too large for memory's cache, leaves nothing of it", async () => {
  const file = join(temporaryFolder(), "state.db");
  prepare(file);
  const told = await runAndKill([file, "stop-inside"], (line) => line === "inside");
  expect(told).toBe(3);
  const store = openStore(file, { clock: systemClock });
  expect(committed(store)).toBe(3);
  expect(store.meta.get("large0")).toBeNull();
  store.close();
});
