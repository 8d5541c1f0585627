/** 9: what goes wrong with git for a moment only (one of ours is ended, a user's prune takes objects) fails no task. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted, type Repo } from "./engine-support.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
beforeEach(() => {
  ground = new Ground();
  repo = ground.main;
});
afterEach(() => ground.leave());

const GIT = execFileSync("/bin/sh", ["-c", "command -v git"], { encoding: "utf8" }).trim();

/** The engine's git does `trouble` the first time that its arguments hold `words`. */
async function startWithTrouble(words: string, trouble: string): Promise<void> {
  const programs = join(ground.folder, "programs");
  const once = quoted(join(ground.traces, "once"));
  mkdirSync(programs, { recursive: true });
  const text = `#!/bin/sh\ncase "$*" in *${quoted(words)}*) if mkdir ${once} 2>/dev/null; then ${trouble}; fi;; esac\nexec ${GIT} "$@"\n`;
  writeFileSync(join(programs, "git"), text);
  chmodSync(join(programs, "git"), 0o755);
  const path = [programs, ground.environment["PATH"]].join(delimiter);
  await repo.client({ environment: { ...ground.environment, PATH: path } });
}

function expectHappened(): void {
  // Only where the trouble came does this test say anything.
  expect(() => mkdirSync(join(ground.traces, "once"))).toThrow("EEXIST");
}

test.each([
  ["while a worktree is made", "orchestrator: the task starts"],
  ["while work is committed", "orchestrator: commit what was left"],
  ["while a merge is built", "merge-tree"],
])("a git of ours that somebody ends %s: the task's agent runs once, and is merged once", async (_, words) => {
  await startWithTrouble(words, "kill -9 $$");
  const starts = quoted(join(ground.traces, "starts"));
  const plan = await repo.submit("p", [{ id: "a", prompt: `echo a >> ${starts}; echo a > a.txt`, writes: ["a.txt"] }]);
  expect(await repo.settled(plan)).toBe("succeeded");
  expectHappened();
  expect(ground.trace("starts")).toEqual(["a"]);
  expect(repo.merges()).toEqual({ a: 1 });
  expect(repo.git("status", "--porcelain")).toBe("");
});

test("a user's prune that takes what is just being kept of a command that was cut off: kept, and the command runs again", async () => {
  const gate = quoted(join(ground.traces, "gate"));
  const prompt = `echo half > a.txt; echo a >> ${quoted(join(ground.traces, "starts"))}; [ -e ${gate} ] || sleep 1000`;
  await repo.submit("p", [{ id: "a", prompt, writes: ["a.txt"] }]);
  await until("it runs", () => ground.trace("starts").length === 1);
  await repo.killEngine();
  repo.closeClients();
  repo.write("../traces/gate", "");
  await startWithTrouble(
    "orchestrator: the worktree is removed",
    `${GIT} --git-dir=${quoted(repo.commonDir)} prune --expire=now`,
  );
  expect(await repo.settled("p")).toBe("succeeded");
  expectHappened();
  expect(ground.trace("starts")).toEqual(["a", "a"]);
  expect(repo.keptRefs().map((ref) => repo.git("show", `${ref}:a.txt`))).toEqual(["half"]);
  expect(repo.merges()).toEqual({ a: 1 });
});
