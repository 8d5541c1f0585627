/** The difference between two texts, line by line, for a person who decides whether to trust the new one. */

export type DiffLine = { readonly kind: "same" | "removed" | "added"; readonly text: string };

/** Beyond this many pairs of lines to compare, what changed is shown as one block. */
const MAX_PAIRS = 4_000_000;
const CONTEXT_LINES = 3;

/**
 * Lines with `- `, `+ ` or two spaces before them, unchanged stretches left out. Nothing is hidden: what would not be
 * seen on a terminal (control characters, marks that turn the direction of text) is written as an escape.
 */
export function formatLineDiff(before: string, after: string): string {
  const lines = diffLines(splitLines(before), splitLines(after));
  if (lines.every(({ kind }) => kind === "same"))
    return before === after ? "" : "  (only the line breaks at the end differ)";
  const isShown = lines.map((_, index) =>
    lines.slice(Math.max(0, index - CONTEXT_LINES), index + CONTEXT_LINES + 1).some(({ kind }) => kind !== "same"),
  );
  const shown: string[] = [];
  lines.forEach((line, index) => {
    if (isShown[index] === true) shown.push(`${SIGNS[line.kind]}${visible(line.text)}`);
    else if (index === 0 || isShown[index - 1] === true) shown.push("  …");
  });
  return shown.join("\n");
}

const SIGNS = { same: "  ", removed: "- ", added: "+ " } as const;

/** The fewest lines removed and added that make `after` out of `before`. */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (
    end < before.length - start &&
    end < after.length - start &&
    before[before.length - 1 - end] === after[after.length - 1 - end]
  ) {
    end += 1;
  }
  return [
    ...before.slice(0, start).map(same),
    ...diffMiddle(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(same),
  ];
}

function diffMiddle(before: readonly string[], after: readonly string[]): DiffLine[] {
  if (before.length * after.length > MAX_PAIRS) return [...before.map(removed), ...after.map(added)];
  const common = commonLengths(before, after);
  const width = after.length + 1;
  const lines: DiffLine[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length && column < after.length) {
    const old = before[row] ?? "";
    const fresh = after[column] ?? "";
    if (old === fresh) {
      lines.push(same(old));
      row += 1;
      column += 1;
    } else if ((common[(row + 1) * width + column] ?? 0) >= (common[row * width + column + 1] ?? 0)) {
      lines.push(removed(old));
      row += 1;
    } else {
      lines.push(added(fresh));
      column += 1;
    }
  }
  return [...lines, ...before.slice(row).map(removed), ...after.slice(column).map(added)];
}

/** Length of the longest common subsequence of the rests, for each pair of places. */
function commonLengths(before: readonly string[], after: readonly string[]): Uint32Array {
  const width = after.length + 1;
  const lengths = new Uint32Array((before.length + 1) * width);
  for (let row = before.length - 1; row >= 0; row -= 1) {
    for (let column = after.length - 1; column >= 0; column -= 1) {
      lengths[row * width + column] =
        before[row] === after[column]
          ? (lengths[(row + 1) * width + column + 1] ?? 0) + 1
          : Math.max(lengths[(row + 1) * width + column] ?? 0, lengths[row * width + column + 1] ?? 0);
    }
  }
  return lengths;
}

function splitLines(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function visible(line: string): string {
  return line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    if (character === "\t") return "    ";
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

function same(text: string): DiffLine {
  return { kind: "same", text };
}

function removed(text: string): DiffLine {
  return { kind: "removed", text };
}

function added(text: string): DiffLine {
  return { kind: "added", text };
}
