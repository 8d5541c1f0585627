// `npm run bench [-- ROUNDS] [NAME...]`: what people and hosts wait for, measured against a baseline in the same run.
// It asserts nothing: what is promised stands beside what was seen. Each file here exports `title` and
// `open(): { cases, close() }`; see compare.js for what a case is.
import { compare, formatRows } from "./compare.js";

const BENCHES = ["git-hook", "pipe-start"];

const [first, ...others] = process.argv.slice(2);
const hasRounds = /^\d+$/.test(first ?? "");
const rounds = hasRounds ? Number(first) : 25;
const names = hasRounds || first === undefined ? others : [first, ...others];
const unknown = names.filter((name) => !BENCHES.includes(name));
if (unknown.length > 0 || rounds < 1) {
  console.error(`usage: npm run bench [-- ROUNDS] [NAME...]; there are: ${BENCHES.join(", ")}`);
  process.exit(2);
}
for (const name of names.length === 0 ? BENCHES : names) {
  const { title, open } = await import(`./${name}.js`);
  const { cases, close } = await open();
  try {
    console.log(`${formatRows(`${title} (${rounds} rounds)`, await compare(cases, { rounds }))}\n`);
  } finally {
    await close();
  }
}
