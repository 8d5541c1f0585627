/** A person merges a task's branch by hand: that completes the task, and nothing is merged twice. */
import { existsSync, writeFileSync } from "node:fs";
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
afterEach(() => ground.leave());

test.each([
  ["merged", (branch: string) => repo.git("merge", "-q", "--no-edit", branch)],
  [
    "squashed",
    (branch: string) => {
      repo.git("merge", "-q", "--squash", branch);
      repo.git("commit", "-qm", "squashed by hand");
    },
  ],
  [
    "rebased, and changed afterwards",
    (branch: string) => {
      repo.git("cherry-pick", `main..${branch}`);
      repo.commit("changed afterwards", { "work.txt": "otherwise\n" });
    },
  ],
])("M4: a task whose branch a person %s by hand is done, and its dependents go on", async (_how, byHand) => {
  const plan = await repo.submit("hand", [
    { id: "work", prompt: "echo work >work.txt", merge: "manual" },
    { id: "after", prompt: "test -f work.txt && echo after >after.txt", dependsOn: ["work"] },
  ]);
  await repo.untilState("hand/work", "waiting:manual-merge");
  repo.commit("meanwhile", { "meanwhile.txt": "m\n" });
  byHand("orchestrator/hand/work");
  await repo.untilState("hand/after", "succeeded");
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(await repo.states(plan)).toEqual({ work: "succeeded", after: "succeeded" });
  // The queue made a merge for the dependent alone.
  expect(repo.merges()).toEqual({ after: 1 });
});

test("M4: a conflict that a person resolved by merging the branch is done; one that is only near it is not", async () => {
  const [begun, goOn] = [join(ground.folder, "begun"), join(ground.folder, "go-on")];
  const plan = await repo.submit("clash", [
    {
      id: "edit",
      prompt: `echo task >README.md; touch ${quoted(begun)}; until [ -f ${quoted(goOn)} ]; do sleep 0.1; done`,
    },
  ]);
  // Only once its agent works: its branch begins before this commit.
  await until("the agent works", () => existsSync(begun));
  repo.commit("mine", { "README.md": "mine\n" });
  writeFileSync(goOn, "");
  await repo.untilState("clash/edit", "waiting:conflict");
  repo.commit("near", { "near.txt": "n\n" });
  expect(await repo.settled(plan)).toBe("needs-person");
  expect(() => repo.git("merge", "-q", "orchestrator/clash/edit")).toThrow();
  repo.write("README.md", "both\n");
  repo.git("commit", "-qam", "by hand");
  await repo.untilState("clash/edit", "succeeded");
  expect(repo.read("README.md")).toBe("both\n");
});
