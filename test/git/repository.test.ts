import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { commitMessage, trailersOf } from "../../src/git/commit-message.ts";
import { openRepository } from "../../src/git/repository.ts";
import { git, runGit } from "../../src/git/run-git.ts";
import { isolateGit, makeFixture, type Fixture } from "./fixture.ts";

let fixture: Fixture;

isolateGit();
beforeEach(() => {
  fixture = makeFixture();
});
afterEach(() => fixture.dispose());

describe("opening a repository", () => {
  const open = (path: string): ReturnType<typeof openRepository> =>
    openRepository(path, { worktreesRoot: fixture.worktreesRoot });

  test("from its folder, a folder in it, a file in it and a linked worktree gives the same one, and changes nothing", async () => {
    const linked = join(fixture.root, "linked");
    fixture.git("worktree", "add", "-q", "--detach", linked);
    mkdirSync(join(fixture.path, "deep/er"), { recursive: true });
    for (const path of [fixture.path, join(fixture.path, "deep/er"), join(fixture.path, "a.txt"), linked]) {
      const repository = await open(path);
      expect(repository.commonDir).toBe(join(fixture.path, ".git"));
      expect(repository.mainWorktree).toBe(fixture.path);
    }
    expect(existsSync(fixture.worktreesRoot)).toBe(false);
  });

  test("with the git folder elsewhere finds the main worktree", async () => {
    const path = join(fixture.root, "separate");
    const gitDir = join(fixture.root, "git folder");
    fixture.gitIn(fixture.root, "clone", "-q", "--separate-git-dir", gitDir, fixture.path, path);
    const repository = await open(path);
    expect(repository).toMatchObject({ commonDir: gitDir, mainWorktree: path });
    const from = (await repository.branchTip("main")) ?? "";
    fixture.gitIn(path, "fetch", "-q", fixture.path, fixture.commitOn("main", { "a.txt": "a2\n" }));
    const to = fixture.gitIn(path, "rev-parse", "FETCH_HEAD");
    expect(await repository.moveTarget({ target: "main", from, to })).toEqual({ type: "moved", how: "checkout" });
    expect(fixture.gitIn(path, "status", "--porcelain")).toBe("");
  });

  test("whose path holds a newline is found like any other", async () => {
    const path = join(fixture.root, "two\nlines");
    fixture.gitIn(fixture.root, "clone", "-q", fixture.path, path);
    expect(await open(path)).toMatchObject({ commonDir: join(path, ".git"), mainWorktree: path });
  });

  test("says what is wrong where there is none, or none that can be used", async () => {
    await expect(open(fixture.root)).rejects.toMatchObject({ code: "NOT_A_REPOSITORY" });
    await expect(open(join(fixture.root, "nowhere"))).rejects.toMatchObject({ code: "NOT_A_REPOSITORY" });
    fixture.gitIn(fixture.root, "init", "-q", "empty");
    await expect(open(join(fixture.root, "empty"))).rejects.toMatchObject({
      code: "REPOSITORY_UNUSABLE",
      message: expect.stringContaining("no commit yet") as string,
    });
    fixture.gitIn(fixture.root, "clone", "-q", "--bare", fixture.path, "bare.git");
    await expect(open(join(fixture.root, "bare.git"))).rejects.toMatchObject({
      code: "REPOSITORY_UNUSABLE",
      message: expect.stringContaining("bare") as string,
    });
  });

  for (const [name, pack] of [
    ["loose", false],
    ["packed", true],
  ] as const) {
    test(`a branch named orchestrator (${name}) is refused with the command that renames it`, async () => {
      fixture.git("branch", "orchestrator");
      if (pack) fixture.git("pack-refs", "--all");
      await expect(open(fixture.path)).rejects.toMatchObject({
        code: "REPOSITORY_UNUSABLE",
        message: expect.stringContaining("git branch -m orchestrator <new name>") as string,
      });
      fixture.git("branch", "-m", "orchestrator", "other");
      await open(fixture.path);
    });
  }

  test("a HEAD on a branch without commits is fine when others have some", async () => {
    fixture.git("switch", "-q", "--orphan", "unborn");
    const repository = await open(fixture.path);
    expect(await repository.currentBranch()).toBe("unborn");
    expect(await repository.branchExists("main")).toBe(true);
  });

  test("a repository whose user forbids implicit bare ones is usable", async () => {
    fixture.gitIn(fixture.root, "config", "--global", "safe.bareRepository", "explicit");
    const repository = await open(fixture.path);
    expect(await repository.branchTip("main")).toBe(fixture.tip("main"));
    fixture.gitIn(fixture.root, "config", "--global", "--unset", "safe.bareRepository");
  });
});

describe("names and refs", () => {
  test("currentBranch is null when detached", async () => {
    const repository = await fixture.open();
    expect(await repository.currentBranch()).toBe("main");
    fixture.git("checkout", "-q", "--detach");
    expect(await repository.currentBranch()).toBeNull();
  });

  test("resolve knows branches, tags and hashes; anything else is null", async () => {
    const repository = await fixture.open();
    const sha = fixture.tip("main");
    fixture.git("tag", "-a", "v1", "-m", "x");
    for (const name of ["main", "refs/heads/main", "v1", sha, sha.slice(0, 10), "HEAD"])
      expect(await repository.resolve(name)).toBe(sha);
    const tree = fixture.git("rev-parse", "HEAD^{tree}");
    for (const name of ["nope", "", "--all", "-q", "a\0b", "main:a.txt", tree, "1".repeat(40)])
      expect(await repository.resolve(name)).toBeNull();
  });

  test("a tag does not stand in for a branch of its name", async () => {
    const repository = await fixture.open();
    const other = fixture.commitOn("main", { "a.txt": "a2\n" });
    fixture.git("tag", "main", other);
    expect(await repository.branchTip("main")).toBe(fixture.tip("refs/heads/main"));
    expect(await repository.branchTip("v9")).toBeNull();
  });

  test("createBranch makes a branch once and refuses names that can't be", async () => {
    const repository = await fixture.open();
    const sha = fixture.tip("main");
    await repository.createBranch("next/step", sha);
    expect(fixture.tip("refs/heads/next/step")).toBe(sha);
    const bad = [
      "next/step",
      "next",
      "next/step/deeper",
      "",
      "-x",
      "HEAD",
      "a..b",
      "a b",
      "a~1",
      "x.lock",
      "refs/heads/x",
      "orchestrator",
      "orchestrator/x",
      "@{-1}",
      "a\0b",
    ];
    for (const name of bad)
      await expect(repository.createBranch(name, sha), name).rejects.toMatchObject({ code: "INPUT_INVALID" });
  });

  test("setRef compares before it sets, deletes, and touches only our own refs", async () => {
    const repository = await fixture.open();
    const one = fixture.tip("main");
    const two = fixture.commitOn("main", { "a.txt": "a2\n" });
    const ref = "refs/orchestrator/before/plan";
    expect(await repository.setRef(ref, one, { expected: null })).toEqual({ type: "done" });
    expect(await repository.setRef(ref, one, { expected: null })).toEqual({ type: "done" });
    expect(await repository.setRef(ref, two, { expected: null })).toEqual({ type: "changed", ref, now: one });
    expect(await repository.setRef(ref, two, { expected: one })).toEqual({ type: "done" });
    expect(await repository.setRef(ref, one)).toEqual({ type: "done" });
    expect(await repository.resolve(ref)).toBe(one);
    expect(await repository.setRef(ref, null, { expected: one })).toEqual({ type: "done" });
    expect(await repository.setRef(ref, null)).toEqual({ type: "done" });
    expect(await repository.resolve(ref)).toBeNull();
    await expect(repository.setRef("refs/heads/main", two)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  });

  test("isAncestor and mergeBase", async () => {
    const repository = await fixture.open();
    const base = fixture.tip("main");
    const [left, right] = [fixture.commitOn("main", { l: "l" }), fixture.commitOn("main", { r: "r" })];
    expect(await repository.isAncestor(base, left)).toBe(true);
    expect(await repository.isAncestor(left, left)).toBe(true);
    expect(await repository.isAncestor(left, right)).toBe(false);
    expect(await repository.isAncestor(left, base)).toBe(false);
    expect(await repository.mergeBase(left, right)).toBe(base);
    await expect(repository.isAncestor("1".repeat(40), base)).rejects.toMatchObject({ code: "GIT_FAILED" });
  });
});

describe("changes between two commits", () => {
  test("every kind of change, with counts and odd names", async () => {
    const long = Array.from({ length: 30 }, (_, index) => `${index}\n`).join("");
    const base = fixture.commitOn("main", { "old name": long });
    const head = fixture.commitOn(base, {
      "a.txt": "a1\nmore\n",
      "b.txt": null,
      "old name": null,
      "new\nname": `${long}x\n`,
      "-x": "1\n",
      bin: "\0",
    });
    const files = await (await fixture.open()).changedFiles(base, head);
    expect(files.map((file) => [file.status, file.path, file.previousPath, file.insertions, file.deletions])).toEqual([
      ["A", "-x", null, 1, 0],
      ["M", "a.txt", null, 1, 0],
      ["D", "b.txt", null, 0, 1],
      ["A", "bin", null, null, null],
      ["R", "new\nname", "old name", 1, 0],
    ]);
  });

  test("text is cut at a line's end and says so; paths are literal; no program of the user's runs", async () => {
    fixture.git("config", "diff.external", "false");
    fixture.git("config", "color.ui", "always");
    const repository = await fixture.open();
    const base = fixture.tip("main");
    const head = fixture.commitOn("main", { "a.txt": "y\n".repeat(200_000), "*.txt": "star\n" });
    const cut = await repository.diff(base, head, { format: "patch", maxBytes: 1000 });
    expect(cut.isTruncated).toBe(true);
    expect(cut.text.length).toBeLessThanOrEqual(1000);
    expect(cut.text.endsWith("\n")).toBe(true);
    const whole = await repository.diff(base, head, { format: "patch", maxBytes: 10_000_000 });
    expect(whole.isTruncated).toBe(false);
    expect(whole.text.split("\n").filter((line) => line === "+y")).toHaveLength(200_000);
    const one = await repository.diff(base, head, { format: "stat", paths: ["*.txt"] });
    expect(one.text).toContain("*.txt | 1 +");
    expect(one.text).not.toContain("a.txt");
  });
});

describe("running git", () => {
  test("a failure carries git's words; success without output is a success; a silent failure is a failure", async () => {
    const place = { folder: fixture.path };
    await expect(git(place, ["rev-parse", "nope"])).rejects.toMatchObject({
      code: "GIT_FAILED",
      details: { exitCode: 128 },
    });
    expect(await git(place, ["update-index", "--refresh"])).toBe("");
    fixture.write("a.txt", "dirty\n");
    expect((await runGit(place, ["diff", "--quiet"])).exitCode).toBe(1);
    await expect(git(place, ["diff", "--quiet"])).rejects.toMatchObject({ code: "GIT_FAILED" });
    await expect(git({ folder: join(fixture.root, "nowhere") }, ["version"])).rejects.toMatchObject({
      code: "GIT_FAILED",
    });
  });

  test("a command that takes too long is ended and named", async () => {
    const place = { folder: fixture.path };
    fixture.git("config", "alias.forever", "!exec sleep 300");
    await expect(git(place, ["forever"], { timeoutMs: 300 })).rejects.toMatchObject({
      code: "GIT_FAILED",
      message: expect.stringContaining("took longer") as string,
    });
  });

  test("a command that reads stdin gets its end, also when nothing is given", async () => {
    const place = { folder: fixture.path };
    expect(await git(place, ["hash-object", "--stdin"], { timeoutMs: 20_000 })).toBe(
      "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    );
    expect(await git(place, ["stripspace"], { input: "a  \n\n\nb\n" })).toBe("a\n\nb");
  });

  test("endless output is cut and its writer ended", async () => {
    fixture.git("config", "alias.endless", "!exec yes");
    const result = await runGit({ folder: fixture.path }, ["endless"], { maxOutputBytes: 1000, timeoutMs: 20_000 });
    expect(result).toMatchObject({ isTruncated: true });
    expect(result.stdout).toHaveLength(1000);
  });

  test("death by a signal is no success", async () => {
    fixture.git("config", "alias.die", "!kill -9 $PPID");
    const result = await runGit({ folder: fixture.path }, ["die"]);
    expect(result.exitCode).not.toBe(0);
  });

  test("no git on PATH is named as such", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = fixture.root;
    try {
      await expect(git({ folder: fixture.path }, ["version"])).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    } finally {
      process.env["PATH"] = path;
    }
  });

  test("git's words are English whatever the user's language, and reading takes no lock", async () => {
    fixture.git("config", "alias.show-environment", "!env");
    process.env["LANG"] = "de_DE.UTF-8";
    process.env["LC_ALL"] = "de_DE.UTF-8";
    process.env["GIT_TRACE"] = "1";
    process.env["ANTHROPIC_API_KEY"] = "secret";
    try {
      const seen = await git({ folder: fixture.path }, ["show-environment"]);
      const lines = seen.split("\n");
      expect(lines).toEqual(
        expect.arrayContaining(["LANGUAGE=C", "LC_ALL=de_DE.UTF-8", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0"]),
      );
      expect(seen).not.toMatch(/secret|GIT_TRACE/);
      expect(await git({ folder: fixture.path }, ["show-environment"], { mutates: true })).not.toContain(
        "GIT_OPTIONAL_LOCKS",
      );
    } finally {
      for (const name of ["LC_ALL", "LANG", "GIT_TRACE", "ANTHROPIC_API_KEY"]) delete process.env[name];
    }
  });
});

describe("commit messages", () => {
  test("no title or body can break or imitate the trailers", () => {
    const message = commitMessage({
      subject: "One\r\nOrchestrator-Plan: evil\u001b[31m",
      body: "text\n\nOrchestrator-Plan: evil\nOrchestrator-Task: evil",
      trailers: { planId: "p", taskId: "t\nOrchestrator-Attempt: 9" },
    });
    expect(message.split("\n")[0]).toBe("One Orchestrator-Plan: evil[31m");
    expect(trailersOf(message)).toEqual({ planId: "p", taskId: "t Orchestrator-Attempt: 9" });
    const without = commitMessage({ subject: "x", body: "Orchestrator-Plan: evil\nOrchestrator-Task: evil" });
    expect(trailersOf(without)).toBeNull();
  });

  test("what was written is read back", () => {
    const trailers = { planId: "p", taskId: "t", attempt: 3 };
    expect(trailersOf(commitMessage({ subject: "x", body: "y", trailers }))).toEqual(trailers);
    expect(trailersOf("subject\n\nbody: text\n")).toBeNull();
  });
});

test("a stale lock is told, not touched", async () => {
  const repository = await fixture.open();
  const lock = join(fixture.path, ".git/index.lock");
  writeFileSync(lock, "");
  expect(await repository.gitMarks(Date.now())).toEqual([]);
  expect(await repository.gitMarks(Date.now() + 3_600_000)).toMatchObject([{ kind: "stale-lock", path: lock }]);
  expect(existsSync(lock)).toBe(true);
});
