// A build that can be killed at named places: made of a copy of build/, in a folder of its own, in which `crash-point.js` ends the
// process instead of doing nothing. What is shipped has no such thing in it. Lines of `$HOME/crash-points` say where:
// `NAME`, `NAME:3` for the third time in one process, `NAME+guard` to kill the guard in the same instant. The first line
// counts; it is taken away at the death, and noted in `$HOME/crashed`.
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundlePrograms } from "./bundle.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

const CRASH_POINT = `
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
const file = (process.env.HOME ?? "") + "/crash-points";
let times = 0;
let counted = "";
export function crashPoint(name) {
  let lines;
  try {
    lines = readFileSync(file, "utf8").split("\\n").filter(Boolean);
  } catch {
    return;
  }
  const [, point, time = "1", guardToo] = /^([^:+]+)(?::(\\d+))?(\\+guard)?$/.exec(lines[0] ?? "") ?? [];
  if (point !== name) return;
  if (counted !== lines[0]) times = 0;
  counted = lines[0];
  times += 1;
  if (times < Number(time)) return;
  if (guardToo) killGuards();
  writeFileSync(file, lines.slice(1).map((line) => line + "\\n").join(""));
  appendFileSync((process.env.HOME ?? "") + "/crashed", name + "\\n");
  process.kill(process.pid, "SIGKILL");
}
function killGuards() {
  for (const pid of readdirSync("/proc").filter((name) => /^\\d+$/.test(name))) {
    try {
      const stat = readFileSync("/proc/" + pid + "/stat", "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      if (parent !== process.pid || !readFileSync("/proc/" + pid + "/cmdline", "utf8").includes("guard-main")) continue;
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It is gone.
    }
  }
}
`;

/**
 * Makes one, on another one's modules if `dist` names it; answers its dist folder. `changes` break it on purpose: each
 * text must stand exactly once in its module.
 * @param {{ dist?: string, changes?: readonly { file: string, from: string, to: string }[] }} [options]
 */
export async function makeFaultBuild({ dist = join(root, "dist"), changes = [] } = {}) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-faults-")));
  const copy = join(folder, "build");
  cpSync(join(dist, "..", "build"), copy, { recursive: true });
  cpSync(join(root, "package.json"), join(folder, "package.json"));
  cpSync(join(root, "hooks"), join(folder, "hooks"), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(copy, "crash-point.js"), CRASH_POINT);
  for (const { file, from, to } of changes) {
    const path = join(copy, file);
    const text = readFileSync(path, "utf8");
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${from}`);
    writeFileSync(path, parts.join(to));
  }
  const made = join(folder, "dist");
  await bundlePrograms(copy, made);
  cpSync(join(dist, "engine", "tool-listings.json"), join(made, "engine", "tool-listings.json"));
  return made;
}

/** @param {string} dist what `makeFaultBuild` answered */
export function removeFaultBuild(dist) {
  rmSync(dirname(dist), { recursive: true, force: true });
}

/** Every name in the sources, and how often it stands there. */
export function crashPointNames() {
  /** @type {Map<string, number>} */
  const names = new Map();
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  for (const file of files.filter((name) => name.endsWith(".ts"))) {
    const text = readFileSync(join(root, "src", file), "utf8");
    for (const [, name = ""] of text.matchAll(/crashPoint\("([^"]+)"\)/g)) names.set(name, (names.get(name) ?? 0) + 1);
  }
  return names;
}
