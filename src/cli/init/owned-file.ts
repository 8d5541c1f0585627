/** Files that `init` changes: read whole, changed in one step, and only if they are still what was looked at. */
import { existsSync, rmdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { readTextFile, realPathSoFar, writeFileAtomically } from "../../config/files.ts";
import { sha256Of } from "../../config/trust.ts";
import { AppError } from "../../errors.ts";

/** Claude Code's file holds the history of all projects. */
const MAX_BYTES = 256 * 1024 * 1024;

/** The whole text, a byte order mark included; null when there is no file. Throws CONFIG_INVALID. */
export function readWhole(path: string): string | null {
  const file = readTextFile(path, MAX_BYTES);
  return file === null ? null : `${file.hasMark ? "\uFEFF" : ""}${file.text}`;
}

/** Null for no file. */
export function hashOf(text: string | null): string | null {
  return text === null ? null : sha256Of(text);
}

/** Links stay links. `mode` is for a new file. Throws STATE_UNUSABLE when somebody changed the file meanwhile. */
export async function replaceWhole(path: string, before: string | null, after: string, mode: number): Promise<void> {
  refuseChanged(path, before);
  await writeFileAtomically(realPathSoFar(path), after, mode);
}

/** Also takes away `folders` (outermost first) that are empty now. */
export async function removeWhole(path: string, before: string, folders: readonly string[]): Promise<void> {
  refuseChanged(path, before);
  await rm(path);
  removeEmptyFolders(folders);
}

export function removeEmptyFolders(folders: readonly string[]): void {
  for (const folder of folders.toReversed()) {
    try {
      rmdirSync(folder);
    } catch {
      // Somebody put something there: it stays.
      return;
    }
  }
}

/** Folders that writing `path` makes, outermost first. */
export function missingFolders(path: string): string[] {
  const missing: string[] = [];
  for (let folder = dirname(path); !existsSync(folder); folder = dirname(folder)) missing.unshift(folder);
  return missing;
}

function refuseChanged(path: string, before: string | null): void {
  if (hashOf(readWhole(path)) === hashOf(before)) return;
  throw new AppError("STATE_UNUSABLE", `${path} changed meanwhile. Nothing was done to it; try again.`, {
    details: { path },
  });
}
