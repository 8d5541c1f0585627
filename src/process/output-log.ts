/**
 * A stream's raw bytes on disk, never more than a given size: the first half as it came, and of the rest the newest.
 *
 * `stdout.log` holds the head. What follows goes to segments named by the byte they begin at (`stdout.4194304.log`);
 * the two newest stay. So the disk is bounded while a process floods, the tail is there after a crash at any moment,
 * and what was left out can be told to the byte. Files of an earlier run in the same folder move to `previous/`.
 */
import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { open, readFile, readdir, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

export type OutputStreamName = "stdout" | "stderr";

/** Waiting for the disk. Above this the reader pauses, so the child waits and not our memory. */
const LONGEST_QUEUE_BYTES = 1024 * 1024;

const FILE_NAME = /^(stdout|stderr)(?:\.(\d+))?\.log$/;

/** Makes the folder (mode 0700) ready for a new run. Throws what the file system says. */
export function prepareOutputFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const earlier = readdirSync(folder).filter((name) => FILE_NAME.test(name));
  if (earlier.length === 0) return;
  const previous = join(folder, "previous");
  rmSync(previous, { recursive: true, force: true });
  mkdirSync(previous, { mode: 0o700 });
  for (const name of earlier) renameSync(join(folder, name), join(previous, name));
}

export interface OutputLogOptions {
  readonly folder: string;
  readonly name: OutputStreamName;
  readonly maxBytes: number;
  /** Called once; after that nothing more is written and nothing waits for the disk. */
  readonly onError: (error: unknown) => void;
}

export class OutputLog {
  readonly #options: OutputLogOptions;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #writing: Promise<void> | null = null;
  #file: FileHandle | null = null;
  #offset = 0;
  #leftInFile = 0;
  /** Newest last; the head is not among them. */
  #segments: string[] = [];
  #hasFailed = false;
  #onDrain: (() => void) | null = null;

  constructor(options: OutputLogOptions) {
    this.#options = options;
  }

  /** Takes a chunk. False: the disk is behind; read on when `onDrain` is called, which happens once. */
  write(chunk: Buffer, onDrain: () => void): boolean {
    if (this.#hasFailed) return true;
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    this.#writing ??= this.#writeQueue();
    if (this.#queuedBytes <= LONGEST_QUEUE_BYTES) return true;
    this.#onDrain = onDrain;
    return false;
  }

  /** Writes what is queued and closes. Never throws. */
  async close(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    const file = this.#file;
    this.#file = null;
    await file?.close().catch(this.#options.onError);
  }

  async #writeQueue(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const bytes = Buffer.concat(this.#queue);
        this.#queue = [];
        await this.#append(bytes);
        this.#queuedBytes -= bytes.length;
        if (this.#queuedBytes <= LONGEST_QUEUE_BYTES) this.#tellDrained();
      }
    } catch (error) {
      this.#hasFailed = true;
      this.#queue = [];
      this.#queuedBytes = 0;
      this.#options.onError(error);
    }
    this.#writing = null;
    this.#tellDrained();
  }

  #tellDrained(): void {
    const tell = this.#onDrain;
    this.#onDrain = null;
    tell?.();
  }

  async #append(bytes: Buffer): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#leftInFile === 0) await this.#openNext();
      const piece = rest.subarray(0, this.#leftInFile);
      await this.#file?.writeFile(piece);
      this.#leftInFile -= piece.length;
      this.#offset += piece.length;
      rest = rest.subarray(piece.length);
    }
  }

  async #openNext(): Promise<void> {
    const { folder, name, maxBytes } = this.#options;
    await this.#file?.close();
    this.#file = null;
    const isHead = this.#offset === 0;
    if (!isHead && this.#segments.length === 2) await rm(this.#segments.shift() ?? "", { force: true });
    const path = join(folder, isHead ? `${name}.log` : `${name}.${this.#offset}.log`);
    this.#file = await open(path, "w", 0o600);
    if (!isHead) this.#segments.push(path);
    this.#leftInFile = Math.max(1, Math.floor(maxBytes / (isHead ? 2 : 4)));
  }
}

/**
 * The text kept of a stream, with a line that says how much was left out between head and tail. Also while it is being
 * written. Empty when there is none.
 */
export async function readOutputLog(folder: string, name: OutputStreamName): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const files = names
    .map((file) => ({ file, match: FILE_NAME.exec(file) }))
    .filter(({ match }) => match?.[1] === name)
    .map(({ file, match }) => ({ file, offset: Number(match?.[2] ?? 0) }))
    .toSorted((one, other) => one.offset - other.offset);
  let text = "";
  let nextOffset = 0;
  let run: Buffer[] = [];
  for (const { file, offset } of files) {
    // Gone since the listing: the newest segment took its place.
    const bytes = await readFile(join(folder, file)).catch(() => null);
    if (bytes === null) continue;
    if (offset > nextOffset) {
      text += `${Buffer.concat(run).toString("utf8")}\n[… ${offset - nextOffset} bytes were left out here …]\n`;
      run = [];
    }
    run.push(bytes);
    nextOffset = offset + bytes.length;
  }
  return text + Buffer.concat(run).toString("utf8");
}
