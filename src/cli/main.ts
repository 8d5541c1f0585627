#!/usr/bin/env node
/**
 * The command `orchestrator`. Owns the command line: which verbs there are, how they are asked for, what they print and
 * what they end with. Each verb asks the engine for operations and renders the answers; nothing here knows the store,
 * git or how anything is decided. A verb loads what it needs and no more: hosts and git hooks wait for us.
 */
const args = process.argv.slice(2);
if (args[0] === "mcp") {
  const { runPipe } = await import("../engine/pipe.ts");
  runPipe(args.slice(1));
} else {
  const { runCommand } = await import("./command.ts");
  process.exit(await runCommand(args));
}
