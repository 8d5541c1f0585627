/** 3.7, 3.11: an agent's own git moves its own branch and no other ref, and everything else of git works for it. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fenceHooks, fenceVariables, writeFence } from "../../src/git/fence.ts";
import { isolateGit, makeFixture, type Fixture } from "./fixture.ts";

isolateGit();

const BRANCH = "orchestrator/p/t";
let fixture: Fixture;
let hooksFolder: string;
let worktree: string;
let gitDir: string;

beforeEach(() => {
  fixture = makeFixture();
  fixture.write("a.txt", "a\n");
  fixture.commit("first");
  hooksFolder = join(fixture.root, "agent hooks");
  writeFence(hooksFolder);
  worktree = join(fixture.root, "work tree");
  fixture.git("worktree", "add", "-q", "-b", BRANCH, worktree);
  gitDir = fixture.gitIn(worktree, "rev-parse", "--absolute-git-dir");
});

afterEach(() => fixture.dispose());

interface Ran {
  readonly code: number | null;
  readonly text: string;
}

function environment(mayPush = false): NodeJS.ProcessEnv {
  const { PATH = "", HOME = "" } = process.env;
  return {
    PATH,
    HOME,
    ...fenceVariables({ branch: BRANCH, gitDir, commonDir: join(fixture.path, ".git"), mayPush }),
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "core.hooksPath",
    GIT_CONFIG_VALUE_0: hooksFolder,
  };
}

function agent(script: string, { cwd = worktree, mayPush = false } = {}): Ran {
  const { status, stdout, stderr } = spawnSync("sh", ["-ec", script], {
    cwd,
    env: environment(mayPush),
    encoding: "utf8",
  });
  return { code: status, text: stdout + stderr };
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const identity = "git config user.name Agent 2>/dev/null; git config user.email a@example.org";

describe("its own branch and worktree", () => {
  test.each([
    ["commits", "echo b > b.txt; git add -A; git commit -qm b; git commit -q --amend -m c"],
    ["commits in a subfolder", "mkdir sub; cd sub; echo b > b.txt; git add -A; git commit -qm b"],
    ["goes back and forth", "git commit -q --allow-empty -m b; git reset -q --hard HEAD~1; git reset -q ORIG_HEAD"],
    [
      "rebases",
      "git commit -q --allow-empty -m b; echo c > c.txt; git add -A; git commit -qm c; git rebase -q --onto main HEAD~1",
    ],
    ["merges the target", "git merge -q main"],
    ["looks at another commit and comes back", "git checkout -q --detach; git checkout -q -"],
    [
      "bisects",
      "git commit -q --allow-empty -m b; git bisect start HEAD HEAD~1 > start.txt; git bisect reset > reset.txt",
    ],
    [
      "cherry-picks and reverts",
      "git commit -q --allow-empty -m b; git cherry-pick --allow-empty HEAD; echo x > x; git add x; git commit -qm x; git revert --no-edit HEAD",
    ],
    [
      "names its git folder",
      `echo b > b.txt; git --git-dir="$(git rev-parse --git-dir)" --work-tree=. add -A; git --git-dir="$(git rev-parse --git-dir)" --work-tree=. commit -qm b`,
    ],
  ])("it %s", (_what, script) => {
    const { code, text } = agent(script);
    expect({ code, text: code === 0 ? "" : text }).toEqual({ code: 0, text: "" });
    expect(fixture.tip("main")).toBe(fixture.gitIn(fixture.path, "rev-parse", "HEAD"));
  });

  test("it fetches; what others have is there, under refs/remotes", () => {
    const origin = join(fixture.root, "origin");
    execFileSync("git", ["clone", "-q", fixture.path, origin], { env: environment() });
    fixture.git("remote", "add", "origin", origin);
    expect(agent("git fetch -q origin; git rev-parse -q --verify refs/remotes/origin/main")).toMatchObject({ code: 0 });
  });
});

describe("what is not its own is refused, in words, and stays", () => {
  test.each([
    ["the target", "git update-ref refs/heads/main HEAD", "refs/heads/main"],
    ["the target, taken by force", "git branch -f other HEAD~0", "refs/heads/other"],
    ["a new branch", "git checkout -q -b feature", "refs/heads/feature"],
    ["another task's branch", "git update-ref refs/heads/orchestrator/p/t2 HEAD", "refs/heads/orchestrator/p/t2"],
    ["a tag", "git tag v1", "refs/tags/v1"],
    ["the stash", "echo mine > a.txt; git stash", "refs/stash"],
    ["the user's stash, taken", "git stash pop", "refs/stash"],
    ["what is kept", "git update-ref -d refs/orchestrator/kept/x", "refs/orchestrator/kept/x"],
    ["a note", "git notes add -m hello", "refs/notes/commits"],
    ["all of them, packed", "git gc -q", "refs/heads/main"],
    ["a replacement", "git replace --graft HEAD", "refs/replace/"],
  ])("%s", (_what, script, ref) => {
    fixture.write("a.txt", "the user's\n");
    fixture.git("stash", "-q");
    fixture.git("update-ref", "refs/orchestrator/kept/x", "HEAD");
    fixture.git("branch", "other");
    agent("git commit -q --allow-empty -m own");
    const refs = fixture.git("for-each-ref");
    const { text } = agent(`${script} || true`);
    expect(text).toContain(`orchestrator: refused to change ${ref}`);
    expect(text).toContain(`own branch is ${BRANCH}`);
    expect(fixture.git("for-each-ref")).toBe(refs);
  });

  test("in the user's checkout nothing is committed, also on no branch; what it wanted to stash is still there", () => {
    fixture.git("checkout", "-q", "--detach");
    const head = fixture.git("rev-parse", "HEAD");
    const { code, text } = agent("git commit -q --allow-empty -m x", { cwd: fixture.path });
    expect([code, text]).toEqual([128, expect.stringContaining("refused to change HEAD")]);
    expect(fixture.git("rev-parse", "HEAD")).toBe(head);
    agent("echo mine > a.txt; git stash || true");
    expect(readFileSync(join(worktree, "a.txt"), "utf8")).toBe("mine\n");
  });

  test("a push, unless its role may", () => {
    const origin = join(fixture.root, "origin.git");
    execFileSync("git", ["init", "-q", "--bare", origin]);
    fixture.git("remote", "add", "origin", origin);
    const refused = agent("git push -q origin HEAD");
    expect(refused.code).toBe(1);
    expect(refused.text).toContain("this task may not push");
    expect(agent("git push -q . HEAD:refs/heads/main").text).toContain("this task may not push");
    expect(execFileSync("git", ["-C", origin, "for-each-ref"], { encoding: "utf8" })).toBe("");
    expect(agent("git push -q origin HEAD", { mayPush: true })).toEqual({ code: 0, text: "" });
    expect(execFileSync("git", ["-C", origin, "for-each-ref"], { encoding: "utf8" })).toContain(BRANCH);
  });
});

test("in a repository of its own, as a test makes one, git does everything, and pushes to folders of this machine only", () => {
  const script = [
    `git init -q -b main ../own; cd ../own; ${identity}`,
    "git commit -q --allow-empty -m a; git branch b; git tag v1; echo x > x; git add x; git stash -q; git stash pop -q",
    "git init -q --bare ../own.git; git push -q ../own.git main; git clone -q ../own.git ../other",
  ].join("; ");
  const ran = agent(script);
  expect({ ...ran, text: ran.code === 0 ? "" : ran.text }).toEqual({ code: 0, text: "" });
  const own = join(fixture.root, "own");
  for (const folder of [".git/hooks", ".theirs"]) {
    const run = `mkdir -p ${folder}; printf '#!/bin/sh\\necho $0 >> ran' > ${folder}/pre-commit; chmod +x ${folder}/pre-commit`;
    const where = folder === ".theirs" ? "git config core.hooksPath .theirs" : "true";
    expect(agent(`${run}; ${where}; git commit -q --allow-empty -m c`, { cwd: own }).code).toBe(0);
    expect(readFileSync(join(own, "ran"), "utf8")).toContain(`${folder}/pre-commit`);
  }
  // git asks the hook once it has connected.
  const asked = agent(`${quoted(join(hooksFolder, "pre-push"))} origin https://example.org/x.git < /dev/null`, {
    cwd: own,
  });
  expect(asked).toEqual({ code: 1, text: expect.stringContaining("may not push") });
});

describe("the repository's own hooks", () => {
  const hook = (folder: string, name: string, text: string): void => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
  };

  test.each([
    ["git's folder", () => join(fixture.path, ".git", "hooks"), []],
    ["core.hooksPath", () => join(fixture.root, "their hooks"), ["core.hooksPath", "ABSOLUTE"]],
    ["a relative core.hooksPath", () => join(worktree, ".husky", "_"), ["core.hooksPath", ".husky/_"]],
  ])("run as ever: %s", (_what, folderOf, config) => {
    const folder = folderOf();
    const [key, value] = config;
    if (key !== undefined && value !== undefined) fixture.git("config", key, value === "ABSOLUTE" ? folder : value);
    const file = join(fixture.root, "log");
    const log = quoted(file);
    hook(folder, "pre-commit", `echo "pre-commit $PWD" >> ${log}`);
    hook(folder, "commit-msg", `echo "commit-msg $(cat "$1")" >> ${log}; ! grep -q bad "$1"`);
    hook(folder, "post-commit", `echo post-commit >> ${log}`);
    hook(folder, "reference-transaction", `[ $1 != prepared ] || sed 's/.* //' >> ${log}`);
    hook(folder, "pre-push", `echo "pre-push $1" >> ${log}; cat > /dev/null`);
    expect(agent("git commit -q --allow-empty -m good")).toEqual({ code: 0, text: "" });
    expect(readFileSync(file, "utf8").split("\n")).toEqual([
      `pre-commit ${worktree}`,
      "commit-msg good",
      "HEAD",
      `refs/heads/${BRANCH}`,
      "post-commit",
      "",
    ]);
    expect(agent("git commit -q --allow-empty -m bad").code).toBe(1);
    agent("git push -q . HEAD:refs/heads/pushed || true", { mayPush: true });
    expect(readFileSync(file, "utf8")).toContain("pre-push .");
  });

  test("one that is switched off stays so, and without any git is as quiet as ever", () => {
    const folder = join(fixture.path, ".git", "hooks");
    hook(folder, "pre-commit", "exit 1");
    chmodSync(join(folder, "pre-commit"), 0o644);
    expect(agent("git commit -q --allow-empty -m good")).toEqual({ code: 0, text: "" });
  });
});

test("each hook is a script that sh can read, and what is written again is whole", () => {
  writeFileSync(join(hooksFolder, "pre-push"), "cut");
  writeFence(hooksFolder);
  for (const [name, text] of fenceHooks()) {
    const file = join(hooksFolder, name);
    expect(readFileSync(file, "utf8")).toBe(text);
    expect(spawnSync("sh", ["-n", file], { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
  }
  expect(existsSync(join(hooksFolder, "post-index-change"))).toBe(false);
});
