/** What programs that we run ourselves have started: the hooks of a git, whose process is known to nobody else. */
import { readProcessTable } from "./process-table.ts";
import { signalProcess } from "./strays.ts";

/**
 * Signals every living process below the children of this one; not the children themselves, and nothing below those
 * in `sparedChildren` or below an engine. Answers how many were reached.
 */
export async function signalBelowChildren(
  signal: "SIGTERM" | "SIGKILL",
  sparedChildren: ReadonlySet<number>,
): Promise<number> {
  const table = await readProcessTable({ marks: "all" });
  const rows = [...table.values()].filter(({ isDead, marks }) => !isDead && marks?.engine == null);
  const reached = new Set<number>();
  let parents = new Set(
    rows.filter(({ pid, parentPid }) => parentPid === process.pid && !sparedChildren.has(pid)).map(({ pid }) => pid),
  );
  while (parents.size > 0) {
    const below = rows.filter(({ pid, parentPid }) => parents.has(parentPid) && !reached.has(pid));
    for (const row of below) {
      reached.add(row.pid);
      signalProcess(row, signal);
    }
    parents = new Set(below.map(({ pid }) => pid));
  }
  return reached.size;
}
