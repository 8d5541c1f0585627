/**
 * Write claims: which globs may touch one path, and which paths a claim covers.
 *
 * Overlap is decided on the safe side: where two globs can't be compared exactly, they overlap. A pattern claims what
 * it matches and everything below, so `src` and `src/a.ts` overlap (a file can't be where a folder is). Letters are
 * compared without case, because two branches that differ in case alone collide on macOS. Time is bounded by the
 * lengths multiplied, whatever the globs are: no regular expression is made of a glob that could run away.
 */
import picomatch from "picomatch";

/** Braces and classes beyond this many alternatives are not expanded but taken as "anything". */
const MAX_ALTERNATIVES = 64;
/** A longer glob is taken as "anything"; a plan can't hold one. */
const MAX_GLOB_CHARACTERS = 1024;
/** Globs read before; a plan of thousands of tasks compares the same few again and again. */
const MAX_KNOWN_GLOBS = 10_000;

/** True when some path could be claimed by both. */
export function claimsOverlap(left: readonly string[], right: readonly string[]): boolean {
  return left.some((one) => right.some((other) => globsOverlap(one, other)));
}

/** True when some path could be matched by, or lie below what is matched by, both globs. */
export function globsOverlap(left: string, right: string): boolean {
  if (left === right) return true;
  const rights = readGlob(right).alternatives;
  return readGlob(left).alternatives.some((one) => rights.some((other) => segmentsOverlap(one, other)));
}

/** The paths that no pattern of the claim covers. Where that can't be told in bounded time, a path counts as covered. */
export function pathsOutside(claim: readonly string[], paths: readonly string[]): string[] {
  const covers = claim.map(coverOf);
  return paths.filter((path) => {
    const folded = fold(path);
    return !covers.some((isCovered) => isCovered(folded));
  });
}

/**
 * The literal beginnings of what a claim matches, as lists of names. Where no beginning of one claim leads to one of
 * another, the two do not overlap.
 */
export function claimBeginnings(claim: readonly string[]): readonly (readonly string[])[] {
  const beginnings = new Map<string, readonly string[]>();
  for (const pattern of claim) {
    for (const segments of readGlob(pattern).alternatives) {
      const end = segments.findIndex((segment) => /[*?]/.test(segment));
      const names = end === -1 ? segments : segments.slice(0, end);
      beginnings.set(names.join("/"), names);
    }
  }
  return [...beginnings.values()];
}

interface Glob {
  /** What it may match, at least; segments hold no special characters but `*`, `?` and, alone, `**`. */
  readonly alternatives: readonly (readonly string[])[];
  /** True when the alternatives match just what the glob matches, and nothing else. */
  readonly isExact: boolean;
}

const ANYTHING: Glob = { alternatives: [["**"]], isExact: false };

const knownGlobs = new Map<string, Glob>();

function readGlob(glob: string): Glob {
  let known = knownGlobs.get(glob);
  if (known === undefined) {
    if (knownGlobs.size >= MAX_KNOWN_GLOBS) knownGlobs.clear();
    knownGlobs.set(glob, (known = readUnknownGlob(glob)));
  }
  return known;
}

function readUnknownGlob(glob: string): Glob {
  if (glob.length > MAX_GLOB_CHARACTERS) return ANYTHING;
  // Extended globs, negation, escapes, quotes, "or" and repetition change what a pattern means in ways that segments
  // can't tell. `**` inside braces may cross segments where the text that it stands in would not.
  if (/[\\!"|]|[@+?*]\(|[)\]}]\+|\*\*[^/]*[{}]|[{}][^/]*\*\*/.test(glob)) return ANYTHING;
  // Two dots in braces are a range, whatever else is in them.
  if (/\{(?!\w+\.\.\w+\})[^{}]*\.\./.test(glob)) return ANYTHING;
  const texts = expandBraces(glob);
  if (texts === null) return ANYTHING;
  const alternatives: string[][] = [];
  for (const text of texts) {
    let lists: string[][] = [[]];
    for (const segment of fold(text).split("/")) {
      if (segment === "" || segment === ".") continue;
      const choices = readSegment(segment);
      if (choices === null) return ANYTHING;
      lists = choices.flatMap((choice) => lists.map((list) => [...list, choice]));
      if (alternatives.length + lists.length > MAX_ALTERNATIVES) return ANYTHING;
    }
    alternatives.push(...lists);
  }
  return { alternatives, isExact: !/[[\]()]|\{[^{},]*\}|[^/]\*\*|\*\*[^/]/.test(glob) };
}

/** Expands `{a,b}`; null when that is too much or the braces do not pair. */
function expandBraces(glob: string): string[] | null {
  let expanded = [glob];
  for (;;) {
    const next: string[] = [];
    let hasChanged = false;
    for (const pattern of expanded) {
      const match = /^([^{]*(?:\{[^{}]*(?=\{)[^{]*)*)\{([^{}]*)\}(.*)$/s.exec(pattern);
      if (match === null) {
        next.push(pattern);
        continue;
      }
      hasChanged = true;
      const [, before = "", inside = "", after = ""] = match;
      // A range or a lone word in braces: some name or part of one.
      if (!inside.includes(",")) next.push(`${before}*${after}`);
      else for (const choice of inside.split(",")) next.push(before + choice + after);
      if (next.length > MAX_ALTERNATIVES) return null;
    }
    expanded = next;
    if (!hasChanged) return expanded.some((pattern) => /[{}]/.test(pattern)) ? null : expanded;
  }
}

/** A segment without classes and groups, in more than one way where it can be read so; null: it may be anything. */
function readSegment(segment: string): string[] | null {
  if (/[()]/.test(segment)) {
    // A group, or a folder that is named so (`app/(auth)`): some name, where it begins and ends in this segment.
    const isClosed = /^[^()]*(?:\([^()]*\)[^()]*)+$/.test(segment);
    return isClosed && !/\*\*|\[/.test(segment) ? ["*"] : null;
  }
  // `**.ts` and `a**` cross segments here and there.
  if (segment.includes("**")) return segment.includes("[") ? null : ["**"];
  if (!/[[\]]/.test(segment)) return [segment];
  // A simple class is any one character, or itself (`app/[id]`).
  if (/^[^[\]]*(?:\[[^[\]^][^[\]]*\][^[\]]*)$/.test(segment)) return [segment.replace(/\[[^[\]]*\]/, "?"), segment];
  const first = segment.indexOf("[");
  const last = segment.lastIndexOf("]");
  // A class that is not closed in its segment may go on in the next.
  return first !== -1 && first < last ? [`${segment.slice(0, first)}*${segment.slice(last + 1)}`] : null;
}

/** Without case, in both directions: `ς` and `σ` have one capital, `K` (Kelvin) and `K` one small letter. */
function fold(text: string): string {
  // What is only ASCII is the same in every normal form.
  return isAscii(text) ? text.toUpperCase() : text.normalize("NFC").toLowerCase().toUpperCase().normalize("NFC");
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

/**
 * Walks both lists at once; a state is a pair of positions. `**` stays or moves on. Reaching the end of either list is
 * enough: what lies below a claimed path is claimed too.
 */
function segmentsOverlap(left: readonly string[], right: readonly string[]): boolean {
  return walk(left, right, (row, column) => row === left.length || column === right.length);
}

/** Whether `path` is matched by `pattern` or lies below what is. */
function segmentsCover(pattern: readonly string[], path: readonly string[]): boolean {
  return walk(pattern, path, (row) => row === pattern.length);
}

function walk(
  left: readonly string[],
  right: readonly string[],
  isEnd: (row: number, column: number) => boolean,
): boolean {
  const seen = new Set<number>();
  const pairs: [number, number][] = [[0, 0]];
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [row, column] = pair;
    if (isEnd(row, column)) return true;
    const code = row * (right.length + 1) + column;
    if (seen.has(code)) continue;
    seen.add(code);
    const one = left[row];
    const other = right[column];
    if (one === "**") pairs.push([row + 1, column]);
    if (other === "**") pairs.push([row, column + 1]);
    if (one === undefined || other === undefined) continue;
    if (one === "**") pairs.push([row, column + 1]);
    if (other === "**") pairs.push([row + 1, column]);
    if (one === "**" || other === "**" || segmentOverlaps(one, other)) pairs.push([row + 1, column + 1]);
  }
  return false;
}

/** Whether one name could match both segments. */
function segmentOverlaps(left: string, right: string): boolean {
  if (!/[*?]/.test(left) && !/[*?]/.test(right)) return left === right;
  const isPlain = isAscii(left) && isAscii(right);
  const ones = tokens(left, isPlain);
  const others = tokens(right, isPlain);
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

/** Beyond ASCII one character may be written as several, so `?` is then taken as any number of them. */
function tokens(segment: string, isPlain: boolean): string[] {
  const list: string[] = [];
  for (const character of isPlain ? segment : segment.replaceAll("?", "*")) {
    if (character !== "*" || list.at(-1) !== "*") list.push(character);
  }
  return list;
}

/** Tells for a folded path whether the pattern covers it. */
function coverOf(pattern: string): (path: string) => boolean {
  const glob = readGlob(pattern);
  const maybe = (path: string): boolean => {
    const segments = path.split("/");
    return glob.alternatives.some((one) => segmentsCover(one, segments));
  };
  if (glob.isExact) return maybe;
  const clean = pattern.replace(/^\.\//, "").replace(/\/+$/, "");
  if (!isSafeForPicomatch(clean)) return maybe;
  const matches = picomatch([clean, `${clean}/**`], { dot: true, nocase: true });
  // Folders are called `(auth)` and `[id]`, too: brackets also stand for themselves.
  const named = fold(clean).split("/");
  return (path) => maybe(path) && (matches(path) || segmentsCover(named, path.split("/")));
}

/**
 * picomatch makes one regular expression of a glob, and those can take for ever: `(a+)+`, or many stars in one name. At
 * most two stars in a name and two `**` leave a bound that is a small power of the path's length.
 */
function isSafeForPicomatch(glob: string): boolean {
  if (glob.length > 256 || /\+|\*\(|\([^()]*\(|\{[^{}]*\{/.test(glob)) return false;
  const segments = glob.split("/");
  if (segments.filter((segment) => segment.includes("**")).length > 2) return false;
  return segments.every((segment) => (segment.match(/\*+/g)?.length ?? 0) <= 2);
}
