/** 3.7, 3.11: what an agent's git can't do to the user's repository, and what it can all the same. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted } from "./engine-support.ts";

let ground: Ground;

beforeEach(() => {
  ground = new Ground({ agents: { deployer: { provider: "command", push: true } } });
});

afterEach(async () => {
  await ground.leave();
});

test("3.7: an agent that would move the target, stash, branch, tag or push is refused; its own work is merged", async () => {
  const repo = ground.main;
  const origin = join(ground.folder, "origin.git");
  execFileSync("git", ["init", "-q", "--bare", origin]);
  repo.git("remote", "add", "origin", origin);
  repo.write("README.md", "the user's, stashed\n");
  repo.git("stash", "-q");
  const refused = quoted(join(ground.traces, "refused"));
  const attempts = ["update-ref refs/heads/main HEAD", "stash", "stash pop", "branch b", "tag v1", "push origin HEAD"];
  const config = quoted(join(repo.commonDir, "config"));
  const prompt = [
    `git config --file ${config} user.nickname agent`,
    "echo work > work.txt; git add -A; git commit -qm work; echo more >> work.txt",
    ...attempts.map((args) => `git ${args} 2>> ${quoted(join(ground.traces, "words"))} || echo ${args} >> ${refused}`),
  ].join("\n");
  const refs = repo.git("for-each-ref", "refs/heads", "refs/tags", "refs/stash");
  const plan = await repo.submit("p", [{ id: "a", prompt, merge: "manual" }]);
  await repo.untilState("p/a", "waiting:manual-merge");
  expect(ground.trace("refused")).toEqual(attempts);
  expect(ground.trace("words").join("\n")).toContain("this task's own branch is orchestrator/p/a");
  const own = /^.*refs\/heads\/orchestrator\/p\/a\n?/m;
  expect(repo.git("for-each-ref", "refs/heads", "refs/tags", "refs/stash").replace(own, "")).toBe(refs);
  await repo.control("merge", { task: "p/a" });
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(repo.read("work.txt")).toBe("work\nmore\n");
  // git asks no hook whether an entry of the stash may go.
  const [kept] = repo.keptRefs();
  expect(repo.git("show", `${kept ?? ""}:README.md`)).toBe("the user's, stashed");
  const { events } = await repo.call("read_log", { task: "p/a", limit: 1000 });
  expect(JSON.stringify(events)).toContain(`is kept: git stash apply ${kept ?? ""}`);
  expect(JSON.stringify(events)).toContain("git's own folder was changed: config;");
});

test("a role with `push` pushes, and no other; the repository's own hooks run for both", async () => {
  const repo = ground.main;
  const origin = join(ground.folder, "origin.git");
  execFileSync("git", ["init", "-q", "--bare", origin]);
  repo.git("remote", "add", "origin", origin);
  const hooks = join(repo.commonDir, "hooks");
  mkdirSync(hooks, { recursive: true });
  for (const name of ["pre-commit", "pre-push"]) {
    writeFileSync(join(hooks, name), `#!/bin/sh\necho ${name} >> ${quoted(join(ground.traces, "hooks"))}\n`);
    chmodSync(join(hooks, name), 0o755);
  }
  const prompt = "git commit -q --allow-empty -m x; git push -q origin HEAD";
  await repo.submit("p", [
    { id: "may", prompt, agent: "deployer", merge: "none", writes: [] },
    { id: "not", prompt, dependsOn: ["may"], merge: "none", writes: [] },
  ]);
  await repo.untilState("p/not", "failed");
  expect(await repo.states("p")).toMatchObject({ may: "succeeded" });
  expect(execFileSync("git", ["-C", origin, "for-each-ref", "--format=%(refname)"], { encoding: "utf8" })).toBe(
    "refs/heads/orchestrator/p/may\n",
  );
  expect(ground.trace("hooks")).toEqual(["pre-commit", "pre-push", "pre-commit"]);
});
