/**
 * The engine's process: `node engine-main.js --common-dir DIR [--report-fd N]`, started by launcher-main with a clean
 * environment. Exits 0 when it ended in order or another engine is there, 1 when it could not start.
 */
import { closeSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { runEngine, toStartFailure, type RunningEngine } from "./server.ts";
import { readPackageVersion } from "./version.ts";

/** More uncaught errors than this within a minute: going on would only fill the log. */
const MAX_UNCAUGHT_PER_MINUTE = 100;
/** The host ends agents with deadlines of its own; past this something hangs, and the guard does the rest. */
const STOP_TIMEOUT_MS = 60_000;

const { values } = parseArgs({ options: { "common-dir": { type: "string" }, "report-fd": { type: "string" } } });
const report = openReport(values["report-fd"]);
try {
  const engine = await runEngine({
    commonDir: values["common-dir"] ?? "",
    version: readPackageVersion(),
    environment: process.env,
  });
  if (engine === null) {
    report({ outcome: "held" });
    process.exit(0);
  }
  surviveErrors(engine);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      void engine.stop(signal);
      setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
    });
  }
  // It has no terminal to lose.
  process.on("SIGHUP", () => undefined);
  report({ outcome: "ready" });
  await engine.ended;
  process.exit(0);
} catch (thrown) {
  // Standard error is engine.log.
  console.error(`${new Date().toISOString()} error ${process.pid}`, thrown);
  report({ outcome: "failed", error: toStartFailure(thrown) });
  process.exit(1);
}

/** Says one thing to whoever waits for this engine, who may be gone. The descriptor is only ours when it was named. */
function openReport(descriptor: string | undefined): (message: object) => void {
  const file = Number(descriptor);
  let isOpen = Number.isInteger(file) && file > 2;
  return (message) => {
    if (!isOpen) return;
    isOpen = false;
    try {
      writeSync(file, `${JSON.stringify(message)}\n`);
      closeSync(file);
    } catch {
      // Nobody waits any more.
    }
  };
}

/** One client's error, or a forgotten promise, does not end the work of all the others; it is in the log with an id. */
function surviveErrors(engine: RunningEngine): void {
  let recent: number[] = [];
  const survive = (thrown: unknown): void => {
    engine.log.error("Uncaught", thrown);
    const nowMs = performance.now();
    recent = [...recent.filter((atMs) => nowMs - atMs < 60_000), nowMs];
    if (recent.length > MAX_UNCAUGHT_PER_MINUTE) process.exit(1);
  };
  process.on("uncaughtException", survive);
  process.on("unhandledRejection", survive);
}
