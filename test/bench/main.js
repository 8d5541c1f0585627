// `npm run bench [-- ROUNDS] [NAME...]`: what people and hosts wait for and what the engine uses up, against a baseline
// of the same run. Each figure stands beside what is promised; exit code 1 when a promise is missed.
//
// Each file here exports `title` and one of: `open(): { cases, close() }`, compared in ROUNDS interleaved rounds (see
// compare.js for what a case is), or `measure(): rows`, which takes its time once (see figures.js for what a row is).
import { compare, formatRows } from "./compare.js";
import { formatFigures } from "./figures.js";

const BENCHES = ["git-hook", "pipe-start", "git-processes", "flood", "restart", "agents"];

const [first, ...others] = process.argv.slice(2);
const hasRounds = /^\d+$/.test(first ?? "");
const rounds = hasRounds ? Number(first) : 25;
const names = hasRounds || first === undefined ? others : [first, ...others];
const unknown = names.filter((name) => !BENCHES.includes(name));
if (unknown.length > 0 || rounds < 1) {
  console.error(`usage: npm run bench [-- ROUNDS] [NAME...]; there are: ${BENCHES.join(", ")}`);
  process.exit(2);
}
let missed = 0;
for (const name of names.length === 0 ? BENCHES : names) {
  const bench = await import(`./${name}.js`);
  const { text, rows } = bench.measure === undefined ? await compareCases(bench) : await takeFigures(bench);
  console.log(`${text}\n`);
  missed += rows.filter(({ isMet }) => isMet === false).length;
}
if (missed > 0) console.log(`${missed} promises were missed.`);
process.exit(missed > 0 ? 1 : 0);

async function compareCases({ title, open }) {
  const { cases, close } = await open();
  try {
    const rows = await compare(cases, { rounds });
    return { rows, text: formatRows(`${title} (${rounds} rounds)`, rows) };
  } finally {
    await close();
  }
}

async function takeFigures({ title, measure }) {
  const rows = await measure();
  return { rows, text: formatFigures(title, rows) };
}
