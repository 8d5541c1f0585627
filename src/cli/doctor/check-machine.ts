/** What the machine must have: Node, git, SQLite's compiled part. */
import { shortageAt, type DiskPlace } from "../../disk-room.ts";
import { GOOD_DESCRIPTORS, LEAST_DESCRIPTORS, mostDescriptors } from "../../engine/descriptors.ts";
import { messageOf } from "../../errors.ts";
import { compareVersions } from "../../engine/version.ts";
import type { Finding } from "../render-doctor.ts";
import { runTool } from "../run-tool.ts";

/** Of package.json's `engines`. */
const LEAST_NODE = "20.19.0";
/** `git merge-tree --write-tree`. */
const LEAST_GIT = "2.38.0";

export function checkNode(version: string = process.versions.node): Finding {
  const isNew = compareVersions(version, LEAST_NODE) >= 0;
  return {
    check: "Node",
    level: isNew ? "ok" : "fail",
    message: isNew ? version : `${version} is too old; ${LEAST_NODE} or newer is needed`,
    fix: isNew ? null : "nvm install --lts",
  };
}

export async function checkGit(): Promise<Finding> {
  const answer = await runTool("git", ["--version"]);
  return answer.isOk ? judgeGit(answer.stdout) : gitProblem(`git can't be run: ${answer.problem}`);
}

/** `output` is what `git --version` says; Apple's has a suffix. */
function judgeGit(output: string): Finding {
  const version = /(\d+\.\d+(?:\.\d+)?)/.exec(output)?.[1];
  if (version === undefined) return gitProblem(`\`git --version\` said ${JSON.stringify(output.trim().slice(0, 100))}`);
  const full = version.split(".").length === 2 ? `${version}.0` : version;
  if (compareVersions(full, LEAST_GIT) < 0) return gitProblem(`git ${version} is too old; 2.38 or newer is needed`);
  return { check: "git", level: "ok", message: version, fix: null };
}

export async function checkSqlite(): Promise<Finding> {
  try {
    const { default: Database } = await import("better-sqlite3");
    const database = new Database(":memory:");
    const version: unknown = database.prepare("select sqlite_version()").pluck().get();
    database.close();
    return { check: "SQLite", level: "ok", message: String(version), fix: null };
  } catch (thrown) {
    const [first = ""] = messageOf(thrown).split("\n");
    const message = `better-sqlite3 can't be loaded with Node ${process.version}: ${first}`;
    return {
      check: "SQLite",
      level: "fail",
      message,
      fix: "npm rebuild better-sqlite3 (where orchestrator-mcp is installed)",
    };
  }
}

/** Where the system tells how many files a process may have open. */
export function checkDescriptors(most: number | null = mostDescriptors()): Finding[] {
  if (most === null || most >= GOOD_DESCRIPTORS) return [];
  const check = "descriptors";
  const fix = `ulimit -n ${GOOD_DESCRIPTORS * 2}`;
  if (most < LEAST_DESCRIPTORS) {
    const message = `only ${most} files may be open at once; an engine needs ${LEAST_DESCRIPTORS}`;
    return [{ check, level: "fail", message, fix }];
  }
  const message = `only ${most} files may be open at once: with many agents some will wait for others to end`;
  return [{ check, level: "warn", message, fix }];
}

/** The disks that plans write to. Nothing is made. */
export function checkRoom(places: readonly DiskPlace[], minFreeMegabytes: number): Finding[] {
  const check = "room";
  const short = places.flatMap((place) => shortageAt(place, minFreeMegabytes * 1024 * 1024) ?? []);
  return short.map((words) => {
    const [message = words, fix = "free some space"] = words.split(/: (?=[^:]*$)/);
    return { check, level: "fail", message, fix };
  });
}

function gitProblem(message: string): Finding {
  const fix = process.platform === "darwin" ? "brew install git" : "sudo apt-get install git (or your system's way)";
  return { check: "git", level: "fail", message, fix };
}
