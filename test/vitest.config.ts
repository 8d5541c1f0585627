import { defineConfig } from "vitest/config";

/** Unit tests mirror `src/`; `test/e2e/` runs `dist/` with real git, SQLite, processes and sockets. */
export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/e2e/**", "test/clis/**", "**/node_modules/**"],
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
          maxWorkers: 2,
          // After the unit tests, never beside them: each of these starts engines and whole trees of processes.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
