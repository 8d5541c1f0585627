/** How many files a process may have open, and how many an engine needs. */
import { readFileSync } from "node:fs";

/** Measured: an engine that loads its code needs up to 150 at once (Node reads modules side by side). */
export const LEAST_DESCRIPTORS = 192;

/** With fewer than this, agents wait for each other's descriptors. */
export const GOOD_DESCRIPTORS = 512;

/** The limit of this process, which Node has raised as far as it may; null when the system does not tell. */
export function mostDescriptors(): number | null {
  try {
    // proc(5): name, soft limit, hard limit, unit. Node raises the soft one to the hard one at its start.
    const found = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    if (found === undefined) return null;
    return found === "unlimited" ? Infinity : Number(found);
  } catch {
    return null;
  }
}
