// Compiles src/ to build/ and makes dist/ of it: the programs, bundled, and the tools' listings (for the pipe where
// there is no engine to ask); marks the two commands executable. Writes to a sibling folder and swaps, so that a running
// engine (which has loaded all of its code) and a test that starts meanwhile never see half a build, and a file deleted
// from src/ can't live on in the package. `build/` is for tests: modules to load one by one, or to break on purpose.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundlePrograms } from "./bundle.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const modules = join(root, `build.${process.pid}.next`);
const programs = join(root, `dist.${process.pid}.next`);
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");

const compiled = spawnSync(process.execPath, [tsc, "-p", join(root, "tsconfig.json"), "--outDir", modules], {
  stdio: "inherit",
});
if (compiled.status !== 0) {
  rmSync(modules, { recursive: true, force: true });
  process.exit(compiled.status ?? 1);
}
await bundlePrograms(modules, programs);
const { toolListings } = await import(pathToFileURL(join(modules, "operations", "tool-listings.js")).href);
writeFileSync(join(programs, "engine", "tool-listings.json"), JSON.stringify(toolListings()));
for (const command of ["cli/main.js", "engine/pipe-main.cjs"]) chmodSync(join(programs, command), 0o755);
swap(modules, "build");
swap(programs, "dist");

/**
 * @param {string} next
 * @param {string} name
 */
function swap(next, name) {
  const place = join(root, name);
  const old = join(root, `${name}.${process.pid}.old`);
  if (existsSync(place)) renameSync(place, old);
  renameSync(next, place);
  rmSync(old, { recursive: true, force: true });
}
