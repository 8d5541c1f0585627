/** Verify commands as the merge queue runs them: with a deadline, as a tree, and never for a target that is not theirs. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { identityOf, isAlive } from "../../src/process/process-table.ts";
import { SETTINGS, World } from "./world.ts";
import { until } from "../support/until.js";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(async () => {
  await world.destroy();
});

test("a verify command that does not end is ended as a tree at its deadline, tried again, and judged by its base", async () => {
  const pids = join(world.folder, "pids");
  const hang = `if [ -f hang.txt ]; then (trap '' TERM; sleep 300) & echo $! >> '${pids}'; wait; fi`;
  await world.start({ settings: { ...SETTINGS, verify: [hang], verifyTimeoutMs: 1_500 } });
  world.submit("slow", [
    { id: "hangs", prompt: "echo x > hang.txt" },
    { id: "fine", prompt: "echo x > fine.txt" },
  ]);
  expect(await world.settled("slow")).toBe("needs-person");
  expect(world.states("slow")).toEqual({ hangs: "waiting:verify", fine: "succeeded" });
  const started = readFileSync(pids, "utf8").trim().split("\n").map(Number);
  expect(started.length).toBe(2);
  for (const pid of started) {
    const child = identityOf(pid);
    expect(child !== null && isAlive(child)).toBe(false);
  }
  expect(world.parts.store.tasks.getWork("slow", "hangs")?.verifyOutput).toMatch(/did not end within/);
  expect(existsSync(join(world.repo, "hang.txt"))).toBe(false);
});

test("the target moves while a merge is verified: what lands has been verified on what it lands on", async () => {
  const log = join(world.folder, "log");
  const gate = join(world.folder, "gate");
  const verify = `ls | tr '\\n' ' ' >> '${log}'; echo >> '${log}'; while [ ! -e '${gate}' ]; do sleep 0.02; done`;
  await world.start({ settings: { ...SETTINGS, verify: [verify] } });
  world.submit("race", [{ id: "work", prompt: "echo x > work.txt" }]);
  await until("it is being verified", () => existsSync(log));
  world.write("mine.txt", "mine\n");
  world.git("add", "mine.txt");
  world.git("commit", "-qm", "mine");
  world.write("../gate", "");
  expect(await world.settled("race")).toBe("succeeded");
  const seen = readFileSync(log, "utf8").trim().split("\n");
  expect(seen.length).toBe(2);
  expect(seen[1]).toContain("mine.txt");
  expect(seen[1]).toContain("work.txt");
  expect(world.git("show", "--format=", "--name-only", "main^1")).toBe("mine.txt");
});

test("what a red base's checks printed is kept, for whoever has to mend it", async () => {
  world.write("broken.txt", "broken\n");
  world.git("add", "broken.txt");
  world.git("commit", "-qm", "broken");
  const check = "if [ -f broken.txt ]; then echo THE-BASE-IS-RED; exit 3; fi";
  await world.start({ settings: { ...SETTINGS, verify: [check] } });
  world.submit("red", [{ id: "fine", prompt: "echo x > fine.txt" }]);
  expect(await world.settled("red")).toBe("needs-person");
  expect(world.states("red")).toEqual({ fine: "waiting:target" });
  expect(world.parts.store.tasks.getWork("red", "fine")?.verifyOutput).toMatch(/THE-BASE-IS-RED[^]*exit code 3/);
});

test("verify sees a clean worktree each time, and what it writes reaches no commit", async () => {
  const verify = "test ! -e litter.txt && touch litter.txt && echo changed > README.md";
  await world.start({ settings: { ...SETTINGS, verify: [verify] } });
  world.submit("clean", [
    { id: "a", prompt: "echo a > a.txt" },
    { id: "b", prompt: "echo b > b.txt" },
  ]);
  expect(await world.settled("clean")).toBe("succeeded");
  expect(world.read("README.md")).toBe("hello\n");
  expect(world.git("ls-tree", "--name-only", "main").split("\n")).toEqual(["README.md", "a.txt", "b.txt"]);
});
