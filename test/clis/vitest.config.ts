import { defineConfig } from "vitest/config";

/** Real binaries are heavy (200 MB each): one test file at a time on a small machine. */
export default defineConfig({
  test: {
    root: new URL(".", import.meta.url).pathname,
    include: ["**/*.test.ts"],
    exclude: ["node_modules/**"],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    fileParallelism: false,
  },
});
