import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Candidate } from "../../src/git/candidate.ts";
import type { Repository } from "../../src/git/repository.ts";
import { fingerprint, isolateGit, makeFixture, type Fixture } from "./fixture.ts";

let fixture: Fixture;
let repository: Repository;

isolateGit();
beforeEach(async () => {
  fixture = makeFixture();
  repository = await fixture.open();
});
afterEach(() => fixture.dispose());

async function build(targetSha: string, branchSha: string, worktree?: string): Promise<Candidate> {
  const text = { subject: "Merge", trailers: { planId: "p", taskId: "t" } };
  const where = worktree === undefined ? {} : { worktree };
  return await repository.buildCandidate({ targetSha, branchSha, strategy: "merge", text, ...where });
}

describe("X3: merging on paper", () => {
  test("gives a commit with two parents, the target first, and touches nothing", async () => {
    const target = fixture.commitOn("main", { "a.txt": "a2\n" });
    const branch = fixture.commitOn("main", { "b.txt": "b2\n" });
    fixture.write("a.txt", "dirty\n");
    const before = {
      files: fingerprint(fixture.path),
      refs: fixture.git("for-each-ref"),
      index: fixture.git("ls-files", "--stage"),
    };
    const candidate = await build(target, branch);
    if (candidate.type !== "candidate") throw new Error(candidate.type);
    expect(fixture.git("rev-list", "--parents", "-1", candidate.sha)).toBe(`${candidate.sha} ${target} ${branch}`);
    expect(fixture.git("show", `${candidate.sha}:a.txt`)).toBe("a2");
    expect(fixture.git("show", `${candidate.sha}:b.txt`)).toBe("b2");
    expect(fixture.git("rev-parse", `${candidate.sha}^{tree}`)).toBe(candidate.treeSha);
    expect(await repository.trailers(candidate.sha)).toEqual({ planId: "p", taskId: "t" });
    const after = {
      files: fingerprint(fixture.path),
      refs: fixture.git("for-each-ref"),
      index: fixture.git("ls-files", "--stage"),
    };
    expect(after).toEqual(before);
  });

  test("a branch that could be fast-forwarded still gets a merge commit", async () => {
    const target = fixture.tip("main");
    const branch = fixture.commitOn("main", { "b.txt": "b2\n" });
    const candidate = await build(target, branch);
    if (candidate.type !== "candidate") throw new Error(candidate.type);
    expect(fixture.git("rev-list", "--parents", "-1", candidate.sha).split(" ")).toHaveLength(3);
  });

  test("a branch that is in the target gives nothing", async () => {
    const branch = fixture.tip("main");
    const target = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await build(target, branch)).toEqual({ type: "nothing" });
    expect(await build(target, target)).toEqual({ type: "nothing" });
  });

  test("a branch whose work was squashed or rebased onto the target by hand gives nothing; a part of it does", async () => {
    const one = fixture.commitOn("main", { "a.txt": "a2\n" });
    const branch = fixture.commitOn(one, { "b.txt": "b2\n" });
    const squashed = fixture.commitOn("main", { "a.txt": "a2\n", "b.txt": "b2\n", "c.txt": "c\n" });
    expect(await build(squashed, branch)).toEqual({ type: "nothing" });
    expect(await repository.isWorkIn(squashed, branch)).toBe(true);
    const elsewhere = fixture.commitOn("main", { "c.txt": "c\n" });
    const half = fixture.commitOn(elsewhere, { "a.txt": "a2\n" });
    expect(await repository.isWorkIn(half, branch)).toBe(false);
    const rebased = fixture.commitOn(half, { "b.txt": "b2\n" });
    const changedSince = fixture.commitOn(rebased, { "b.txt": "b3\n" });
    expect(await repository.isWorkIn(rebased, branch)).toBe(true);
    expect(await build(changedSince, branch)).toEqual({ type: "nothing" });
  });

  test("a conflict lists its files, odd names included, and git's words", async () => {
    const base = fixture.commitOn("main", { "new\nline ü": "0\n" });
    const target = fixture.commitOn(base, { "a.txt": "target\n", "new\nline ü": "1\n" });
    const branch = fixture.commitOn(base, { "a.txt": "branch\n", "new\nline ü": "2\n" });
    const conflict = await build(target, branch);
    if (conflict.type !== "conflict") throw new Error(conflict.type);
    expect(conflict.files).toEqual([
      { path: "a.txt", versions: ["base", "target", "branch"] },
      { path: "new\nline ü", versions: ["base", "target", "branch"] },
    ]);
    expect(conflict.text).toContain("CONFLICT (content): Merge conflict in a.txt");
    expect(await repository.conflictBetween(target, branch)).toMatchObject({ type: "conflict" });
    expect(await repository.conflictBetween(target, base)).toBeNull();
  });

  test("deleted here and changed there is a conflict that tells which", async () => {
    const target = fixture.commitOn("main", { "a.txt": null });
    const branch = fixture.commitOn("main", { "a.txt": "branch\n" });
    const conflict = await build(target, branch);
    expect(conflict).toMatchObject({ type: "conflict", files: [{ path: "a.txt", versions: ["base", "branch"] }] });
    if (conflict.type === "conflict") expect(conflict.text).toContain("CONFLICT (modify/delete)");
  });

  test("both adding a file is a conflict; a file against a folder too", async () => {
    expect(await build(fixture.commitOn("main", { n: "1\n" }), fixture.commitOn("main", { n: "2\n" }))).toMatchObject({
      type: "conflict",
      files: [{ path: "n", versions: ["target", "branch"] }],
    });
    expect((await build(fixture.commitOn("main", { n: "1\n" }), fixture.commitOn("main", { "n/m": "2\n" }))).type).toBe(
      "conflict",
    );
  });

  test("a file renamed here and changed there merges", async () => {
    const long = Array.from({ length: 40 }, (_, index) => `line ${index}\n`).join("");
    const base = fixture.commitOn("main", { "old.txt": long });
    const target = fixture.commitOn(base, { "old.txt": null, "renamed.txt": long });
    const branch = fixture.commitOn(base, { "old.txt": `${long}more\n` });
    const candidate = await build(target, branch);
    if (candidate.type !== "candidate") throw new Error(candidate.type);
    expect(fixture.git("show", `${candidate.sha}:renamed.txt`)).toContain("more");
  });

  test("merge attributes come from the worktree that is given, not from the user's files", async () => {
    fixture.write(".gitattributes", "list.txt merge=union\n");
    fixture.write("list.txt", "0\n");
    const base = fixture.commit("a list");
    const target = fixture.commitOn(base, { "list.txt": "0\n1\n" });
    const branch = fixture.commitOn(base, { "list.txt": "0\n2\n" });
    expect((await build(target, branch)).type).toBe("conflict");
    rmSync(join(fixture.path, ".gitattributes"));
    const candidate = await build(target, branch, await repository.queueWorktree("main", target));
    if (candidate.type !== "candidate") throw new Error(candidate.type);
    expect(fixture.git("show", `${candidate.sha}:list.txt`)).toBe("0\n1\n2");
  });

  test("signing set up with a failing program, and no user.name, stop nothing", async () => {
    const bare = makeFixture({ isIdentitySet: false });
    bare.git("config", "commit.gpgsign", "true");
    bare.git("config", "gpg.program", "false");
    bare.git("config", "user.email", "only@example.org");
    const opened = await bare.open();
    const branchSha = bare.commitOn("main", { "b.txt": "b2\n" });
    const text = { subject: "" };
    const candidate = await opened.buildCandidate({ targetSha: bare.tip("main"), branchSha, strategy: "merge", text });
    if (candidate.type !== "candidate") throw new Error(candidate.type);
    expect(bare.git("log", "-1", "--format=%an <%ae>|%s", candidate.sha)).toBe(
      "orchestrator <only@example.org>|Work without a title",
    );
    bare.dispose();
  });

  test("an unknown commit and unrelated histories are errors, not conflicts", async () => {
    await expect(build(fixture.tip("main"), "1".repeat(40))).rejects.toMatchObject({ code: "GIT_FAILED" });
    fixture.git("checkout", "-q", "--orphan", "alone");
    const alone = fixture.commit("alone");
    await expect(build(fixture.tip("main"), alone)).rejects.toMatchObject({ code: "GIT_FAILED" });
  });
});

describe("the queue's worktree", () => {
  test("has the commit's files, loses untracked ones, keeps ignored ones, and holds no branch", async () => {
    const one = fixture.commitOn("main", { "a.txt": "a2\n", "c.txt": "c\n" });
    const path = await repository.queueWorktree("main", one);
    expect(readFileSync(join(path, "a.txt"), "utf8")).toBe("a2\n");
    mkdirSync(join(path, "node_modules"));
    writeFileSync(join(path, "node_modules/x.js"), "x");
    writeFileSync(join(path, "untracked"), "x");
    writeFileSync(join(path, "a.txt"), "changed by a check\n");
    fixture.gitIn(path, "init", "-q", "nested");
    writeFileSync(join(path, "nested/file"), "x");
    fixture.gitIn(path, "switch", "-q", "-c", "by-a-check");
    const two = fixture.commitOn("main", { "a.txt": "a3\n" });
    expect(await repository.queueWorktree("main", two)).toBe(path);
    expect(readFileSync(join(path, "a.txt"), "utf8")).toBe("a3\n");
    expect(["untracked", "c.txt", "nested"].filter((name) => existsSync(join(path, name)))).toEqual([]);
    expect(existsSync(join(path, "node_modules/x.js"))).toBe(true);
    expect(await repository.currentBranch(path)).toBeNull();
    expect(fixture.tip("by-a-check")).toBe(one);
    expect(fixture.gitIn(path, "status", "--porcelain")).toBe("");
  });

  test("one for each target, however the target is called", async () => {
    const sha = fixture.tip("main");
    const paths = await Promise.all(
      ["main", "a/b", "a-b", "ü", "ö"].map((target) => repository.queueWorktree(target, sha)),
    );
    expect(new Set(paths).size).toBe(5);
  });

  test("goes away with its folders, save for the targets that are named", async () => {
    const sha = fixture.tip("main");
    const [main = "", other = ""] = await Promise.all(
      ["main", "other"].map((target) => repository.queueWorktree(target, sha)),
    );
    await repository.removeQueueWorktrees(new Set(["main"]));
    expect([existsSync(main), existsSync(other)]).toEqual([true, false]);
    await repository.removeQueueWorktrees(new Set());
    expect(existsSync(fixture.worktreesRoot)).toBe(false);
    expect(fixture.git("worktree", "list", "--porcelain").match(/^worktree /gm)).toHaveLength(1);
  });

  test("damaged or deleted, it is made anew", async () => {
    const sha = fixture.tip("main");
    const path = await repository.queueWorktree("main", sha);
    rmSync(path, { recursive: true });
    expect(await repository.queueWorktree("main", sha)).toBe(path);
    rmSync(join(path, ".git"));
    writeFileSync(join(fixture.path, ".git/worktrees", "x"), "");
    expect(await repository.queueWorktree("main", sha)).toBe(path);
    const side = fixture.commitOn("main", { "a.txt": "side\n" });
    writeFileSync(join(path, "a.txt"), "own\n");
    fixture.gitIn(path, "commit", "-q", "-am", "by a check");
    expect(() => fixture.gitIn(path, "rebase", side)).toThrow();
    expect(await repository.queueWorktree("main", sha)).toBe(path);
    const gitDir = fixture.gitIn(path, "rev-parse", "--absolute-git-dir");
    expect(existsSync(join(gitDir, "rebase-merge"))).toBe(false);
    expect(fixture.gitIn(path, "status", "--porcelain")).toBe("");
  });

  test("the whole way: merge on paper, check out, move the target", async () => {
    const start = { planId: "p", taskId: "t", branch: "orchestrator/p/t", startSha: fixture.tip("main") };
    const worktree = await repository.worktrees.ensure(start);
    writeFileSync(join(worktree.path, "done.txt"), "done\n");
    const left = await repository.worktrees.commitLeftovers(worktree.path, { subject: "Done" });
    if (left.type !== "committed") throw new Error(left.type);
    const targetSha = fixture.tip("main");
    const candidate = await build(targetSha, left.sha, await repository.queueWorktree("main", targetSha));
    if (candidate.type !== "candidate") throw new Error(candidate.type);
    const checked = await repository.queueWorktree("main", candidate.sha);
    expect(readFileSync(join(checked, "done.txt"), "utf8")).toBe("done\n");
    expect(await repository.moveTarget({ target: "main", from: targetSha, to: candidate.sha })).toEqual({
      type: "moved",
      how: "checkout",
    });
    expect(fixture.read("done.txt")).toBe("done\n");
    expect(await build(candidate.sha, left.sha)).toEqual({ type: "nothing" });
    expect(await repository.worktrees.remove({ ...start, mergedInto: candidate.sha })).toMatchObject({
      isBranchDeleted: true,
      kept: [],
    });
  });
});
