/**
 * Runs the board's simulation for as many seeds as wanted: `npm run simulate -- --seeds 100000 --from 1`. It goes
 * through vitest because Node 20 does not read TypeScript.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startVitest } from "vitest/node";

const { values } = parseArgs({
  options: { seeds: { type: "string", default: "10000" }, from: { type: "string", default: "1" } },
});
for (const [name, value] of Object.entries(values)) {
  if (/^[1-9]\d{0,8}$/.test(value)) continue;
  process.stderr.write(`--${name} takes a whole number from 1 on, not "${value}"\n`);
  process.exit(2);
}
process.env["SIMULATE_SEEDS"] = values.seeds;
process.env["SIMULATE_FROM"] = values.from;
const root = fileURLToPath(new URL("../..", import.meta.url));
const vitest = await startVitest("test", ["test/plan/simulation.test.ts"], {
  root,
  config: "test/vitest.config.ts",
  project: "unit",
  watch: false,
});
await vitest?.close();
