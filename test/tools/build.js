// Compiles src/ to dist/ and marks the two commands executable. Stale output is removed first, so that a file
// deleted from src/ can't live on in the package. Writes to a sibling folder and swaps, so that a running
// engine (which has loaded all of its code) and a test that starts meanwhile never see half a build.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const next = join(root, `dist.${process.pid}.next`);
const old = join(root, `dist.${process.pid}.old`);
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");

const compiled = spawnSync(process.execPath, [tsc, "-p", join(root, "tsconfig.json"), "--outDir", next], {
  stdio: "inherit",
});
if (compiled.status !== 0) {
  rmSync(next, { recursive: true, force: true });
  process.exit(compiled.status ?? 1);
}
for (const command of ["cli/main.js", "engine/pipe-main.js"]) {
  const file = join(next, command);
  if (existsSync(file)) chmodSync(file, 0o755);
}
const dist = join(root, "dist");
if (existsSync(dist)) renameSync(dist, old);
renameSync(next, dist);
rmSync(old, { recursive: true, force: true });
