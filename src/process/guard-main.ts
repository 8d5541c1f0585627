/**
 * The guard: a small program that outlives its engine for as long as it takes to end what the engine left running.
 *
 * It reads the list of living attempts from its stdin. When that ends without a goodbye the engine is dead, however it
 * died: the guard ends whatever belongs to an attempt of this engine (TERM, 1 s, KILL, until two looks find nothing)
 * and leaves. While there are attempts it ignores the signals that end an engine together with it (Ctrl-C, a closing
 * terminal, a service manager's TERM). It never starts anything and never touches another engine's processes.
 */
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { decodeGuardMessage } from "./guard-protocol.ts";
import { ENGINE_MARK } from "./process-table.ts";
import { endBelonging, type KnownAttempt } from "./strays.ts";

const GRACE_MS = 1000;

/** What the kernel holds can't be ended by anybody; the next engine looks again. */
const GIVE_UP_MS = 60_000;

const engineId = process.env[ENGINE_MARK] ?? "";
const logFile = process.argv[2];
/** Null until it was told, and then it may be that there are some. */
let attempts: readonly KnownAttempt[] | null = null;
let isDismissed = false;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (attempts?.length === 0) process.exit(0);
  });
}

// With nothing to write to, output and its errors must not end it.
process.on("uncaughtException", (error) => tell(`error: ${error.message}`));

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
process.stdin.on("error", () => lines.close());
lines.on("line", (line) => {
  const message = decodeGuardMessage(line);
  if (message?.type === "attempts") attempts = message.attempts;
  if (message?.type === "goodbye") isDismissed = true;
});
lines.once("close", () => void leave());

async function leave(): Promise<void> {
  if (isDismissed || engineId === "") process.exit(0);
  try {
    const { ended, survivors } = await endBelonging({
      engineId,
      known: attempts ?? [],
      graceMs: GRACE_MS,
      giveUpMs: GIVE_UP_MS,
    });
    tell(`the engine is gone; ended ${ended.length} processes, ${survivors.length} can't be ended`);
    process.exit(survivors.length === 0 ? 0 : 1);
  } catch (error) {
    tell(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}

function tell(message: string): void {
  if (logFile === undefined) return;
  try {
    appendFileSync(logFile, `${new Date().toISOString()} guard[${process.pid}] ${message}\n`, { mode: 0o600 });
  } catch {
    // Its work does not depend on telling of it.
  }
}
