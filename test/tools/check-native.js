// Part of `npm install` in a checkout: npm may skip install scripts (npm 11 runs only those that `allowScripts` names),
// and then the first thing that opens the state would fail far from the cause.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
try {
  const Database = require("better-sqlite3");
  new Database(":memory:").close();
} catch (error) {
  const why = String(error instanceof Error ? error.message : error).split("\n")[0];
  console.error(
    `error: the compiled part of better-sqlite3 is missing (${why}).\n` +
      "Run `npm rebuild better-sqlite3`; it needs python3, make and a C++ compiler (g++ or clang++).",
  );
  process.exit(1);
}
