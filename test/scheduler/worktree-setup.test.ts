import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { WorktreeSettings } from "../../src/scheduler/settings.ts";
import { SETTINGS, World } from "./world.ts";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.destroy());

async function start(worktree: Partial<WorktreeSettings>): Promise<void> {
  await world.start({ settings: { ...SETTINGS, worktree: { copy: [], link: [], setup: [], ...worktree } } });
}

/** Every path that any commit on the target has ever had. */
function everCommitted(): string[] {
  return world.git("log", "--name-only", "--format=", "main").split("\n");
}

test("worktrees come ready: copied by glob, linked, set up, each once, and merged without them", async () => {
  world.write(".env", "SECRET=1\n");
  world.write("packages/a/.env.local", "A=1\n");
  world.write("node_modules/dep/index.js", "dep\n");
  await start({
    copy: [".env", "packages/*/.env*"],
    link: ["node_modules"],
    setup: ["cat .env > made-by-setup && echo $ORCHESTRATOR_SLOT >> made-by-setup"],
  });
  const prompt = "cat .env packages/a/.env.local node_modules/dep/index.js made-by-setup > seen.txt";
  world.submit("ready", [{ id: "a", prompt }]);
  expect(await world.settled("ready")).toBe("succeeded");
  expect(world.read("seen.txt")).toBe("SECRET=1\nA=1\ndep\nSECRET=1\n0\n");
  expect(everCommitted()).not.toContainEqual(expect.stringMatching(/\.env|node_modules/));
  // What was linked is the user's, and still there.
  expect(world.read("node_modules/dep/index.js")).toBe("dep\n");
});

test("what was copied or linked in is never committed, also when the agent adds everything itself", async () => {
  world.write(".env", "SECRET=1\n");
  world.write("node_modules/dep/index.js", "dep\n");
  await start({ copy: [".env"], link: ["node_modules"] });
  world.submit("adds", [
    { id: "a", prompt: "echo x > x.txt; git add -A && git commit -qm mine; echo y > y.txt; git add -A" },
  ]);
  expect(await world.settled("adds")).toBe("succeeded");
  expect(everCommitted()).toEqual(expect.arrayContaining(["x.txt", "y.txt"]));
  expect(everCommitted()).not.toContainEqual(expect.stringMatching(/\.env|node_modules/));
});

test("what a repository's link would lead out of the worktree is not written there", async () => {
  const outside = join(world.folder, "outside");
  mkdirSync(outside);
  symlinkSync(outside, join(world.repo, "config"));
  world.git("add", "-A");
  world.git("commit", "-qm", "a link out");
  writeFileSync(join(outside, "secret"), "theirs\n");
  await start({ copy: ["config/*"], link: ["config/secret"] });
  world.submit("out", [{ id: "a", prompt: "echo x > x.txt" }]);
  expect(await world.settled("out")).toBe("succeeded");
  expect(readFileSync(join(outside, "secret"), "utf8")).toBe("theirs\n");
});

test("P5: a setup that fails is its task's failure only, with its words", async () => {
  await start({ setup: ["test $ORCHESTRATOR_TASK != fails/bad || { echo no database >&2; exit 3; }"] });
  world.submit("fails", [
    { id: "bad", prompt: "echo x > bad.txt" },
    { id: "good", prompt: "echo x > good.txt" },
  ]);
  expect(await world.settled("fails")).toBe("failed");
  expect(world.states("fails")).toEqual({ bad: "failed", good: "succeeded" });
  const { record } = world.parts.board.node("fails/bad");
  expect([record.cause, record.message]).toEqual([
    "worktree-failed",
    expect.stringMatching(/worktree\.setup\[0\].* failed with 3: no database/),
  ]);
});

test("a setup that hangs is ended with its task, and holds up nobody else", async () => {
  const pidFile = join(world.folder, "pid");
  await start({ setup: [`test $ORCHESTRATOR_TASK != hangs/bad || { echo $$ > '${pidFile}'; sleep 1000; }`] });
  world.submit("hangs", [
    { id: "bad", prompt: "true" },
    { id: "good", prompt: "echo x > good.txt" },
  ]);
  await expect.poll(() => existsSync(pidFile) && world.states("hangs")["good"], { timeout: 20_000 }).toBe("succeeded");
  world.scheduler.commit(() => world.parts.board.requestStop(world.parts.board.node("hangs/bad"), "cancel"));
  expect(await world.settled("hangs")).toBe("failed");
  expect(world.states("hangs")["bad"]).toBe("cancelled");
});
