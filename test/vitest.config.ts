import { defineConfig } from "vitest/config";

/** Minutes of simulated lives with one promise broken at a time: `npm run check:mutants`, not `npm test`. */
const MUTATIONS = "test/plan/mutations.test.ts";

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
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: ["**/node_modules/**"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          // One more than a small machine's cores: they wait as much as they work.
          maxWorkers: 3,
          // After the unit tests, never beside them: each of these starts engines and whole trees of processes.
          sequence: { groupOrder: 1 },
        },
      },
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
