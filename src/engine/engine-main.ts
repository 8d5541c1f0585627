/**
 * The engine's process: `node engine-main.js --common-dir DIR [--report-fd N] [--until-end-of N]`, started by
 * launcher-main, or by `orchestrator serve`, with a clean environment. Exits 0 when it ended in order or another engine
 * is there, 1 when it could not start or was told twice to end: what it ran is then ended by the guard.
 */
import { closeSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { parseArgs } from "node:util";
import { runEngine, type RunningEngine } from "./server.ts";
import { toStartFailure } from "./start-failure.ts";
import { catchStopSignals } from "./stop-signals.ts";
import { readPackageVersion } from "./version.ts";

/** More uncaught errors than this within a minute: going on would only fill the log. */
const MAX_UNCAUGHT_PER_MINUTE = 100;
/** The host ends agents with deadlines of its own; past this something hangs, and the guard does the rest. */
const STOP_TIMEOUT_MS = 60_000;

const text = { type: "string" } as const;
const { values } = parseArgs({ options: { "common-dir": text, "report-fd": text, "until-end-of": text } });
const report = openReport(values["report-fd"]);
// Before anything is started: one that is asked to end while it starts ends in order too.
const stopSignals = catchStopSignals(() => process.exit(1));
const asked = AbortSignal.any([stopSignals.signal, endOf(values["until-end-of"])]);
asked.addEventListener("abort", () => setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref());
// It has no terminal to lose.
process.on("SIGHUP", () => undefined);
try {
  const engine = await runEngine({
    commonDir: values["common-dir"] ?? "",
    version: readPackageVersion(),
    environment: process.env,
    signal: asked,
  });
  if (engine === null) {
    report({ outcome: "held" });
    process.exit(0);
  }
  surviveErrors(engine);
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

/** Aborted when the other end of that pipe is closed, however its process ended: the engine is to end with it. */
function endOf(descriptor: string | undefined): AbortSignal {
  const abort = new AbortController();
  if (descriptor === undefined) return abort.signal;
  const end = (): void => abort.abort("who started it is gone");
  const pipe = new Socket({ fd: Number(descriptor) });
  pipe.on("error", end).on("close", end).resume();
  return abort.signal;
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
