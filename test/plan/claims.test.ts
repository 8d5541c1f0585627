import fc from "fast-check";
import picomatch from "picomatch";
import { describe, expect, test } from "vitest";
import { claimBeginnings, claimsOverlap, globsOverlap, pathsOutside } from "../../src/plan/claims.ts";

const RUNS = Number(process.env["CLAIM_RUNS"] ?? 1_500);

const PATHS = pathsOver(["a", "b", ".a"], 3);
/** Names with what globs find special in them. */
const ODD_PATHS = [...PATHS, "(a)", "[a]", "a+", "{a}", "a,b", "(a)/b", "[a]/b", "ab", "ba", "abab", "aab/b", "A/B"];

describe("D4: globs that may match one path overlap", () => {
  const name = fc.array(fc.constantFrom("a", "b", "*", "?", ".", "[ab]", "[^a]", "{a,b}", "{a,b/a}", "A"), {
    minLength: 1,
    maxLength: 3,
  });
  const segment = fc.oneof(
    { weight: 4, arbitrary: name.map((parts) => parts.join("")) },
    { weight: 2, arbitrary: fc.constant("**") },
  );
  const glob = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join("/"));

  test("whatever path two globs of plain parts both cover", () => {
    fc.assert(
      fc.property(glob, glob, (left, right) => overlapsWhereBothMatch(left, right, PATHS)),
      { numRuns: RUNS },
    );
  });

  test("also where the globs are any text, with brackets that do not pair, quotes, groups and escapes", () => {
    const letters = [
      "a",
      "b",
      "*",
      "**",
      "?",
      "/",
      ".",
      "[",
      "]",
      "{",
      "}",
      ",",
      "(",
      ")",
      "|",
      "!",
      "+",
      "@",
      "\\",
      '"',
      "^",
      "-",
      "$",
      ":",
    ];
    const anyText = fc
      .array(fc.constantFrom(...letters), { minLength: 1, maxLength: 9 })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(anyText, fc.oneof(anyText, glob, fc.constantFrom(...ODD_PATHS)), (left, right) =>
        overlapsWhereBothMatch(left, right, ODD_PATHS),
      ),
      { numRuns: RUNS * 3 },
    );
  });

  test("it does not matter which comes first, and each overlaps with itself", () => {
    fc.assert(
      fc.property(glob, glob, (left, right) => {
        expect(globsOverlap(left, right)).toBe(globsOverlap(right, left));
        expect(globsOverlap(left, left)).toBe(true);
        expect(claimsOverlap([left, "x/y"], [right])).toBe(claimsOverlap([right], [left, "x/y"]));
      }),
      { numRuns: RUNS },
    );
  });

  test("claims that overlap begin in one place, so that others need not be compared", () => {
    const leadsTo = (one: readonly string[], other: readonly string[]): boolean =>
      one.every((part, index) => index >= other.length || other[index] === part);
    fc.assert(
      fc.property(glob, glob, (left, right) => {
        if (!globsOverlap(left, right)) return;
        const rights = claimBeginnings([right]);
        expect(claimBeginnings([left]).some((one) => rights.some((other) => leadsTo(one, other)))).toBe(true);
      }),
      { numRuns: RUNS },
    );
  });

  test.each([
    ["src/a.ts", "SRC/A.TS", "case"],
    ["src", "src/deep/a.ts", "a folder and what is in it"],
    ["src/", "./src/a.ts", "slashes and dots around"],
    ["a/**/z", "a/z", "`**` is also nothing"],
    ["a/**/z", "a/b/c/z", "`**` in the middle"],
    ["**/test/**", "src/test", "`**` at both ends"],
    ["{src,lib}/*.ts", "lib/x.ts", "braces"],
    ["src/{a/b,c}/d", "src/a/b/d", "a slash in braces"],
    ["src/[a-c]x", "src/bx", "a class"],
    ["src/[[:alpha:]]", "src/q", "a POSIX class"],
    ["src/(a|b).ts", "src/a.ts", "a group"],
    ["app/(auth)/login", "app/(auth)/**", "a folder with brackets round its name"],
    ["app/[id]/page.tsx", "app/[id]/page.tsx", "a folder with square brackets round its name"],
    ["app/[id]/*", "app/*/page.tsx", "a class against a star"],
    ["src/@(a|b)", "src/b", "an extended glob"],
    ["src/!(a)", "src/b", "a negation"],
    ["src/\\*.ts", "src/*.ts", "an escape"],
    ["[ab]+", "abab", "a class that is repeated"],
    [".env", "*", "a dot at the beginning"],
    ["docs/straße.md", "docs/STRASSE.md", "a letter with two capitals"],
    ["ΑΣ", "ας", "a letter with two small forms"],
    ["caf\u00e9", "cafe\u0301", "one letter, written in two ways"],
    ["caf?", "cafe\u0301", "one letter of two code points, against `?`"],
  ])("%s and %s (%s)", (left, right) => {
    expect(globsOverlap(left, right)).toBe(true);
    expect(globsOverlap(right, left)).toBe(true);
  });
});

test.each([
  ["src/a/**", "src/b/**"],
  ["docs/**", "src/**"],
  ["src/*.ts", "src/*.md"],
  ["src/a?.ts", "src/a.ts"],
  ["src/{a,b}.ts", "src/c.ts"],
  ["a/*/c", "a/b/d"],
  ["app/[id]/page.tsx", "app/about/page.tsx"],
  ["src/schema.ts", "src/schema.test.ts"],
])("D4: %s and %s do not overlap, so their tasks run side by side", (left, right) => {
  expect(globsOverlap(left, right)).toBe(false);
  expect(globsOverlap(right, left)).toBe(false);
});

test("D4: no claim and a claim of nothing overlap with nobody", () => {
  expect(claimsOverlap([], ["**"])).toBe(false);
  expect(claimsOverlap([], [])).toBe(false);
});

describe("hostile globs are taken as anything, in bounded time", () => {
  const hostile: readonly [string, string][] = [
    ["ten thousand characters", "a".repeat(10_000)],
    ["a thousand braces", "{a,b}".repeat(1_000)],
    ["a thousand braces within each other", "{a,".repeat(1_000) + "}".repeat(1_000)],
    ["a thousand lone braces", "{a}".repeat(600)],
    ["open braces", "{".repeat(2_000)],
    ["open brackets", "[".repeat(2_000)],
    ["open parentheses", "(".repeat(2_000)],
    ["stars without end", "*a".repeat(1_000)],
    ["double stars without end", "**/".repeat(600) + "z"],
    ["classes without end", "[ab]".repeat(500)],
    ["a group within a group", "(a+)+".repeat(20) + "b"],
    ["extended globs within each other", "+(".repeat(50) + "a" + ")".repeat(50) + "b"],
  ];
  // The bound is a wide one and counts as a hang: each of these took minutes, or for ever, in a regular expression.
  test.each(hostile)("%s", { timeout: 20_000 }, (_, glob) => {
    const path = `${"a".repeat(250)}/${"a/".repeat(100)}c`;
    for (const other of [glob, "src/**", "a*b*c*d*", `${glob}x`]) {
      expect(typeof globsOverlap(glob, other)).toBe("boolean");
    }
    expect(pathsOutside([glob], [path]).length).toBeLessThanOrEqual(1);
  });

  test("too many alternatives overlap with everything", () => {
    expect(globsOverlap("{a,b}".repeat(7), "zzz/zzz")).toBe(true);
    expect(globsOverlap(`src/${"x".repeat(3_000)}`, "docs/a.md")).toBe(true);
  });
});

describe("a claim covers what it matches and what lies below", () => {
  test("just the paths that picomatch matches, for globs without groups and classes", () => {
    const name = fc.array(fc.constantFrom("a", "b", "*", "?", "."), { minLength: 1, maxLength: 3 });
    const segment = fc.oneof(
      { weight: 3, arbitrary: name.map((parts) => parts.join("")).filter((text) => !/^\.{1,2}$|\*\*/.test(text)) },
      { weight: 2, arbitrary: fc.constant("**") },
    );
    const glob = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join("/"));
    const braced = fc
      .tuple(glob, glob)
      .map(([left, right]) => `{${left},${right}}`)
      .filter((text) => !/\*\*|\.\./.test(text));
    fc.assert(
      fc.property(fc.oneof(glob, braced), (pattern) => {
        const outside = new Set(pathsOutside([pattern], PATHS));
        const isCovered = coverOf(pattern);
        for (const path of PATHS) {
          if (outside.has(path) !== isCovered(path)) continue;
          throw new Error(`${pattern} ${isCovered(path) ? "covers" : "does not cover"} ${path}`);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test("what lies outside one claim does not overlap with it either", () => {
    const letters = ["a", "b", "*", "**", "?", "/", "[", "]", "{", "}", ",", "(", ")", "!", "|"];
    const anyText = fc
      .array(fc.constantFrom(...letters), { minLength: 1, maxLength: 8 })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(anyText, fc.constantFrom(...PATHS), (pattern, path) => {
        if (pathsOutside([pattern], [path]).length === 0) expect(globsOverlap(pattern, path)).toBe(true);
      }),
      { numRuns: RUNS },
    );
  });

  test.each<[readonly string[], readonly string[], readonly string[]]>([
    [["src/**"], ["src/a.ts", "src/deep/b.ts", "docs/a.md"], ["docs/a.md"]],
    [["src"], ["src/a.ts", "srcx"], ["srcx"]],
    [["./src/"], ["src/a.ts"], []],
    [["*.md"], ["README.md", "docs/a.md"], ["docs/a.md"]],
    [["src/*.ts", "docs/**"], ["src/a.ts", "src/b/c.ts", "docs/x"], ["src/b/c.ts"]],
    [["SRC/A.ts"], ["src/a.TS"], []],
    [[".github/**"], [".github/workflows/ci.yml"], []],
    [["app/(auth)/**"], ["app/(auth)/login/page.tsx", "app/page.tsx"], ["app/page.tsx"]],
    [["app/(auth)"], ["app/(auth)/login/page.tsx"], []],
    [["app/[id]/page.tsx"], ["app/[id]/page.tsx", "app/x/page.tsx"], ["app/x/page.tsx"]],
    [["src/@(a|b).ts"], ["src/a.ts", "src/c.ts"], ["src/c.ts"]],
    [["src/[a-c].ts"], ["src/b.ts", "src/z.ts"], ["src/z.ts"]],
    [[], ["a"], ["a"]],
  ])("%j of %j leaves %j outside", (claim, paths, outside) => {
    expect(pathsOutside(claim, paths)).toEqual(outside);
  });
});

function overlapsWhereBothMatch(left: string, right: string, paths: readonly string[]): void {
  if (globsOverlap(left, right)) return;
  const isLeft = coverOf(left);
  const isRight = coverOf(right);
  const shared = paths.find((path) => isLeft(path) && isRight(path));
  if (shared !== undefined) throw new Error(`${left} and ${right} both cover ${shared}`);
}

/** What picomatch says; a glob that it can't read covers nothing. */
function coverOf(glob: string): (path: string) => boolean {
  // `src/**` covers `src`; for `*/**` picomatch sees it otherwise.
  const clean = glob.replace(/^\.\//, "").replace(/(?:\/\*\*)*\/*$/, "");
  if (clean === "" || clean === "**") return () => clean === "**";
  try {
    return picomatch([clean, `${clean}/**`], { dot: true, nocase: true });
  } catch {
    return () => false;
  }
}

function pathsOver(names: readonly string[], depth: number): string[] {
  const all: string[] = [];
  let level = [""];
  for (let step = 0; step < depth; step += 1) {
    level = level.flatMap((parent) =>
      [...names, "aa", "ab"].map((name) => (parent === "" ? name : `${parent}/${name}`)),
    );
    all.push(...level);
  }
  return all;
}
