// Breaks one promise of recovery at a time, in a build of its own, and sees who says so: the lives that die at crash
// points (`points`), and those in which engine, guard and agents are really killed (`kills`). A test that catches
// nothing proves nothing. `npm run build && node test/e2e/crash-mutations.js [WORD]`: all, or those whose name has the
// word. Prints a table of mutant × what was to catch it; ends with 1 when something did not. Part of `check:all`.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { makeFaultBuild, removeFaultBuild } from "../tools/fault-build.js";
import { MUTANTS } from "./mutants.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const word = process.argv[2] ?? "";
const chosen = MUTANTS.filter(({ name }) => name.includes(word));
/** @type {{ name: string, results: { catcher: string, isCaught: boolean, seconds: number, output: string }[] }[]} */
const rows = [];
const waiting = [...chosen];

// Each life is mostly waiting; more at once would only make them miss their deadlines.
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));

const order = new Map(chosen.map(({ name }, index) => [name, index]));
rows.sort((one, other) => (order.get(one.name) ?? 0) - (order.get(other.name) ?? 0));
console.log(`\n| mutant | points | kills |\n| --- | --- | --- |`);
for (const { name, results } of rows) {
  const told = (/** @type {string} */ catcher) => {
    const result = results.find((one) => one.catcher === catcher);
    return result === undefined ? "" : result.isCaught ? "caught" : "MISSED";
  };
  console.log(`| ${name} | ${told("points")} | ${told("kills")} |`);
}
const missed = rows.flatMap(({ name, results }) =>
  results.filter((one) => !one.isCaught).map((one) => ({ name, ...one })),
);
for (const { name, catcher, output } of missed) console.log(`\nMISSED by ${catcher}: ${name}\n${output.slice(-2500)}`);
console.log(`\n${rows.length} mutants, ${missed.length} missed, ${Math.round(performance.now() / 1000)} s`);
process.exit(missed.length === 0 && rows.length > 0 ? 0 : 1);

async function work() {
  for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
    const { name, changes, points, kills } = mutant;
    const dist = await makeFaultBuild({ changes });
    const results = [];
    try {
      if (points !== undefined) results.push(await seenBy("points", dist, points));
      if (kills !== undefined) results.push(await seenBy("kills", dist, kills));
    } finally {
      removeFaultBuild(dist);
    }
    rows.push({ name, results });
    const told = results.map(
      ({ catcher, isCaught, seconds }) => `${isCaught ? "caught" : "MISSED"} by ${catcher} (${seconds} s)`,
    );
    console.log(`${told.join(", ")}  ${name}`);
  }
}

/**
 * @param {string} catcher
 * @param {string} dist
 * @param {{ file: string, lives: string }} which tests are to fail
 */
async function seenBy(catcher, dist, { file, lives }) {
  const startedMs = performance.now();
  const args = ["vitest", "run", "--config", "test/vitest.config.ts", "--project", "e2e", `test/e2e/${file}.test.ts`];
  const child = spawn("npx", [...args, "-t", lives], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ORCHESTRATOR_FAULT_DIST: dist, ORCHESTRATOR_DIST: dist, NO_COLOR: "1" },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const code = await new Promise((resolve) => child.on("close", resolve));
  // A pattern that names no test passes too; it must not look like a mutant that lives for another reason.
  const isCaught = code !== 0 && /Tests +\d+ failed/.test(output);
  return { catcher, isCaught, seconds: Math.round((performance.now() - startedMs) / 1000), output };
}
