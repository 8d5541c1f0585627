// Compiles src/ to dist/, bundles the pipe, writes down the tools' listings (for the pipe where there is no engine to
// ask) and marks the two commands executable. Stale output is removed first, so that a file
// deleted from src/ can't live on in the package. Writes to a sibling folder and swaps, so that a running
// engine (which has loaded all of its code) and a test that starts meanwhile never see half a build.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundlePipe } from "./bundle-pipe.js";

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
await bundlePipe(next);
const { toolListings } = await import(pathToFileURL(join(next, "operations", "tool-listings.js")).href);
writeFileSync(join(next, "engine", "tool-listings.json"), JSON.stringify(toolListings()));
for (const command of ["cli/main.js", "engine/pipe-main.cjs"]) chmodSync(join(next, command), 0o755);
const dist = join(root, "dist");
if (existsSync(dist)) renameSync(dist, old);
renameSync(next, dist);
rmSync(old, { recursive: true, force: true });
