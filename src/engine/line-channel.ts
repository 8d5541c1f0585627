/**
 * Lines over a socket, the same on both ends. Nothing is lost between two readers: lines that come while nobody listens
 * are kept, and a socket that closed meanwhile is told to the next listener.
 */
import type { Socket } from "node:net";
import { createLineSplitter } from "./lines.ts";

/**
 * How much may wait to be sent before we stop reading from the one who does not read us. Generous: with less, two
 * programs that only write at the moment would wait for each other for good.
 */
export const BUFFER_LIMIT_BYTES = 8 * 1024 * 1024;

export interface LineListener {
  readonly onLine: (line: string) => void;
  /** The line was longer than the cap; the channel goes on with the next one unless it is closed here. */
  readonly onOversized: () => void;
  /** Once, however the connection ended. Nothing comes after it. */
  readonly onClose: () => void;
}

export type LineEnd = "closed" | "oversized" | "timed-out";

export class LineChannel {
  /** In bytes; may be raised once the other end is known. */
  maxLineBytes: number;
  readonly #socket: Socket;
  #listener: LineListener | null = null;
  #kept: (string | null)[] = [];
  #isClosed = false;
  readonly #pauses = new Set<string>();

  constructor(socket: Socket, maxLineBytes: number) {
    this.#socket = socket;
    this.maxLineBytes = maxLineBytes;
    const split = createLineSplitter({
      maxLineBytes: () => this.maxLineBytes,
      onLine: (line) => this.#deliver(line),
      onOversized: () => this.#deliver(null),
    });
    socket.on("data", (chunk: Buffer) => {
      if (!this.#isClosed) split(chunk);
    });
    // Told by "close", which always follows.
    socket.on("error", () => undefined);
    socket.on("close", () => this.#close());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Bytes that wait to be sent. */
  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  /** From now on `listener` hears everything, beginning with what was kept. */
  listen(listener: LineListener): void {
    this.#listener = listener;
    const kept = this.#kept;
    this.#kept = [];
    // A listener that is done within its first line leaves the rest to the next one.
    for (const line of kept) this.#deliver(line);
    if (this.#isClosed && this.#kept.length === 0) this.#tellClose();
  }

  /** The next line alone; what follows it is kept for the next listener. For the handshake, before anyone listens. */
  readLine(timeoutMs: number): Promise<{ readonly line: string } | { readonly ended: LineEnd }> {
    return new Promise((resolve) => {
      const settle = (result: { readonly line: string } | { readonly ended: LineEnd }): void => {
        clearTimeout(timer);
        this.#listener = null;
        resolve(result);
      };
      const timer = setTimeout(() => settle({ ended: "timed-out" }), timeoutMs);
      this.listen({
        onLine: (line) => settle({ line }),
        onOversized: () => settle({ ended: "oversized" }),
        onClose: () => settle({ ended: "closed" }),
      });
    });
  }

  /** Sends one line; `text` holds no line feed. After the end it does nothing. */
  send(text: string): void {
    if (this.#isClosed || !this.#socket.writable) return;
    this.#socket.write(`${text}\n`);
    if (this.#socket.writableLength > BUFFER_LIMIT_BYTES) {
      this.pause("unsent");
      void this.whenSent().then(() => this.resume("unsent"));
    }
  }

  /** Resolves when all that was sent has left this process, or the channel closed. */
  whenSent(): Promise<void> {
    if (this.#isClosed || this.#socket.writableLength === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off("drain", done);
        this.#socket.off("close", done);
        resolve();
      };
      this.#socket.on("drain", done);
      this.#socket.on("close", done);
    });
  }

  /** Stops reading until every `reason` that paused it was resumed. Lines already read still come. */
  pause(reason: string): void {
    this.#pauses.add(reason);
    this.#socket.pause();
  }

  resume(reason: string): void {
    this.#pauses.delete(reason);
    if (this.#pauses.size === 0) this.#socket.resume();
  }

  /** Sends what waits, then closes; a peer that does not take it within `graceMs` is cut off. */
  end(graceMs = 1000): void {
    if (this.#isClosed) return;
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), graceMs);
    timer.unref();
    this.#socket.once("close", () => clearTimeout(timer));
    this.#socket.resume();
  }

  /** Closes at once; what waits to be sent is dropped. */
  destroy(): void {
    this.#socket.destroy();
  }

  #deliver(line: string | null): void {
    if (this.#listener === null) {
      this.#kept.push(line);
      return;
    }
    if (line === null) this.#listener.onOversized();
    else this.#listener.onLine(line);
  }

  #close(): void {
    this.#isClosed = true;
    this.#tellClose();
  }

  #tellClose(): void {
    const listener = this.#listener;
    this.#listener = null;
    listener?.onClose();
  }
}
