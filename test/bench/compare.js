import { median, verdict } from "./figures.js";

/**
 * Measures cases against a baseline in one run. Rounds are interleaved (each case once, then all again), and what counts
 * is the ratio to the baseline within a round: a machine that is busy for a while is busy for both.
 *
 * A case is `{ name, run }`; `run` resolves with what it took in milliseconds, so that clean-up need not count. The first
 * case is the baseline. Answers one row a case; `promised` is what the design says of its median ratio.
 */
export async function compare(cases, { rounds, warmUps = 2 }) {
  for (let round = 0; round < warmUps; round++) for (const { run } of cases) await run();
  const tookMs = cases.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, { run }] of cases.entries()) tookMs[index].push(await run());
  }
  const [baseline] = tookMs;
  return cases.map(({ name, promised = "" }, index) => {
    const ratio = median(tookMs[index].map((ms, round) => ms / baseline[round]));
    const fastestRatio = Math.min(...tookMs[index]) / Math.min(...baseline);
    return {
      name,
      medianMs: median(tookMs[index]),
      fastestMs: Math.min(...tookMs[index]),
      ratio,
      fastestRatio,
      promised,
      ...(promised === "" ? {} : { isMet: ratio <= promised }),
    };
  });
}

/** The rows as a table for people. */
export function formatRows(title, rows) {
  const cells = rows.map((row) => [
    row.name,
    row.medianMs.toFixed(1),
    row.fastestMs.toFixed(1),
    row.ratio.toFixed(2),
    row.fastestRatio.toFixed(2),
    String(row.promised),
    verdict(row.isMet),
  ]);
  const table = [["", "median ms", "fastest ms", "× median", "× fastest", "promised", ""], ...cells];
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const lines = table.map((line) =>
    line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join("  "),
  );
  return [title, ...lines.map((line) => `  ${line.trimEnd()}`)].join("\n");
}
