import { mkdirSync } from "node:fs";

/**
 * Makes a folder, and those above it that are missing. Throws what the system says. Not Node's promise of the same
 * (20.20): on a disk that has no room for more files it says ENOENT instead of ENOSPC.
 */
export function makeFolder(path: string, mode?: number): void {
  mkdirSync(path, { recursive: true, ...(mode === undefined ? {} : { mode }) });
}
