/** Who holds what and who asked first, in the simulation's own words; the board's comparison of globs is not asked. */
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";

interface Claim {
  readonly target: string;
  readonly writes: readonly string[];
}

export interface ClaimBook {
  holders: Map<TaskKey, Claim>;
  /** Who asked for claims and did not get them, in the order of asking. */
  line: Map<TaskKey, Claim>;
}

export type Overlap = (left: readonly string[], right: readonly string[]) => boolean;

/** All whom `task` has to wait for: those who asked before, and holders. */
export function blockersOf(
  { holders, line }: ClaimBook,
  task: TaskRecord,
  target: string,
  overlaps: Overlap,
): TaskKey[] {
  const key = taskKey(task);
  const wanted = task.spec.writes ?? [];
  const before = [...line.keys()].slice(0, Math.max(0, [...line.keys()].indexOf(key)));
  const claims = [...before.map((other) => [other, line.get(other)] as const), ...holders];
  return claims.flatMap(([other, claim]) =>
    claim !== undefined && other !== key && claim.target === target && overlaps(claim.writes, wanted) ? [other] : [],
  );
}

/** Whom `task` has to wait for: one who asked before, or a holder; undefined when nobody. */
export function blockerOf(
  { holders, line }: ClaimBook,
  task: TaskRecord,
  target: string,
  overlaps: Overlap,
): TaskKey | undefined {
  const key = taskKey(task);
  const wanted = task.spec.writes ?? [];
  if (wanted.length === 0) return undefined;
  for (const [other, claim] of line) {
    if (other === key) break;
    if (claim.target === target && overlaps(claim.writes, wanted)) return other;
  }
  for (const [other, claim] of holders) {
    if (other !== key && claim.target === target && overlaps(claim.writes, wanted)) return other;
  }
  return undefined;
}

/** The simulation's globs and files that each of them covers, by hand: the board's own comparison is not asked. */
export const FILES_OF: Readonly<Record<string, readonly string[]>> = {
  "src/**": ["src/a.ts", "src/b.ts", "src/c.md"],
  "src/a.ts": ["src/a.ts"],
  "src/*.ts": ["src/a.ts", "src/b.ts"],
  "docs/**": ["docs/a.md", "docs/b"],
  "lib/{x,y}/*": ["lib/x/f", "lib/y/f.md"],
  "**/*.md": ["src/c.md", "docs/a.md", "lib/y/f.md", "README.md"],
};

/** True when some file is covered by both. */
export function shareAFile(left: readonly string[], right: readonly string[]): boolean {
  return left.some((one) => right.some((other) => FILES_OF[one]?.some((file) => FILES_OF[other]?.includes(file))));
}
