/**
 * Whether the log (`-wal`) that a killed engine left still has all that was committed to it.
 *
 * SQLite takes a log up to the first frame whose checksum does not fit, and drops the rest without a word: right after
 * a kill or a power cut, where that rest was never committed. It does the same with a log that was overwritten, cut
 * short, removed or exchanged, and then plans that ended are not known any more or run again. How far commits went is
 * told by the index of the log (`-shm`), which SQLite writes after it has synced them, and rebuilds at the next start.
 *
 * The index is not synced itself. After a power cut it may be older than the log, so it counts only where this boot wrote
 * it, and never against a later generation of the log.
 *
 * Layouts: https://www.sqlite.org/walformat.html. Only for a file that no connection of this process is open on:
 * closing a descriptor would drop its locks (POSIX).
 */
import { readFileSync, statSync } from "node:fs";
import { uptime } from "node:os";

const FORMAT = 3_007_000;
const INDEX_COPY_BYTES = 48;
const INDEX_BYTES = 2 * INDEX_COPY_BYTES + 4;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC = 0x377f0682;
/** Far more than between two looks of the system at what is to be written out. */
const MOST_GENERATIONS = 100_000;

interface Committed {
  readonly frames: number;
  /** Those that are in the file as well. */
  readonly framesInFile: number;
  readonly salts: Buffer;
}

/** What is missing from the log of the file, in words; null: nothing, or it can't be told. Reads the whole log. */
export function missingFromLog(file: string, bootedAtMs = Date.now() - uptime() * 1000): string | null {
  // Opening it first makes the index anew, which sets this time even where writing to mapped memory does not.
  const writtenAtMs = statSync(`${file}-shm`, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (writtenAtMs < bootedAtMs) return null;
  const missing = look(file);
  // Another program that has the file open may fold the log in and remove it while we look.
  return missing === null ? null : look(file);
}

function look(file: string): string | null {
  const committed = committedBy(read(`${file}-shm`));
  if (committed === null || committed.frames === 0) return null;
  const log = read(`${file}-wal`);
  if (isLaterGeneration(log, committed)) return null;
  const whole = wholeFrames(log, committed);
  if (whole >= committed.frames) return null;
  // Folded in and gone: so a connection that closes last leaves it, for a moment.
  if (whole === 0 && committed.framesInFile === committed.frames) return null;
  const found = log.length === 0 ? "is gone or empty" : `has ${whole} of them`;
  return `${committed.frames} pages were committed to its log, which ${found}`;
}

function committedBy(index: Buffer): Committed | null {
  if (index.length < INDEX_BYTES) return null;
  // Written one after the other: they differ when a kill came between, or the power went.
  const copy = index.subarray(0, INDEX_COPY_BYTES);
  if (!copy.equals(index.subarray(INDEX_COPY_BYTES, 2 * INDEX_COPY_BYTES))) return null;
  // In the machine's own byte order, save the salts, which are copied from the log.
  const number = (at: number): number => new DataView(index.buffer, index.byteOffset).getUint32(at, isLittle);
  if (number(0) !== FORMAT || copy[12] !== 1) return null;
  const framesInFile = number(2 * INDEX_COPY_BYTES);
  return { frames: number(16), framesInFile, salts: copy.subarray(32, 40) };
}

/** Each time SQLite begins the log anew it adds one to the first salt. */
function isLaterGeneration(log: Buffer, { salts }: Committed): boolean {
  if (log.length < LOG_HEADER_BYTES) return false;
  const generations = (log.readUInt32BE(16) - salts.readUInt32BE(0)) >>> 0;
  return generations > 0 && generations < MOST_GENERATIONS && readHeader(log) !== null;
}

/** The checksum so far, ready for the first frame; null when the header is not as it was written. */
function readHeader(log: Buffer): Checksum | null {
  const magic = log.readUInt32BE(0);
  const sum = new Checksum((magic & 1) === 0);
  sum.add(log.subarray(0, 24));
  return magic >>> 1 === MAGIC >>> 1 && sum.isAt(log, 24) ? sum : null;
}

/** Frames from the beginning on whose salts and checksums are as they were written. Stops counting at what is wanted. */
function wholeFrames(log: Buffer, { frames, salts }: Committed): number {
  const sum = log.length < LOG_HEADER_BYTES ? null : readHeader(log);
  if (sum === null || !log.subarray(16, 24).equals(salts)) return 0;
  const pageBytes = log.readUInt32BE(8);
  for (let count = 0; ; count += 1) {
    const at = LOG_HEADER_BYTES + count * (FRAME_HEADER_BYTES + pageBytes);
    const page = log.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + pageBytes);
    if (count === frames || page.length < pageBytes || pageBytes === 0) return count;
    sum.add(log.subarray(at, at + 8));
    sum.add(page);
    if (!sum.isAt(log, at + 16) || !log.subarray(at + 8, at + 16).equals(salts)) return count;
  }
}

/** SQLite's own, over all bytes so far. */
class Checksum {
  readonly #isLittle: boolean;
  #first = 0;
  #second = 0;

  constructor(isLittleEndian: boolean) {
    this.#isLittle = isLittleEndian;
  }

  add(bytes: Buffer): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let [first, second] = [this.#first, this.#second];
    for (let at = 0; at + 8 <= bytes.length; at += 8) {
      first = (first + view.getUint32(at, this.#isLittle) + second) >>> 0;
      second = (second + view.getUint32(at + 4, this.#isLittle) + first) >>> 0;
    }
    [this.#first, this.#second] = [first, second];
  }

  /** Whether it stands there, most significant byte first as all of the log's own numbers. */
  isAt(log: Buffer, at: number): boolean {
    return log.readUInt32BE(at) === this.#first && log.readUInt32BE(at + 4) === this.#second;
  }
}

const isLittle = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Empty when it is not there or can't be read: then opening says why. */
function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}
