#!/usr/bin/env node
/**
 * The command `orchestrator`. Owns the command line: which verbs there are, how they are asked for, what they print and
 * what they end with. Each verb asks the engine for operations and renders the answers; nothing here knows the store,
 * git or how anything is decided. A verb loads what it needs and no more: hosts and git hooks wait for us.
 */
import { createRequire } from "node:module";

const args = process.argv.slice(2);
if (args[0] === "mcp") {
  // The bundle, not ../engine/pipe.ts: one file is there sooner than ten.
  process.argv.splice(2, 1);
  createRequire(import.meta.url)("../engine/pipe-main.cjs");
} else {
  const { runCommand } = await import("./command.ts");
  process.exit(await runCommand(args));
}
