/** What becomes of a task's work: merged by itself, by hand or not at all, and what stands between it and the target. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted, type Repo } from "./engine-support.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
beforeEach(() => {
  ground = new Ground();
  repo = ground.main;
});
afterEach(async () => {
  await ground.leave();
});

function gate(name: string): string {
  return `while [ ! -e ${quoted(join(ground.traces, name))} ]; do sleep 0.05; done`;
}

function open(name: string): void {
  repo.write(`../traces/${name}`, "");
}

test("merge manual waits for a person, and its dependents with it; merge none keeps the branch", async () => {
  await repo.submit("ways", [
    { id: "manual", prompt: "echo manual > manual.txt", merge: "manual" },
    { id: "after", prompt: "test -f manual.txt && echo after > after.txt", dependsOn: ["manual"] },
    { id: "none", prompt: "echo none > none.txt", merge: "none" },
    { id: "looks", prompt: "true" },
  ]);
  expect(await repo.settled("ways")).toBe("needs-person");
  expect(await repo.states("ways")).toEqual({
    manual: "waiting:manual-merge",
    after: "pending",
    none: "succeeded",
    looks: "succeeded",
  });
  const { why } = await repo.task("ways/manual");
  expect(why?.command).toContain("merge ways/manual");
  expect(existsSync(join(repo.path, "manual.txt"))).toBe(false);
  await repo.control("merge", { task: "ways/manual" });
  expect(await repo.settled("ways")).toBe("succeeded");
  expect(repo.merges()).toEqual({ manual: 1, after: 1 });
  expect(repo.git("show", "orchestrator/ways/none:none.txt")).toBe("none");
  expect((await repo.refusal("control", { action: "merge", task: "ways/manual" })).code).toBe("TASK_STATE");
});

test("dependents start from the merged state of all they depend on, and of nothing else", async () => {
  const list = "ls *.txt 2>/dev/null | tr '\\n' ' '";
  await repo.submit("base", [
    { id: "a", prompt: "echo a > a.txt" },
    { id: "b", prompt: "echo b > b.txt" },
    { id: "c", prompt: `test -f a.txt && test -f b.txt && echo c > c.txt && ${list}`, dependsOn: ["a", "b"] },
    { id: "failing", prompt: "echo x > failing.txt; exit 1", onFailure: "soft" },
    { id: "d", prompt: `test ! -e failing.txt && echo d > d.txt`, dependsOn: ["failing", "c"] },
  ]);
  expect(await repo.settled("base")).toBe("failed");
  expect(await repo.states("base")).toMatchObject({ c: "succeeded", failing: "failed", d: "succeeded" });
  expect(existsSync(join(repo.path, "failing.txt"))).toBe(false);
});

test("verify: red waits with its output and the target never sees it; flaky passes; a red base blames nobody", async () => {
  const flaky = quoted(join(ground.traces, "flaky"));
  await repo.submit("verify", [
    { id: "green", prompt: "echo x > green.txt", verify: ["test -f green.txt", "test -f README.md"] },
    { id: "red", prompt: "echo x > red.txt", verify: ["echo the reason; test ! -f red.txt"] },
    { id: "flaky", prompt: "echo x > flaky.txt", verify: [`test -e ${flaky} || { touch ${flaky}; false; }`] },
    { id: "red-base", prompt: "echo x > x.txt", verify: ["echo base words; test ! -f README.md"] },
  ]);
  expect(await repo.settled("verify")).toBe("needs-person");
  expect(await repo.states("verify")).toEqual({
    green: "succeeded",
    red: "waiting:verify",
    flaky: "succeeded",
    "red-base": "waiting:target",
  });
  const red = await repo.task("verify/red");
  expect(red.verifyOutput).toContain("the reason");
  expect(red.why?.command).toContain("retry verify/red");
  expect((await repo.task("verify/red-base")).why?.message).toContain("base words");
  expect(repo.git("log", "--oneline", "orchestrator/verify/red", "--", "red.txt")).toContain("red");
  expect(repo.git("log", "main", "--oneline", "--", "red.txt")).toBe("");
  repo.git("rm", "-q", "README.md");
  repo.git("commit", "-qm", "mend");
  await repo.untilState("verify/red-base", "succeeded");
  expect(repo.git("status", "--porcelain")).toBe("");
});

test("a conflict waits; merged by hand in its worktree it goes on", async () => {
  await repo.submit("conflict", [
    { id: "one", prompt: "echo one > same.txt" },
    { id: "two", prompt: `${gate("two")}; echo two > same.txt` },
  ]);
  await repo.untilState("conflict/one", "succeeded");
  open("two");
  expect(await repo.settled("conflict")).toBe("needs-person");
  const { why, worktree } = await repo.task("conflict/two");
  expect(why).toMatchObject({ code: "conflict" });
  expect(why?.message).toContain("same.txt");
  const place = worktree ?? "";
  expect(() => repo.gitAt(place, "merge", "main")).toThrow();
  repo.write(join("..", place.slice(ground.folder.length + 1), "same.txt"), "one and two\n");
  repo.gitAt(place, "commit", "-qam", "both");
  await repo.control("merge", { task: "conflict/two" });
  expect(await repo.settled("conflict")).toBe("succeeded");
  expect(repo.read("same.txt")).toBe("one and two\n");
});

test("a dependency's merge that the user takes off the target: its dependent waits, and goes on when it is back", async () => {
  await repo.submit("reset", [
    { id: "a", prompt: "echo a > a.txt" },
    { id: "hold", prompt: `${gate("hold")}; true` },
    { id: "b", prompt: "test -f a.txt && echo b > b.txt", dependsOn: ["a", "hold"] },
  ]);
  await repo.untilState("reset/a", "succeeded");
  const merged = repo.git("rev-parse", "main");
  repo.git("reset", "-q", "--hard", "HEAD~1");
  open("hold");
  expect(await repo.settled("reset")).toBe("needs-person");
  expect(await repo.states("reset")).toMatchObject({ b: "waiting:target" });
  expect((await repo.task("reset/b")).why?.message).toMatch(/lost the merge of a/);
  repo.git("merge", "-q", "--ff-only", merged);
  await repo.untilState("reset/b", "succeeded");
  expect(repo.read("b.txt")).toBe("b\n");
});

test("P5: a branch or a worktree deleted by hand harms that task only", async () => {
  const wait = (id: string): string => `echo ${id} > ${id}.txt; git add -A; git commit -qm ${id}; ${gate(id)}`;
  await repo.submit("hands", [
    { id: "branch", prompt: wait("branch"), merge: "manual" },
    { id: "folder", prompt: `${wait("folder")}; echo more > more.txt`, retries: 1 },
    { id: "fine", prompt: "echo fine > fine.txt" },
  ]);
  await repo.untilState("hands/folder", "running");
  await until("both have committed", () =>
    ["branch", "folder"].every((id) => repo.subjectOf(`orchestrator/hands/${id}`) === id),
  );
  const { worktree } = await repo.task("hands/folder");
  rmSync(worktree ?? "", { recursive: true });
  open("folder");
  open("branch");
  await repo.untilState("hands/branch", "waiting:manual-merge");
  expect(await repo.settled("hands")).not.toBe("running");
  const states = await repo.states("hands");
  expect(states).toMatchObject({ branch: "waiting:manual-merge", fine: "succeeded" });
  // What it had committed is still there, merged where its second attempt had done and been tidied already.
  const place = states["folder"] === "succeeded" ? "main" : "orchestrator/hands/folder";
  expect(repo.git("show", `${place}:folder.txt`)).toBe("folder");

  repo.git("worktree", "unlock", (await repo.task("hands/branch")).worktree ?? "");
  repo.git("worktree", "remove", "--force", (await repo.task("hands/branch")).worktree ?? "");
  const tip = repo.git("rev-parse", "orchestrator/hands/branch");
  repo.git("branch", "-D", "orchestrator/hands/branch");
  await repo.control("merge", { task: "hands/branch" });
  await repo.untilState("hands/branch", "waiting:manual-merge");
  await until("it says that the branch is gone", async () =>
    ((await repo.task("hands/branch")).why?.message ?? "").includes("gone"),
  );
  repo.git("branch", "orchestrator/hands/branch", tip);
  await repo.control("merge", { task: "hands/branch" });
  await repo.untilState("hands/branch", "succeeded");
  expect(repo.read("branch.txt")).toBe("branch\n");
});

test("P5: a worktree that can't be made fails that task only", async () => {
  repo.git("branch", "orchestrator/blocked", "main");
  await repo.submit("blocked", [{ id: "a", prompt: "echo x > x.txt" }]);
  await repo.submit("beside", [{ id: "b", prompt: "echo y > y.txt" }]);
  expect(await repo.settled("beside")).toBe("succeeded");
  expect(await repo.settled("blocked")).toBe("failed");
  expect((await repo.task("blocked/a")).note).toMatch(/worktree|branch|ref/);
  repo.git("branch", "-D", "orchestrator/blocked");
  await repo.control("retry", { task: "blocked/a" });
  expect(await repo.settled("blocked")).toBe("succeeded");
});

test("the target branch deleted in the middle: it waits, and goes on when the branch is back", async () => {
  repo.git("checkout", "-q", "-b", "mine");
  await repo.submit("gone", [{ id: "a", prompt: `${gate("a")}; echo a > a.txt` }], { target: "main" });
  await repo.untilState("gone/a", "running");
  const tip = repo.git("rev-parse", "main");
  repo.git("branch", "-D", "main");
  open("a");
  expect(await repo.settled("gone")).toBe("needs-person");
  expect(await repo.states("gone")).toEqual({ a: "waiting:target" });
  expect((await repo.task("gone/a")).why?.command).toContain("git branch main");
  repo.git("branch", "main", tip);
  await repo.untilState("gone/a", "succeeded");
  expect(repo.git("show", "main:a.txt")).toBe("a");
});

test("changes of what runs on the user's machine wait for a look, and approve merges them", async () => {
  repo.commit("hooks", { "tools/hooks/pre-commit": "#!/bin/sh\ntrue\n" });
  repo.git("config", "core.hooksPath", "tools/hooks");
  const write = (path: string): string => `mkdir -p "$(dirname ${path})"; echo x > ${path}; git add -f ${path}`;
  await repo.submit("sensitive", [
    { id: "config", prompt: write(".orchestrator/config.json") },
    { id: "husky", prompt: write(".husky/pre-commit") },
    { id: "hook", prompt: "echo evil >> tools/hooks/pre-commit" },
    { id: "moved", prompt: "git mv tools/hooks/pre-commit elsewhere" },
    { id: "plain", prompt: write("docs/husky") },
  ]);
  expect(await repo.settled("sensitive")).toBe("needs-person");
  expect(await repo.states("sensitive")).toEqual({
    config: "waiting:approval",
    husky: "waiting:approval",
    hook: "waiting:approval",
    moved: "waiting:approval",
    plain: "succeeded",
  });
  const { why } = await repo.task("sensitive/config");
  expect(why?.message).toContain(".orchestrator/config.json");
  expect(why?.command).toContain("approve sensitive/config");
  await repo.control("approve", { task: "sensitive/husky" });
  await repo.untilState("sensitive/husky", "succeeded");
  await repo.control("approve", { task: "sensitive/hook" });
  await repo.untilState("sensitive/hook", "succeeded");
  expect(repo.read("tools/hooks/pre-commit")).toContain("evil");
  expect((await repo.refusal("control", { action: "approve", task: "sensitive/plain" })).code).toBe("TASK_STATE");
});
