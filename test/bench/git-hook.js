// What a git hook of ours costs git, against an empty `sh` hook: from the spawn to the exit, in the place where git runs it.
// DESIGN 3, line 10. Each sample is several runs: one takes about a millisecond.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const title = "A git hook";

const RUNS = 20;
const hook = fileURLToPath(new URL("../../hooks/post-merge", import.meta.url));

export function open() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-bench-")));
  const empty = join(folder, "empty");
  writeFileSync(empty, "#!/bin/sh\n");
  chmodSync(empty, 0o755);
  const place = (name, prepare) => {
    const look = join(folder, name, ".git", "orchestrator", "look");
    mkdirSync(look, { recursive: true });
    prepare(look);
    return join(folder, name);
  };
  const elsewhere = join(folder, "elsewhere");
  mkdirSync(elsewhere);
  const quiet = place("quiet", () => undefined);
  const engine = place("engine", (look) => {
    writeFileSync(join(look, "wake"), `${process.execPath}\n/none\n`);
    const start = readFileSync("/proc/self/stat", "latin1")
      .replace(/^.*\) /, "")
      .split(" ")[19];
    writeFileSync(join(look, "engine"), `${process.pid} ${start}\n`);
  });
  return {
    cases: [
      { name: "an empty hook", run: () => runs(empty, elsewhere) },
      { name: "ours, where orchestrator is not used", promised: 1.5, run: () => runs(hook, elsewhere) },
      { name: "ours, without follow-ups", promised: 1.5, run: () => runs(hook, quiet) },
      { name: "ours, an engine listens", promised: 1.5, run: () => runs(hook, engine) },
    ],
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function runs(file, cwd) {
  const beganMs = performance.now();
  for (let run = 0; run < RUNS; run++) spawnSync(file, ["0"], { cwd, stdio: "ignore" });
  return performance.now() - beganMs;
}
