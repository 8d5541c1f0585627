/**
 * Where the open state lies. SQLite goes on in a file that was removed or exchanged under it, and all that it writes
 * is gone with the last descriptor: who holds it open looks now and then, and keeps a copy.
 */
import { statSync } from "node:fs";

export class FilePlace {
  readonly #file: string;
  readonly #inode: number | null;
  readonly #logInode: number | null;

  /** Of a file that is open for writing, so that its log is there too. */
  constructor(file: string) {
    this.#file = file;
    this.#inode = inodeAt(file);
    this.#logInode = inodeAt(logOf(file));
  }

  /** False once the file or its log is gone or another one stands in its place. Where it can't be told: true. */
  get isWhole(): boolean {
    return this.hasFile && isAt(logOf(this.#file), this.#logInode);
  }

  /** As `isWhole`, of the file alone: a log that is gone is folded into it at the close. */
  get hasFile(): boolean {
    return isAt(this.#file, this.#inode);
  }
}

function logOf(file: string): string {
  return `${file}-wal`;
}

function isAt(path: string, inode: number | null): boolean {
  try {
    return inodeAt(path) === inode;
  } catch {
    return true;
  }
}

function inodeAt(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
