/**
 * Watches the room on the disks that an engine writes to, so that a full one is met before it is met by a commit.
 *
 * Two levels. Less than `engine.minFreeMegabytes` on any of them: nothing new is started, what runs goes on. Less than
 * LEAST_BYTES on the state's own disk: soon no end could be written down any more, so agents are stopped while it still
 * can. For those last words a reserve lies beside the state and is given up at that moment.
 *
 * Always true: looking makes nothing but the reserve; a disk whose room can't be told is taken for roomy (the failure
 * itself tells then, see `machine-limits.ts`).
 */
import { accessSync, closeSync, constants, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { randomFillSync } from "node:crypto";
import { dirname, join } from "node:path";

export interface DiskPlace {
  /** What lies there, in words: "the state", "worktrees". */
  readonly what: string;
  readonly path: string;
}

/** For the ends of all agents and the log of the store, which is cut back at 4 MB. */
const RESERVE_BYTES = 4 * 1024 * 1024;
/** With less than this on its disk the state is as good as full. */
const LEAST_BYTES = 1024 * 1024;
/** A file, an index entry and a log are made for each attempt. */
const LEAST_FILES = 64;

export interface Room {
  /** Which disk lacks what, and what to do; null: nothing is lacking. */
  readonly shortage: string | null;
  /** The state can hardly be written any more. */
  readonly isCritical: boolean;
}

/** Where an engine and its agents write; the state's first. */
export function diskPlaces(commonDir: string, worktreesRoot: string): DiskPlace[] {
  return [
    { what: "the state", path: join(commonDir, "orchestrator") },
    { what: "git's objects", path: join(commonDir, "objects") },
    { what: "worktrees", path: worktreesRoot },
  ];
}

export class DiskRoom {
  readonly #places: readonly DiskPlace[];
  readonly #stateDir: string;
  readonly #minFreeBytes: () => number;
  #room: Room = { shortage: null, isCritical: false };

  /** `minFreeBytes` is read at each look. */
  constructor(stateDir: string, places: readonly DiskPlace[], minFreeBytes: () => number) {
    this.#stateDir = stateDir;
    this.#places = places;
    this.#minFreeBytes = minFreeBytes;
  }

  get room(): Room {
    return this.#room;
  }

  /** False when not even the reserve, which a look gave up, is room enough for what a start writes. */
  get canBegin(): boolean {
    return (roomAt(this.#stateDir)?.bytes ?? Infinity) >= LEAST_BYTES;
  }

  /** Looks again. Some microseconds a disk. Never throws. */
  look(): void {
    const shortages = this.#places.map((place) => shortageAt(place, this.#minFreeBytes()));
    this.#room = { ...this.#room, shortage: shortages.find((words) => words !== null) ?? null };
    if (this.#isStateShort()) this.#giveReserveUp();
    else {
      this.#room = { ...this.#room, isCritical: false };
      this.#keepReserve();
    }
  }

  /** Before each write of the state: gives the reserve up when it is needed. Never throws. */
  secure(): void {
    if (!this.#room.isCritical && this.#isStateShort()) this.#giveReserveUp();
  }

  /** The engine leaves: the reserve is of no use to anybody then. */
  close(): void {
    this.#removeReserve();
  }

  get #reserve(): string {
    return join(this.#stateDir, "reserve");
  }

  /** Once it was short, the reserve must fit again before it counts as roomy. */
  #isStateShort(): boolean {
    const free = roomAt(this.#stateDir);
    return free !== null && free.bytes < (this.#room.isCritical ? LEAST_BYTES + 2 * RESERVE_BYTES : LEAST_BYTES);
  }

  #giveReserveUp(): void {
    this.#removeReserve();
    const full = `the disk of the state is full (${this.#stateDir}): free some space`;
    this.#room = { shortage: this.#room.shortage ?? full, isCritical: true };
  }

  #removeReserve(): void {
    try {
      rmSync(this.#reserve, { force: true });
    } catch {
      // A file system that is read-only by now: a commit says so.
    }
  }

  #keepReserve(): void {
    if (statSync(this.#reserve, { throwIfNoEntry: false })?.size === RESERVE_BYTES) return;
    const free = roomAt(this.#stateDir);
    if (free === null || free.bytes < LEAST_BYTES + 2 * RESERVE_BYTES) return;
    try {
      const file = openSync(this.#reserve, "w", 0o600);
      try {
        // Random, for a file system that packs or leaves out zeros would give nothing back.
        const piece = randomFillSync(Buffer.alloc(256 * 1024));
        for (let bytes = 0; bytes < RESERVE_BYTES; bytes += piece.length) writeSync(file, piece);
      } finally {
        closeSync(file);
      }
    } catch {
      this.#removeReserve();
    }
  }
}

/** What one place lacks, in words; null: nothing. */
export function shortageAt({ what, path }: DiskPlace, minFreeBytes: number): string | null {
  const found = existing(path);
  try {
    accessSync(found, constants.W_OK);
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "EROFS") {
      return `the disk of ${what} is mounted read-only (${path}): mount it for writing`;
    }
  }
  const room = roomAt(found);
  if (room === null) return null;
  if (room.bytes < minFreeBytes) {
    const least = `${megabytes(minFreeBytes)} MB (engine.minFreeMegabytes)`;
    return `the disk of ${what} has ${megabytes(room.bytes)} MB left, less than ${least} (${path}): free some space`;
  }
  if (minFreeBytes > 0 && room.files < LEAST_FILES) {
    return `the disk of ${what} has no room for more files, only for bytes (${path}; \`df -i\`): remove some files`;
  }
  return null;
}

/** What this user may still use; null when the system does not tell. */
function roomAt(path: string): { readonly bytes: number; readonly files: number } | null {
  try {
    const { bavail, bfree, bsize, files, ffree } = statfsSync(path);
    const blocks = process.getuid?.() === 0 ? bfree : bavail;
    // Some file systems (btrfs) count no files.
    return { bytes: blocks * bsize, files: files === 0 ? Infinity : ffree };
  } catch {
    return null;
  }
}

/** The path itself, or the nearest folder above that is there: it is made on that disk. */
function existing(path: string): string {
  for (let folder = path; ; folder = dirname(folder)) {
    if (statSync(folder, { throwIfNoEntry: false }) !== undefined || folder === dirname(folder)) return folder;
  }
}

function megabytes(bytes: number): string {
  const exact = bytes / (1024 * 1024);
  return exact < 10 ? exact.toFixed(1).replace(/\.0$/, "") : String(Math.floor(exact));
}
