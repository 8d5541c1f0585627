/**
 * Write claims: which globs may touch one path, and which paths a claim covers.
 *
 * Overlap is decided on the safe side: where two globs can't be compared exactly, they overlap. A pattern claims what
 * it matches and everything below, so `src` and `src/a.ts` overlap (a file can't be where a folder is). Letters are
 * compared without case, because two branches that differ in case alone collide on macOS.
 */
import picomatch from "picomatch";

/** Braces beyond this many alternatives are not expanded but taken as "anything". */
const MAX_ALTERNATIVES = 64;

/** True when some path could be claimed by both. */
export function claimsOverlap(left: readonly string[], right: readonly string[]): boolean {
  return left.some((one) => right.some((other) => globsOverlap(one, other)));
}

/** True when some path could be matched by, or lie below what is matched by, both globs. */
export function globsOverlap(left: string, right: string): boolean {
  if (left === right) return true;
  const rights = alternatives(right).map(segmentsOf);
  return alternatives(left).some((one) => {
    const segments = segmentsOf(one);
    return rights.some((other) => segmentsOverlap(segments, other));
  });
}

/** The paths that no pattern of the claim covers. */
export function pathsOutside(claim: readonly string[], paths: readonly string[]): string[] {
  const matchers = claim.map((pattern) => {
    const clean = pattern.replace(/^\.\//, "").replace(/\/+$/, "");
    return picomatch([clean, `${clean}/**`], { dot: true, nocase: true });
  });
  return paths.filter((path) => !matchers.some((matches) => matches(path)));
}

function segmentsOf(glob: string): string[] {
  return glob
    .normalize("NFC")
    .toLowerCase()
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".");
}

/** Expands `{a,b}`; what can't be expanded safely becomes `**`, which overlaps with everything. */
function alternatives(glob: string): string[] {
  // Extended globs, negation and escapes change what a pattern means in ways that segments can't tell.
  if (/[\\!]|[@+?*]\(/.test(glob)) return ["**"];
  let expanded = [glob];
  for (;;) {
    const next: string[] = [];
    let changed = false;
    for (const pattern of expanded) {
      const match = /^(.*?)\{([^{}]*)\}(.*)$/s.exec(pattern);
      if (match === null) {
        next.push(pattern);
        continue;
      }
      changed = true;
      const [, before = "", inside = "", after = ""] = match;
      if (!inside.includes(",")) next.push(`${before}*${after}`);
      else for (const choice of inside.split(",")) next.push(before + choice + after);
      if (next.length > MAX_ALTERNATIVES) return ["**"];
    }
    expanded = next;
    if (!changed) return expanded.some((pattern) => /[{}]/.test(pattern)) ? ["**"] : expanded;
  }
}

/**
 * Walks both lists at once; a state is a pair of positions. `**` stays or moves on. Reaching the end of either list is
 * enough: what lies below a claimed path is claimed too.
 */
function segmentsOverlap(left: readonly string[], right: readonly string[]): boolean {
  const seen = new Set<number>();
  const pairs: [number, number][] = [[0, 0]];
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [row, column] = pair;
    const one = left[row];
    const other = right[column];
    if (one === undefined || other === undefined) return true;
    const code = row * (right.length + 1) + column;
    if (seen.has(code)) continue;
    seen.add(code);
    if (one === "**" || other === "**") {
      pairs.push([row + 1, column], [row, column + 1]);
    }
    if (one === "**" || other === "**" || segmentOverlaps(one, other)) pairs.push([row + 1, column + 1]);
  }
  return false;
}

/** Whether one name could match both segments (`*`, `?` and classes; a class is taken as any one character). */
function segmentOverlaps(left: string, right: string): boolean {
  if (!/[*?[\]]/.test(left) && !/[*?[\]]/.test(right)) return left === right;
  const ones = tokens(left);
  const others = tokens(right);
  const seen = new Set<number>();
  const pairs: [number, number][] = [[0, 0]];
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [row, column] = pair;
    if (row === ones.length && column === others.length) return true;
    const code = row * (others.length + 1) + column;
    if (seen.has(code)) continue;
    seen.add(code);
    const one = ones[row];
    const other = others[column];
    if (one === "*") pairs.push([row + 1, column]);
    if (other === "*") pairs.push([row, column + 1]);
    if (one === undefined || other === undefined) continue;
    if (one === "*") pairs.push([row, column + 1]);
    else if (other === "*") pairs.push([row + 1, column]);
    else if (one === "?" || other === "?" || one === other) pairs.push([row + 1, column + 1]);
  }
  return false;
}

function tokens(segment: string): string[] {
  const list: string[] = [];
  for (let index = 0; index < segment.length; index += 1) {
    const character = segment[index] ?? "";
    if (character === "[") {
      const end = segment.indexOf("]", index + 2);
      if (end === -1) return ["*"];
      list.push("?");
      index = end;
    } else if (character !== "*" || list.at(-1) !== "*") {
      list.push(character);
    }
  }
  return list;
}
