/** A row is `{ name, figure, promised, isMet }`: text, text, text or nothing, and whether the promise was kept. */

export function formatFigures(title, rows) {
  const cells = rows.map(({ name, figure, promised = "", isMet }) => [name, figure, promised, verdict(isMet)]);
  const table = [["", "measured", "promised", ""], ...cells];
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const lines = table.map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join("  "));
  return [title, ...lines.map((line) => `  ${line.trimEnd()}`)].join("\n");
}

export function verdict(isMet) {
  return isMet === undefined ? "" : isMet ? "met" : "MISSED";
}

/** A row whose figure may be `limit` at most; `show` makes texts of both. */
export function atMost(name, value, limit, show = String) {
  return { name, figure: show(value), promised: `<= ${show(limit)}`, isMet: value <= limit };
}

export function median(values) {
  return percentile(values, 50);
}

/** The smallest value that `percent` of all values do not exceed. */
export function percentile(values, percent) {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? NaN;
}
