/**
 * Starts the engine and is gone: the second half of a double fork. The engine becomes nobody's descendant and leads its
 * own session, so that what ends the process tree it was first needed in (a host's, an attempt's) does not reach it.
 * Arguments: those of engine-main. Standard output is engine.log, descriptor 3 the report to whoever waits.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("./engine-main.js", import.meta.url));
const engine = spawn(process.execPath, [program, "--report-fd", "3", ...process.argv.slice(2)], {
  detached: true,
  stdio: ["ignore", "inherit", "inherit", 3],
});
engine.on("error", (error) => {
  console.error(`The engine could not be started: ${error.message}`);
  process.exitCode = 1;
});
engine.unref();
