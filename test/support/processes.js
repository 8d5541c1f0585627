// @ts-check
/**
 * The machine's processes, seen from outside the code under test. By proc(5); elsewhere `isAlive` asks ps, and what lists
 * processes finds none. JavaScript, because the benches share it, and Node 20 runs them without a step before.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

const HAS_PROC = existsSync("/proc/self/stat");

/**
 * A zombie is dead, though `kill(pid, 0)` still answers for it.
 *
 * @param {number} pid
 */
export function isAlive(pid) {
  const state = HAS_PROC
    ? statOf(pid).state
    : spawnSync("ps", ["-o", "state=", "-p", `${pid}`])
        .stdout.toString()
        .trim();
  return !["", "Z", "X"].includes(state.slice(0, 1));
}

/**
 * Does nothing where there is no such process. Never reaches a group, or all.
 *
 * @param {number | null | undefined} pid
 * @param {NodeJS.Signals} signal
 */
export function kill(pid, signal = "SIGKILL") {
  if (pid === null || pid === undefined || pid <= 1) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone.
  }
}

/** All but this one, zombies too. */
export function everyPid() {
  if (!HAS_PROC) return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

/**
 * Zombies too.
 *
 * @param {number} parent
 */
export function childrenOf(parent) {
  return everyPid().filter((pid) => parentOf(pid) === parent);
}

/**
 * Living processes that name `text` in their command line.
 *
 * @param {string} text
 */
export function processesNaming(text) {
  return everyPid().filter((pid) => commandLine(pid).includes(text) && isAlive(pid));
}

/**
 * Living processes that name `folder` in their environment or command line, or work in it.
 *
 * @param {string} folder
 */
export function processesOf(folder) {
  return everyPid().filter(
    (pid) =>
      (environmentOf(pid).includes(folder) || commandLine(pid).includes(folder) || placeOf(pid).startsWith(folder)) &&
      isAlive(pid),
  );
}

/**
 * Empty for a process that is gone, and for a zombie.
 *
 * @param {number} pid
 */
export function commandLine(pid) {
  return read(pid, "cmdline").replaceAll("\0", " ").trimEnd();
}

/**
 * What it was started with: `NAME=value`, each with a zero byte behind it.
 *
 * @param {number} pid
 */
export function environmentOf(pid) {
  return read(pid, "environ");
}

/**
 * State, parent, group and session; the state is empty for a process that is gone.
 *
 * @param {number} pid
 */
export function statOf(pid) {
  const stat = read(pid, "stat");
  // The name may hold spaces and brackets, so count from its closing one.
  const [state = "", parent = "0", group = "0", session = "0"] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state, parent: Number(parent), group: Number(group), session: Number(session) };
}

/** @param {number} pid */
export function parentOf(pid) {
  return statOf(pid).parent;
}

/** @param {number} pid */
function placeOf(pid) {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}

/**
 * @param {number} pid
 * @param {string} file
 */
function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
