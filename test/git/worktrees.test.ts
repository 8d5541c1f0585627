import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Repository } from "../../src/git/repository.ts";
import type { EnsureOptions, TaskWorktree } from "../../src/git/worktrees.ts";
import { isolateGit, makeFixture, type Fixture } from "./fixture.ts";

let fixture: Fixture;
let repository: Repository;
let start: EnsureOptions;

isolateGit();
beforeEach(async () => {
  fixture = makeFixture();
  repository = await fixture.open();
  start = { planId: "plan", taskId: "task", branch: "orchestrator/plan/task", startSha: fixture.tip("main") };
});
afterEach(() => fixture.dispose());

const text = {
  subject: "Work left\nuncommitted",
  body: "Orchestrator-Task: faked\nand more",
  trailers: { planId: "plan", taskId: "task", attempt: 2 },
};

function put(worktree: TaskWorktree, file: string, content: string): void {
  writeFileSync(join(worktree.path, file), content);
}

function inside(worktree: TaskWorktree, ...args: readonly string[]): string {
  return fixture.gitIn(worktree.path, ...args);
}

describe("X2: a worktree for each task", () => {
  test("is made outside the repository, on the task's branch, locked, and listed", async () => {
    const made = await repository.worktrees.ensure(start);
    expect(made).toMatchObject({ branch: start.branch, headSha: start.startSha, isCreated: true, kept: [] });
    expect(made.path).toBe(repository.worktrees.pathOf("plan", "task"));
    expect(made.path.startsWith(fixture.worktreesRoot)).toBe(true);
    expect(readFileSync(join(made.path, "a.txt"), "utf8")).toBe("a1\n");
    expect(fixture.git("worktree", "list", "--porcelain")).toContain("locked orchestrator: plan plan, task task");
    expect(await repository.worktrees.list()).toMatchObject([
      { planId: "plan", taskId: "task", state: "ready", path: made.path },
    ]);
    fixture.git("worktree", "prune", "--expire=now");
    expect(existsSync(made.gitDir)).toBe(true);
    expect(fixture.git("status", "--porcelain")).toBe("");
  });

  test("a folder passes on to another task; giving it back late takes nothing from the one that has it now", async () => {
    const first = await repository.worktrees.ensure(start);
    await repository.worktrees.remove({ ...start, mergedInto: "main" });
    const next = { ...start, taskId: "task-2", folder: "task", branch: "orchestrator/plan/task-2" };
    const second = await repository.worktrees.ensure(next);
    expect(second).toMatchObject({ path: first.path, branch: next.branch, isCreated: true });
    put(second, "mine.txt", "not committed\n");
    expect(await repository.worktrees.remove({ ...start, mergedInto: "main" })).toMatchObject({ isRemoved: false });
    expect(readFileSync(join(second.path, "mine.txt"), "utf8")).toBe("not committed\n");
    expect(await repository.worktrees.remove({ ...next, mergedInto: "main" })).toMatchObject({ isRemoved: true });
    expect(existsSync(second.path)).toBe(false);
  });

  test("is answered as it was left, uncommitted work included", async () => {
    const made = await repository.worktrees.ensure(start);
    put(made, "a.txt", "half done\n");
    put(made, "new.txt", "new\n");
    const again = await (await fixture.open()).worktrees.ensure(start);
    expect(again).toEqual({ ...made, isCreated: false });
    expect(inside(made, "status", "--porcelain").split("\n")).toEqual([" M a.txt", "?? new.txt"]);
  });

  test("two calls at once for one task give one worktree; for two tasks, two", async () => {
    const other = { ...start, taskId: "other", branch: "orchestrator/plan/other" };
    const [one, two, three] = await Promise.all(
      [start, start, other].map((options) => repository.worktrees.ensure(options)),
    );
    expect(one?.path).toBe(two?.path);
    expect([one?.isCreated, two?.isCreated]).toEqual([true, false]);
    expect(three?.path).not.toBe(one?.path);
    expect(await repository.worktrees.list()).toHaveLength(2);
  });

  test("no hook of the user's runs while it is made or its work committed", async () => {
    mkdirSync(join(fixture.path, ".git/hooks"), { recursive: true });
    for (const name of [
      "post-checkout",
      "pre-commit",
      "commit-msg",
      "post-commit",
      "reference-transaction",
      "post-index-change",
    ]) {
      writeFileSync(
        join(fixture.path, ".git/hooks", name),
        '#!/bin/sh\ntouch "$(git rev-parse --git-common-dir)/ran"\nexit 1\n',
        { mode: 0o755 },
      );
    }
    fixture.gitIn(
      fixture.root,
      "config",
      "--file",
      join(fixture.path, ".git/config"),
      "core.hooksPath",
      join(fixture.path, ".git/hooks"),
    );
    const made = await repository.worktrees.ensure(start);
    put(made, "new.txt", "new\n");
    expect(await repository.worktrees.commitLeftovers(made.path, text)).toMatchObject({ type: "committed" });
    expect(existsSync(join(fixture.path, ".git/ran"))).toBe(false);
    rmSync(join(fixture.path, ".git/hooks"), { recursive: true });
  });

  test("one that git was killed in while making it is made anew", async () => {
    // A filter that never ends holds git in the middle of the checkout.
    const reached = join(fixture.root, "reached");
    const escaped = reached.replaceAll('"', '\\"').replaceAll("$", "\\$");
    fixture.write(".gitattributes", "z.txt filter=slow\n");
    fixture.write("z.txt", "z\n");
    fixture.commit("filtered");
    fixture.git("config", "filter.slow.smudge", `sh -c 'touch "$0"; exec sleep 300' "${escaped}"`);
    const path = repository.worktrees.pathOf("plan", "task");
    const args = [
      "worktree",
      "add",
      "--lock",
      "--reason",
      "orchestrator: plan plan, task task",
      "-b",
      start.branch,
      path,
    ];
    const child = spawn("git", args, { cwd: fixture.path, stdio: "ignore", detached: true });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await expect.poll(() => existsSync(reached), { timeout: 20_000 }).toBe(true);
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await ended;
    expect(existsSync(path)).toBe(true);
    fixture.git("config", "--unset", "filter.slow.smudge");

    expect(await repository.gitMarks(0)).toMatchObject([{ kind: "worktree-incomplete", path }]);
    const made = await repository.worktrees.ensure({ ...start, startSha: fixture.tip("main") });
    expect(made.isCreated).toBe(true);
    expect(inside(made, "status", "--porcelain")).toBe("");
    expect(readFileSync(join(path, "z.txt"), "utf8")).toBe("z\n");
    expect(await repository.gitMarks(0)).toEqual([]);
    expect(readdirSync(join(fixture.path, ".git/worktrees"))).toHaveLength(1);
  });

  test("a record without a folder, as git leaves it when killed at once, is taken away by prune; others' records stay", async () => {
    const foreign = join(fixture.root, "foreign");
    fixture.git("worktree", "add", "-q", "--detach", foreign);
    rmSync(foreign, { recursive: true });
    const record = join(fixture.path, ".git/worktrees/half");
    mkdirSync(record, { recursive: true });
    writeFileSync(join(record, "locked"), "orchestrator: plan plan, task task");
    expect(await repository.worktrees.prune()).toEqual({ records: ["half"], kept: [] });
    expect(existsSync(record)).toBe(false);
    expect(existsSync(join(fixture.path, ".git/worktrees/foreign"))).toBe(true);
  });

  test("P5: one whose folder was deleted is made anew from its branch, with what was staged kept, and no other is touched", async () => {
    const made = await repository.worktrees.ensure(start);
    const other = await repository.worktrees.ensure({ ...start, taskId: "other", branch: "orchestrator/plan/other" });
    put(other, "mine.txt", "other's work\n");
    put(made, "done.txt", "done\n");
    inside(made, "add", "-A");
    inside(made, "commit", "-q", "-m", "done");
    put(made, "staged.txt", "staged\n");
    inside(made, "add", "-A");
    rmSync(made.path, { recursive: true });
    expect((await repository.worktrees.list()).map(({ state }) => state).sort()).toEqual(["missing", "ready"]);

    const again = await repository.worktrees.ensure(start);
    expect(again).toMatchObject({ isCreated: true, path: made.path });
    expect(readFileSync(join(again.path, "done.txt"), "utf8")).toBe("done\n");
    expect(again.kept).toHaveLength(1);
    expect(fixture.git("show", `${again.kept[0]?.ref}:staged.txt`)).toBe("staged");
    expect(readFileSync(join(other.path, "mine.txt"), "utf8")).toBe("other's work\n");
  });

  test("P5: one that can't be made is an error of that task alone, and leaves nothing behind", async () => {
    const path = repository.worktrees.pathOf("plan", "task");
    mkdirSync(join(path, ".."), { recursive: true });
    fixture.git("switch", "-q", "-c", start.branch);
    await expect(repository.worktrees.ensure(start)).rejects.toMatchObject({ code: "WORKTREE_FAILED" });
    await expect(
      repository.worktrees.ensure({ ...start, branch: "orchestrator/plan/t2", startSha: "1".repeat(40) }),
    ).rejects.toMatchObject({
      code: expect.stringMatching(/WORKTREE_FAILED|GIT_FAILED/) as string,
    });
    expect(existsSync(path)).toBe(false);
    expect(
      (await repository.worktrees.ensure({ ...start, taskId: "b", branch: "orchestrator/plan/b" })).isCreated,
    ).toBe(true);
  });

  test("ids that would lead out of the folder are refused", async () => {
    for (const taskId of ["..", "../x", "a/b", "", "-x", "_queue", "a\0b"]) {
      await expect(repository.worktrees.ensure({ ...start, taskId })).rejects.toMatchObject({
        code: "WORKTREE_FAILED",
      });
    }
  });

  test("a folder in its place that git knows nothing of is moved aside, not deleted", async () => {
    const path = repository.worktrees.pathOf("plan", "task");
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "precious"), "precious\n");
    await repository.worktrees.ensure(start);
    const [mark] = await repository.gitMarks(0);
    expect(mark?.kind).toBe("put-aside");
    expect(readFileSync(join(mark?.path ?? "", "precious"), "utf8")).toBe("precious\n");
  });
});

describe("the task's branch from before", () => {
  test("is not touched while the user has it checked out or is rebasing it", async () => {
    const own = fixture.commitOn("main", { "a.txt": "own\n" });
    fixture.git("branch", start.branch, own);
    fixture.write("a.txt", "a2\n");
    const startSha = fixture.commit("more");
    fixture.git("switch", "-q", start.branch);
    await expect(repository.worktrees.ensure({ ...start, startSha })).rejects.toMatchObject({
      code: "WORKTREE_FAILED",
    });
    expect(() => fixture.git("rebase", "main")).toThrow();
    await expect(repository.worktrees.ensure({ ...start, startSha })).rejects.toMatchObject({
      code: "WORKTREE_FAILED",
    });
    expect(fixture.tip(start.branch)).toBe(own);
  });

  test("is reused when it descends from the start", async () => {
    const own = fixture.commitOn("main", { "own.txt": "own\n" });
    fixture.git("branch", start.branch, own);
    expect(await repository.worktrees.ensure(start)).toMatchObject({ headSha: own, kept: [] });
  });

  test("is moved to the start when it has nothing of its own", async () => {
    fixture.git("branch", start.branch);
    fixture.write("a.txt", "a2\n");
    const startSha = fixture.commit("more");
    expect(await repository.worktrees.ensure({ ...start, startSha })).toMatchObject({ headSha: startSha, kept: [] });
  });

  test("is kept by a ref and begun anew when it diverged", async () => {
    const own = fixture.commitOn("main", { "own.txt": "own\n" });
    fixture.git("branch", start.branch, own);
    fixture.write("a.txt", "a2\n");
    const startSha = fixture.commit("more");
    const made = await repository.worktrees.ensure({ ...start, startSha });
    expect(made.headSha).toBe(startSha);
    expect(made.kept).toEqual([{ ref: "refs/orchestrator/kept/plan/task/1", sha: own }]);
    expect(fixture.tip("refs/orchestrator/kept/plan/task/1")).toBe(own);
  });
});

describe("section 6: work left uncommitted is committed for the agent", () => {
  test("odd names, deletions, links and modes go in; ignored files do not; the trailers are ours", async () => {
    const made = await repository.worktrees.ensure(start);
    const names = ["-leading", "new\nline", "quo\"te'", "tab\t", "ünïcode", ":(top)magic", "*.star", " "];
    for (const name of names) put(made, name, "x\n");
    const bytes = Buffer.concat([Buffer.from(`${made.path}/`), Buffer.from([0x6c, 0xe9, 0x2e, 0x74])]);
    writeFileSync(bytes, "latin1\n");
    put(made, "ignored.log", "x\n");
    symlinkSync("nowhere", join(made.path, "link"));
    rmSync(join(made.path, "b.txt"));
    chmodSync(join(made.path, "a.txt"), 0o755);
    const outcome = await repository.worktrees.commitLeftovers(made.path, text);
    if (outcome.type !== "committed") throw new Error(JSON.stringify(outcome));
    expect([...outcome.files].sort()).toEqual([...names, "a.txt", "b.txt", "l\\xe9.t", "link"].sort());
    expect(inside(made, "status", "--porcelain")).toBe("");
    expect(fixture.tip(start.branch)).toBe(outcome.sha);
    expect(inside(made, "log", "-1", "--format=%s|%an <%ae>")).toBe(
      "Work left uncommitted|Some User <user@example.org>",
    );
    const trailers = inside(made, "log", "-1", "--format=%(trailers:only,unfold)").trim();
    expect(trailers).toBe("Orchestrator-Plan: plan\nOrchestrator-Task: task\nOrchestrator-Attempt: 2");
    expect(await repository.trailers(outcome.sha)).toEqual({ planId: "plan", taskId: "task", attempt: 2 });
    expect(await repository.trailers(start.startSha)).toBeNull();
  });

  test("nothing left over makes no commit", async () => {
    const made = await repository.worktrees.ensure(start);
    put(made, "ignored.log", "x\n");
    expect(await repository.worktrees.commitLeftovers(made.path, text)).toMatchObject({
      type: "nothing",
      sha: start.startSha,
    });
    expect(fixture.tip(start.branch)).toBe(start.startSha);
  });

  test("a signing program that fails, and no user.name, stop nothing", async () => {
    fixture.git("config", "commit.gpgsign", "true");
    fixture.git("config", "gpg.program", "false");
    fixture.git("config", "--unset", "user.name");
    fixture.git("config", "--unset", "user.email");
    fixture.git("config", "user.useConfigOnly", "true");
    const made = await repository.worktrees.ensure(start);
    put(made, "new.txt", "new\n");
    expect(await repository.worktrees.commitLeftovers(made.path, text)).toMatchObject({ type: "committed" });
    expect(inside(made, "log", "-1", "--format=%an <%ae> %cn")).toBe(
      "orchestrator <orchestrator@localhost> orchestrator",
    );
  });

  test("what was copied or linked in is left out, also when the worktree goes", async () => {
    const made = await repository.worktrees.ensure(start);
    await repository.worktrees.leaveOut(made.path, ["[.]*", "node_modules/"]);
    await repository.worktrees.leaveOut(made.path, [".env"]);
    put(made, ".env", "SECRET=1\n");
    put(made, "[.]*", "SECRET=2\n");
    symlinkSync(fixture.path, join(made.path, "node_modules"));
    expect(await repository.worktrees.summary(made.path, start.startSha)).toMatchObject({
      files: [],
      hasUncommitted: false,
    });
    put(made, ".new", "new\n");
    const outcome = await repository.worktrees.commitLeftovers(made.path, text);
    expect(outcome).toMatchObject({ type: "committed", files: [".new"] });
    expect(inside(made, "status", "--porcelain").split("\n").sort()).toEqual(["?? .env", "?? [.]*", "?? node_modules"]);
    put(made, ".late", "late\n");
    const [kept] = (await repository.worktrees.remove(start)).kept;
    expect(fixture.git("diff", "--name-only", outcome.type === "committed" ? outcome.sha : "", kept?.ref ?? "")).toBe(
      ".late",
    );
  });

  test("a repository that the agent made inside is told and left alone", async () => {
    const made = await repository.worktrees.ensure(start);
    for (const name of ["[e]*", "full repo"]) fixture.gitIn(made.path, "init", "-q", name);
    const identity = ["-c", "user.name=x", "-c", "user.email=x@x"];
    fixture.gitIn(join(made.path, "full repo"), ...identity, "commit", "-q", "--allow-empty", "-m", "x");
    put(made, "extra.txt", "new\n");
    const outcome = await repository.worktrees.commitLeftovers(made.path, text);
    expect(outcome).toMatchObject({
      type: "committed",
      files: ["extra.txt"],
      nestedRepositories: ["[e]*/", "full repo/"],
    });
  });

  for (const operation of ["merge", "rebase", "cherry-pick"]) {
    test(`in the middle of a ${operation} the answer says so and nothing changes`, async () => {
      fixture.git("branch", "side", fixture.commitOn("main", { "a.txt": "side\n" }));
      const made = await repository.worktrees.ensure(start);
      put(made, "a.txt", "own\n");
      await repository.worktrees.commitLeftovers(made.path, text);
      expect(() => inside(made, operation, "side")).toThrow();
      const status = inside(made, "status", "--porcelain");
      const outcome = await repository.worktrees.commitLeftovers(made.path, text);
      expect(outcome).toMatchObject({ type: "obstructed", reason: "operation-under-way", operation });
      expect(inside(made, "status", "--porcelain")).toBe(status);
    });
  }

  test("a detached HEAD with commits of the agent is brought back to the branch with them", async () => {
    const made = await repository.worktrees.ensure(start);
    inside(made, "checkout", "-q", "--detach");
    put(made, "one.txt", "1\n");
    inside(made, "add", "-A");
    inside(made, "commit", "-q", "-m", "on a detached HEAD");
    put(made, "two.txt", "2\n");
    const outcome = await repository.worktrees.commitLeftovers(made.path, text);
    expect(outcome).toMatchObject({ type: "committed", files: ["two.txt"], broughtBackFrom: "detached" });
    expect(inside(made, "rev-parse", "--abbrev-ref", "HEAD")).toBe(start.branch);
    expect(inside(made, "ls-tree", "--name-only", start.branch).split("\n")).toEqual(
      expect.arrayContaining(["one.txt", "two.txt"]),
    );
  });

  test("a branch of the agent's own is followed; the agent's branch stays", async () => {
    const made = await repository.worktrees.ensure(start);
    inside(made, "switch", "-q", "-c", "my-idea");
    put(made, "one.txt", "1\n");
    inside(made, "add", "-A");
    inside(made, "commit", "-q", "-m", "mine");
    const outcome = await repository.worktrees.commitLeftovers(made.path, text);
    expect(outcome).toMatchObject({ type: "nothing", broughtBackFrom: "my-idea", sha: fixture.tip("my-idea") });
    expect(fixture.tip(start.branch)).toBe(fixture.tip("my-idea"));
  });

  test("a HEAD on something that does not contain the task's work is an answer", async () => {
    const made = await repository.worktrees.ensure(start);
    put(made, "one.txt", "1\n");
    await repository.worktrees.commitLeftovers(made.path, text);
    const tip = fixture.tip(start.branch);
    inside(made, "checkout", "-q", "--detach", start.startSha);
    put(made, "two.txt", "2\n");
    const outcome = await repository.worktrees.commitLeftovers(made.path, text);
    expect(outcome).toMatchObject({ type: "obstructed", reason: "diverged", headSha: start.startSha });
    expect(fixture.tip(start.branch)).toBe(tip);
    expect(inside(made, "status", "--porcelain")).toBe("?? two.txt");
  });

  test("a branch that the agent deleted comes back with its commits", async () => {
    const made = await repository.worktrees.ensure(start);
    put(made, "one.txt", "1\n");
    await repository.worktrees.commitLeftovers(made.path, text);
    const tip = fixture.tip(start.branch);
    fixture.git("update-ref", "-d", `refs/heads/${start.branch}`);
    expect(await repository.worktrees.ensure(start)).toMatchObject({ isCreated: false, headSha: tip });
    fixture.git("update-ref", "-d", `refs/heads/${start.branch}`);
    put(made, "two.txt", "2\n");
    const outcome = await repository.worktrees.commitLeftovers(made.path, text);
    expect(outcome).toMatchObject({ type: "committed", files: ["two.txt"], broughtBackFrom: "deleted" });
    expect(fixture.git("rev-parse", `${start.branch}~1`)).toBe(tip);
  });

  test("a .git file that the agent deleted or bent leads into no other repository", async () => {
    const decoy = makeFixture();
    const made = await repository.worktrees.ensure(start);
    for (const content of [null, `gitdir: ${decoy.path}/.git\n`]) {
      rmSync(join(made.path, ".git"));
      if (content !== null) writeFileSync(join(made.path, ".git"), content);
      put(made, content === null ? "one.txt" : "two.txt", "x\n");
      expect(await repository.worktrees.summary(made.path, start.startSha)).toMatchObject({ branch: start.branch });
      expect(await repository.worktrees.commitLeftovers(made.path, text)).toMatchObject({ type: "committed" });
      expect(inside(made, "rev-parse", "--abbrev-ref", "HEAD")).toBe(start.branch);
    }
    expect(decoy.git("log", "--all", "--oneline").split("\n")).toHaveLength(1);
    decoy.dispose();
  });

  test("a lock that a killed git left in the worktree does not stop it", async () => {
    const made = await repository.worktrees.ensure(start);
    writeFileSync(join(made.gitDir, "index.lock"), "");
    put(made, "one.txt", "1\n");
    expect(await repository.worktrees.commitLeftovers(made.path, text)).toMatchObject({ type: "committed" });
  });

  test("a filter that fails is an error, not a commit without the file", async () => {
    const made = await repository.worktrees.ensure(start);
    fixture.git("config", "filter.broken.clean", "false");
    fixture.git("config", "filter.broken.required", "true");
    put(made, ".gitattributes", "*.bin filter=broken\n");
    put(made, "one.bin", "1\n");
    await expect(repository.worktrees.commitLeftovers(made.path, text)).rejects.toMatchObject({ code: "GIT_FAILED" });
    await expect(repository.worktrees.remove(start)).rejects.toMatchObject({ code: "GIT_FAILED" });
    expect(readFileSync(join(made.path, "one.bin"), "utf8")).toBe("1\n");
  });

  test("a submodule's folder does not stop it", async () => {
    const inner = makeFixture();
    fixture.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.path, "sub module");
    const startSha = fixture.commit("with a submodule");
    const made = await repository.worktrees.ensure({ ...start, startSha });
    put(made, "one.txt", "1\n");
    expect(await repository.worktrees.commitLeftovers(made.path, text)).toMatchObject({
      type: "committed",
      files: ["one.txt"],
    });
    expect(await repository.worktrees.remove(start)).toMatchObject({ isRemoved: true, keptFolders: [] });
    inner.dispose();
  });

  test("a submodule that the agent worked in is moved out whole before the worktree goes; an untouched one is not", async () => {
    const inner = makeFixture();
    const allowed = ["-c", "protocol.file.allow=always", "submodule", "--quiet"];
    for (const name of ["touched", "untouched"]) fixture.git(...allowed, "add", inner.path, name);
    const startSha = fixture.commit("with submodules");
    const made = await repository.worktrees.ensure({ ...start, startSha });
    inside(made, ...allowed, "update", "--init");
    const own = join(made.path, "touched");
    writeFileSync(join(own, "inner.txt"), "1\n");
    fixture.gitIn(own, "add", "-A");
    fixture.gitIn(own, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "in the submodule");
    const sha = fixture.gitIn(own, "rev-parse", "HEAD");
    writeFileSync(join(own, "later.txt"), "2\n");
    const { keptFolders } = await repository.worktrees.remove(start);
    expect(keptFolders).toHaveLength(1);
    const kept = keptFolders[0] ?? "";
    expect(fixture.gitIn(kept, "rev-parse", "HEAD")).toBe(sha);
    expect(fixture.gitIn(kept, "status", "--porcelain")).toBe("?? later.txt");
    expect(existsSync(made.path)).toBe(false);
    inner.dispose();
  });
});

test("a summary tells what is committed, changed and new", async () => {
  const made = await repository.worktrees.ensure(start);
  put(made, "one.txt", "1\n2\n");
  await repository.worktrees.commitLeftovers(made.path, text);
  put(made, "a.txt", "changed\n");
  put(made, "new.txt", "x\n");
  const summary = await repository.worktrees.summary(made.path, start.startSha);
  expect(summary).toMatchObject({
    branch: start.branch,
    insertions: 3,
    deletions: 1,
    hasUncommitted: true,
    operation: null,
  });
  expect(summary.files.map(({ path, status }) => `${status} ${path}`).sort()).toEqual([
    "A new.txt",
    "A one.txt",
    "M a.txt",
  ]);
});

describe("section 3.6: a clean-up loses nothing", () => {
  test("a merged branch goes, and nothing is kept", async () => {
    const made = await repository.worktrees.ensure(start);
    put(made, "one.txt", "1\n");
    await repository.worktrees.commitLeftovers(made.path, text);
    fixture.git("merge", "-q", "--ff-only", start.branch);
    const removal = await repository.worktrees.remove({ ...start, mergedInto: "refs/heads/main" });
    expect(removal).toEqual({ isRemoved: true, isBranchDeleted: true, kept: [], keptFolders: [] });
    expect(existsSync(made.path)).toBe(false);
    expect(existsSync(join(made.path, ".."))).toBe(false);
    expect(await repository.branchExists(start.branch)).toBe(false);
    expect(await repository.worktrees.list()).toEqual([]);
    expect(await repository.worktrees.remove(start)).toEqual({
      isRemoved: false,
      isBranchDeleted: false,
      kept: [],
      keptFolders: [],
    });
  });

  test("uncommitted work gets a kept ref, and the unmerged branch stays", async () => {
    const made = await repository.worktrees.ensure(start);
    put(made, "one.txt", "1\n");
    await repository.worktrees.commitLeftovers(made.path, text);
    const tip = fixture.tip(start.branch);
    put(made, "two.txt", "2\n");
    put(made, "a.txt", "changed\n");
    const { kept, isBranchDeleted } = await repository.worktrees.remove({ ...start, mergedInto: "refs/heads/main" });
    expect(isBranchDeleted).toBe(false);
    expect(kept.map(({ ref }) => ref)).toEqual(["refs/orchestrator/kept/plan/task/1"]);
    expect(fixture.git("show", "refs/orchestrator/kept/plan/task/1:two.txt")).toBe("2");
    expect(fixture.git("show", "refs/orchestrator/kept/plan/task/1:a.txt")).toBe("changed");
    expect(fixture.git("rev-parse", "refs/orchestrator/kept/plan/task/1~1")).toBe(tip);
    expect(fixture.tip(start.branch)).toBe(tip);
  });

  test("an unmerged branch that is to go gets a kept ref first", async () => {
    const made = await repository.worktrees.ensure(start);
    put(made, "one.txt", "1\n");
    await repository.worktrees.commitLeftovers(made.path, text);
    const tip = fixture.tip(start.branch);
    const removal = await repository.worktrees.remove({ ...start, unmerged: "delete-branch" });
    expect(removal).toMatchObject({ isBranchDeleted: true, kept: [{ sha: tip }] });
    expect(await repository.keptRefs({ planId: "plan" })).toEqual([
      { ref: "refs/orchestrator/kept/plan/task/1", sha: tip },
    ]);
  });

  test("conflicts under way, a detached HEAD's commits and nested repositories are kept", async () => {
    fixture.git("branch", "side", fixture.commitOn("main", { "a.txt": "side\n" }));
    const made = await repository.worktrees.ensure(start);
    inside(made, "checkout", "-q", "--detach");
    put(made, "a.txt", "own\n");
    inside(made, "commit", "-q", "-am", "off the branch");
    const off = inside(made, "rev-parse", "HEAD");
    expect(() => inside(made, "merge", "side")).toThrow();
    put(made, "b.txt", "unresolved too\n");
    fixture.gitIn(made.path, "init", "-q", "nested");
    put(made, "nested/deep.txt", "deep\n");
    const { kept, keptFolders } = await repository.worktrees.remove(start);
    const ref = kept[0]?.ref ?? "";
    expect(fixture.git("rev-parse", `${ref}~1`)).toBe(off);
    expect(fixture.git("show", `${ref}:a.txt`)).toContain("<<<<<<<");
    expect(fixture.git("show", `${ref}:b.txt`)).toBe("unresolved too");
    expect(readFileSync(join(keptFolders[0] ?? "", "deep.txt"), "utf8")).toBe("deep\n");
  });

  test("commits of a detached HEAD with nothing uncommitted are kept", async () => {
    const made = await repository.worktrees.ensure(start);
    inside(made, "checkout", "-q", "--detach");
    put(made, "a.txt", "own\n");
    inside(made, "commit", "-q", "-am", "off the branch");
    const off = inside(made, "rev-parse", "HEAD");
    expect((await repository.worktrees.remove(start)).kept).toMatchObject([{ sha: off }]);
  });

  test("a removal that was killed half-way is finished by the next one or by prune, and keeps nothing half-deleted", async () => {
    const made = await repository.worktrees.ensure(start);
    const mark = join(made.gitDir, "orchestrator.json");
    writeFileSync(mark, JSON.stringify({ ...JSON.parse(readFileSync(mark, "utf8")), isBeingRemoved: true }));
    rmSync(join(made.path, "a.txt"));
    expect(await repository.worktrees.list()).toMatchObject([{ state: "removing" }]);
    expect(await repository.worktrees.prune()).toMatchObject({ kept: [] });
    expect(existsSync(made.path)).toBe(false);
    expect(existsSync(made.gitDir)).toBe(false);
  });

  test("read-only folders in it do not stop the removal; links are not followed", async () => {
    const made = await repository.worktrees.ensure(start);
    const outside = join(fixture.root, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "x"), "x");
    symlinkSync(outside, join(made.path, "node_modules"));
    mkdirSync(join(made.path, "cache/deep"), { recursive: true });
    put(made, "cache/deep/file.log", "x");
    chmodSync(join(made.path, "cache/deep"), 0o500);
    chmodSync(join(made.path, "cache"), 0o500);
    expect((await repository.worktrees.remove(start)).isRemoved).toBe(true);
    expect(existsSync(made.path)).toBe(false);
    expect(existsSync(join(outside, "x"))).toBe(true);
  });

  test("the user's own worktrees and one looked at by the user are not touched", async () => {
    const made = await repository.worktrees.ensure(start);
    fixture.git("merge", "-q", "--ff-only", start.branch);
    inside(made, "checkout", "-q", "--detach");
    const looking = join(fixture.root, "looking");
    fixture.git("worktree", "add", "-q", looking, start.branch);
    expect(await repository.worktrees.remove({ ...start, mergedInto: "main" })).toMatchObject({
      isRemoved: true,
      isBranchDeleted: false,
    });
    expect(existsSync(join(looking, "a.txt"))).toBe(true);
    expect(await repository.branchExists(start.branch)).toBe(true);
  });
});
