/**
 * `engine.log`: what the engine says of itself, and what Node prints when it dies. At most twice MAX_LOG_BYTES with the
 * older half in `engine.log.1`. Emptied in place, not renamed: stdout and stderr of the engine stay open on it.
 */
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  fstatSync,
  openSync,
  readSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { systemIds } from "../ids.ts";
import type { EngineLog } from "./engine-host.ts";

export const MAX_LOG_BYTES = 5 * 1024 * 1024;
/** Looked at again after so many bytes of ours; what others print in between is caught by the next look. */
const CHECK_EVERY_BYTES = 64 * 1024;

/** Never throws: a full disk must not end the engine. Only the holder of the lock may make one. */
export function openEngineLog(path: string, maxBytes = MAX_LOG_BYTES): EngineLog & { rotate(): void } {
  let unchecked = 0;
  const rotate = (): void => {
    unchecked = 0;
    try {
      if (statSync(path).size <= maxBytes) return;
      copyFileSync(path, `${path}.1`);
      truncateSync(path, 0);
    } catch {
      // Tried again later.
    }
  };
  const append = (level: string, message: string): void => {
    const line = `${new Date().toISOString()} ${level} ${process.pid} ${toOneLine(message)}\n`;
    try {
      appendFileSync(path, line, { mode: 0o600 });
    } catch {
      if (!writeToOpenLog(path, line)) return;
    }
    unchecked += line.length;
    if (unchecked > Math.min(CHECK_EVERY_BYTES, maxBytes)) rotate();
  };
  return {
    write: (message) => append("info", message),
    error: (message, thrown) => {
      const id = systemIds.short(10);
      append("error", `[${id}] ${message}: ${describe(thrown)}`);
      return id;
    },
    rotate,
  };
}

/** An engine's standard error is its log: with no descriptor left to open it, and just then, it is to be heard. */
function writeToOpenLog(path: string, line: string): boolean {
  try {
    if (fstatSync(2).ino !== statSync(path).ino) return false;
    writeSync(2, line);
    return true;
  } catch {
    return false;
  }
}

/** The last lines of a log, safe for a terminal; empty when there are none. */
export function readLogTail(path: string, maxLines = 15, maxBytes = 8192): string {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return "";
  }
  try {
    const { size } = fstatSync(file);
    const buffer = Buffer.alloc(Math.min(size, maxBytes));
    const read = readSync(file, buffer, 0, buffer.length, size - buffer.length);
    const lines = buffer
      .toString("utf8", 0, read)
      .split("\n")
      .filter((line) => line.trim() !== "");
    return lines
      .slice(-maxLines)
      .map((line) => withoutControls(line).slice(0, 500))
      .join("\n");
  } catch {
    return "";
  } finally {
    closeSync(file);
  }
}

function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause === undefined ? "" : ` caused by ${describe(thrown.cause)}`;
  return `${thrown.stack ?? thrown.message}${cause}`;
}

/** One entry stays one line: nothing that is logged can pretend to be another entry. */
function toOneLine(text: string): string {
  return withoutControls(text.replace(/\r?\n\s*/g, " | ")).slice(0, 16_384);
}

function withoutControls(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, " ");
}
