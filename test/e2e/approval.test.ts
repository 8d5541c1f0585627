/** What changes what runs on the user's machine waits for the user before it is merged, and is not used before it is trusted. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BUILD, Ground } from "./engine-support.ts";
import { until } from "../support/until.js";

let ground: Ground;

beforeEach(() => {
  ground = new Ground();
});

afterEach(async () => {
  await ground.leave();
});

test.each([
  ["our own config", "mkdir -p .orchestrator && echo '{}' > .orchestrator/config.json", ".orchestrator/config.json"],
  ["husky's hooks", "mkdir -p .husky && echo true > .husky/pre-commit", ".husky/pre-commit"],
  ["a link in the place of husky's hooks", "ln -s elsewhere .husky", ".husky"],
  ["the folder's name in capitals", "mkdir -p .Husky && echo true > .Husky/pre-commit", ".Husky/pre-commit"],
  ["hooks that the repository tracks", "echo true > tools/hooks/pre-push", "tools/hooks/pre-push"],
  ["the removal of such a hook", "git rm -q tools/hooks/pre-commit", "tools/hooks/pre-commit"],
])("a branch that changes %s waits for approval, before anything of it runs", async (_what, command, path) => {
  const repo = ground.main;
  repo.commit("hooks", { "tools/hooks/pre-commit": "exit 0\n" });
  repo.git("config", "core.hooksPath", "tools/hooks");
  const verify = [`echo ran >> '${ground.traces}/verify'`];
  const plan = await repo.submit("p", [{ id: "a", prompt: command, verify }]);
  expect(await repo.settled(plan)).toBe("needs-person");
  const { why } = await repo.task("p/a");
  expect(why).toMatchObject({ code: "approval" });
  expect(why?.message).toContain(path);
  expect(why?.command).toContain("orchestrator approve p/a");
  expect(ground.trace("verify")).toEqual([]);
  expect(repo.merges()).toEqual({});
  await repo.control("approve", { task: "p/a" });
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(ground.trace("verify")).toHaveLength(1);
  expect(repo.merges()).toEqual({ a: 1 });
});

test("M4: a conflict mended by hand and merged by name approves no hooks that the branch brings", async () => {
  const repo = ground.main;
  const commands = { hook: "mkdir .husky; echo true > .husky/pre-commit", shared: "echo agent > shared.txt" };
  const gate = join(ground.traces, "gate");
  const prompt = `${commands.hook}; ${commands.shared}; while [ ! -e '${gate}' ]; do sleep 0.05; done`;
  const plan = await repo.submit("p", [{ id: "a", prompt, merge: "manual" }]);
  await repo.untilState("p/a", "running");
  await until("its worktree is made", async () => (await repo.task("p/a")).worktree !== null);
  repo.commit("meanwhile", { "shared.txt": "person\n" });
  writeFileSync(gate, "");
  await repo.untilState("p/a", "waiting:manual-merge");
  await repo.control("merge", { task: "p/a" });
  await repo.untilState("p/a", "waiting:conflict");
  const { worktree } = await repo.task("p/a");
  repo.gitAt(worktree ?? "", "merge", "-q", "-X", "ours", "-m", "mended", "main");
  await repo.control("merge", { task: "p/a" });
  await repo.untilState("p/a", "waiting:approval");
  // Said once more it is no approval either.
  await repo.control("merge", { task: "p/a" });
  await repo.untilState("p/a", "waiting:approval");
  expect((await repo.task("p/a")).why?.message).toContain(".husky/pre-commit");
  expect(repo.merges()).toEqual({});
  await repo.control("approve", { task: "p/a" });
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(repo.merges()).toEqual({ a: 1 });
});

test.each([
  ["the root itself", "config core.hooksPath .", "echo true > post-merge; echo 1 > tools/other", ["post-merge"]],
  ["a folder that a link leads to", "link folder", "echo true > tools/hooks/post-merge", ["tools/hooks/post-merge"]],
  ["a file that a link leads to", "link file", "echo true > tools/run.sh; echo 1 > tools/other", ["tools/run.sh"]],
])("hooks in the tree are known as such where they are %s", async (_what, how, command, paths) => {
  const repo = ground.main;
  repo.commit("hooks", { "tools/hooks/pre-commit": "exit 0\n", "tools/run.sh": "exit 0\n" });
  const own = join(repo.path, ".git", "hooks");
  if (how === "link folder") {
    rmSync(own, { recursive: true });
    symlinkSync("../tools/hooks", own);
  } else if (how === "link file") symlinkSync("../../tools/run.sh", join(own, "pre-rebase"));
  else repo.git(...how.split(" "));
  const plan = await repo.submit("p", [{ id: "a", prompt: command }]);
  expect(await repo.settled(plan)).toBe("needs-person");
  const { why } = await repo.task("p/a");
  expect(why?.code).toBe("approval");
  expect(why?.message).toContain(`it changes what runs on your machine: ${paths.join(", ")} (`);
});

test.each([
  ["forced in", "git add -f .env && git commit -qm env", [".env"], true],
  [
    "in a commit of which the next takes it out",
    "git add -f .env && git commit -qm a && git rm -q --cached .env && git commit -qm b",
    [".env"],
    false,
  ],
  ["from a folder that was copied whole", "git add -f secrets && git commit -qm s", ["secrets/deep/key.pem"], true],
  ["as a link", "git add -f shared && git commit -qm s", ["shared"], true],
])(
  "6: what was lent to the worktree is not merged without a look: %s",
  async (_what, command, paths, isRefusedByGit) => {
    ground.configure({ worktree: { copy: [".env", "secrets"], link: ["shared"] } });
    const other = ground.repository("lent");
    mkdirSync(join(other.path, "secrets/deep"), { recursive: true });
    writeFileSync(join(other.path, "secrets/deep/key.pem"), "k\n");
    mkdirSync(join(other.path, "shared"));
    writeFileSync(join(other.path, "shared/users"), "u\n");
    writeFileSync(join(other.path, ".env"), "KEY=secret\n");
    const plan = await other.submit("p", [
      { id: "a", prompt: `${command}; echo a > a.txt` },
      { id: "b", prompt: "test -e .env && echo b > b.txt && git add -A" },
    ]);
    expect(await other.settled(plan)).toBe("needs-person");
    const { why } = await other.task("p/a");
    expect(why).toMatchObject({ code: "approval", command: "orchestrator approve p/a" });
    expect(why?.message).toContain(`worktree.copy or worktree.link: ${paths.join(", ")} (`);
    expect(other.merges()).toEqual({ b: 1 });
    await other.control("approve", { task: "p/a" });
    const isIn = await other.settled(plan);
    // Approved, git itself still refuses to put it over the user's own file.
    const { why: then } = await other.task("p/a");
    expect([isIn, then?.code ?? null]).toEqual(isRefusedByGit ? ["needs-person", "manual-merge"] : ["succeeded", null]);
    expect(other.read(".env")).toBe("KEY=secret\n");
    expect(other.read("secrets/deep/key.pem")).toBe("k\n");
  },
);

test("a config that an approved task changed is not used before it is trusted again", async () => {
  const repo = ground.main;
  mkdirSync(join(repo.path, ".orchestrator"));
  writeFileSync(join(repo.path, ".orchestrator", "config.json"), "{}\n");
  repo.commit("config", { ".orchestrator/config.json": "{}\n" });
  const config = (await import(pathToFileURL(join(BUILD, "config", "index.js")).href)) as {
    trustProject: typeof import("../../src/config/index.ts").trustProject;
    describeChange: typeof import("../../src/config/index.ts").describeChange;
  };
  const places = { home: join(ground.home, ".orchestrator"), mainWorktree: repo.path };
  await config.trustProject(places);
  const prompt = `echo '{ "verify": ["touch OWNED"] }' > .orchestrator/config.json`;
  await repo.submit("p", [{ id: "a", prompt }]);
  expect(await repo.settled("p")).toBe("needs-person");
  await repo.control("approve", { task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
  const tasks = [{ id: "b", agent: "command", prompt: "true" }];
  expect(await repo.refusal("create_plan", { name: "q", tasks })).toMatchObject({
    code: "CONFIG_UNTRUSTED",
    message: expect.stringContaining("changed since it was trusted") as string,
  });
  const { state, diff } = config.describeChange(places);
  expect(state).toBe("changed");
  expect(diff).toContain('+ { "verify": ["touch OWNED"] }');
  await config.trustProject(places);
  await repo.submit("q", [{ id: "b", prompt: "echo b > b.txt" }]);
  expect(await repo.settled("q")).toBe("succeeded");
});
