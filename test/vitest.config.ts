import { defineConfig } from "vitest/config";

/** Minutes of simulated lives with one promise broken at a time: `npm run check:mutants`, not `npm test`. */
const MUTATIONS = "test/plan/mutations.test.ts";

/** What the machine, its clock and strangers do to engines: `npm run test:faults`, not `npm test`, which has the deaths. */
const FAULTS = [
  "clock",
  "leaves-nothing",
  "limits-midway",
  "lost-state",
  "machine-limits",
  "moved-repository",
  "passing-trouble",
  "random-kills",
  "reboot",
  "shutdown",
  "state-file",
].map((name) => `test/e2e/${name}.test.ts`);

/** Workers: one more than a small machine's cores, for these tests wait as much as they work. */
const E2E = { testTimeout: 180_000, hookTimeout: 120_000, maxWorkers: 3 };

/** Unit tests mirror `src/`; `test/e2e/` runs `dist/` with real git, SQLite, processes and sockets. */
export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/e2e/**", "test/clis/**", "**/node_modules/**", MUTATIONS],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: ["**/node_modules/**", ...FAULTS],
          ...E2E,
          // After the unit tests, never beside them: each of these starts engines and whole trees of processes.
          sequence: { groupOrder: 1 },
        },
      },
      { test: { name: "faults", include: FAULTS, ...E2E, sequence: { groupOrder: 2 } } },
      {
        test: {
          name: "mutants",
          include: [MUTATIONS],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
