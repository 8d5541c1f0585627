import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { OutputLog } from "./output-log.ts";

/** Kept of the end of each stream, for exit reports. */
const TAIL_BYTES = 8 * 1024;

/**
 * Read from one stream before everybody else's events get their turn: a chunk, which a reader of short lines takes some
 * milliseconds for. Eight of them made quiet agents wait five times as long. What took so long then rests as long: a
 * flood has half of the engine's time at most.
 */
const BYTES_PER_TURN = 64 * 1024;

/** Shorter rests are not worth a timer. */
const LEAST_REST_MS = 1;

export interface OutputCaptureOptions {
  readonly stream: Readable;
  readonly log: OutputLog | null;
  /** Any output at all, before it is handed on. */
  readonly onOutput: () => void;
  /** UTF-8 decoded, never cut within a character. */
  readonly onText: ((text: string) => void) | undefined;
  /** What `onText` threw, the first time only: a reader's bug ends neither the child nor the engine. */
  readonly onReaderError: (error: unknown) => void;
}

/**
 * Reads one output stream to its end: hands it on, logs it, keeps the tail. Holds no more than a chunk and the log's
 * queue in memory however much comes: when the disk is behind it stops reading and the child waits, and a child that
 * floods is read in turns, so that quiet ones are heard.
 */
export class OutputCapture {
  readonly #options: OutputCaptureOptions;
  readonly #decoder = new StringDecoder("utf8");
  #tail: Buffer = Buffer.alloc(0);
  #bytesThisTurn = 0;
  #busyMs = 0;
  #hasReaderFailed = false;
  #isOver = false;
  #end: () => void = () => {};

  /** Resolves at the end of the stream, or when it is abandoned. Never rejects. */
  readonly ended: Promise<void>;

  constructor(options: OutputCaptureOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    const { stream } = options;
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("end", () => this.#finish());
    // A broken pipe says no more than that nothing else will come.
    stream.on("error", () => this.#finish());
    stream.on("close", () => this.#finish());
  }

  /** The last 8 KiB as text, beginning with a whole character. */
  tail(): string {
    const cut = this.#tail.findIndex((byte) => (byte & 0xc0) !== 0x80);
    return this.#tail.subarray(Math.max(0, cut)).toString("utf8");
  }

  /** Stops reading: whoever still holds the other end (a grandchild) is not waited for. */
  abandon(): void {
    this.#finish();
    this.#options.stream.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#isOver) return;
    const { stream, log, onOutput } = this.#options;
    const startMs = performance.now();
    onOutput();
    this.#keepTail(chunk);
    this.#hand(this.#decoder.write(chunk));
    const isLogReady = log?.write(chunk, () => this.#resume()) ?? true;
    this.#bytesThisTurn += chunk.length;
    this.#busyMs += performance.now() - startMs;
    if (!isLogReady) {
      stream.pause();
    } else if (this.#bytesThisTurn >= BYTES_PER_TURN) {
      stream.pause();
      if (this.#busyMs < LEAST_REST_MS) setImmediate(() => this.#resume());
      else setTimeout(() => this.#resume(), this.#busyMs);
    }
  }

  #resume(): void {
    this.#bytesThisTurn = 0;
    this.#busyMs = 0;
    if (!this.#isOver) this.#options.stream.resume();
  }

  #keepTail(chunk: Buffer): void {
    // Copied, so that 8 KiB don't hold a whole chunk in memory.
    this.#tail =
      chunk.length >= TAIL_BYTES
        ? Buffer.from(chunk.subarray(-TAIL_BYTES))
        : Buffer.concat([this.#tail.subarray(Math.max(0, this.#tail.length + chunk.length - TAIL_BYTES)), chunk]);
  }

  #hand(text: string): void {
    if (text === "") return;
    try {
      this.#options.onText?.(text);
    } catch (error) {
      if (!this.#hasReaderFailed) this.#options.onReaderError(error);
      this.#hasReaderFailed = true;
    }
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#hand(this.#decoder.end());
    this.#end();
  }
}
