import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { MoveOutcome, MoveRefused } from "../../src/git/move-target.ts";
import { operationUnderWay } from "../../src/git/operation-under-way.ts";
import { fingerprint, isolateGit, makeFixture, type Fixture } from "./fixture.ts";

let fixture: Fixture;

isolateGit();
beforeEach(() => {
  fixture = makeFixture();
});
afterEach(() => fixture.dispose());

async function move(to: string, target = "main", from = fixture.tip(`refs/heads/${target}`)): Promise<MoveOutcome> {
  const repository = await fixture.open();
  return await repository.moveTarget({ target, from, to });
}

/** Moves, and shows that a refusal left ref, HEAD, index and every file of the user as they were. */
async function expectRefusal(to: string, target = "main", folder = fixture.path): Promise<MoveRefused> {
  const look = (): unknown => ({
    files: fingerprint(folder),
    head: fixture.gitIn(folder, "rev-parse", "HEAD"),
    on: fixture.gitIn(folder, "rev-parse", "--abbrev-ref", "HEAD"),
    tip: fixture.tip(`refs/heads/${target}`),
    index: fixture.gitIn(folder, "ls-files", "--stage"),
    stash: fixture.git("stash", "list"),
  });
  const before = look();
  const outcome = await move(to, target);
  expect(look()).toEqual(before);
  expect(outcome.type).toBe("refused");
  if (outcome.type !== "refused") throw new Error("unreachable");
  return outcome;
}

describe("X3: where the target is checked out, git itself fast-forwards that checkout", () => {
  test("a clean checkout follows, and its files are those of the new commit", async () => {
    const to = fixture.commitOn("main", { "a.txt": "a2\n", "new/c.txt": "c\n" });
    expect(await move(to)).toEqual({ type: "moved", how: "checkout" });
    expect(fixture.tip("main")).toBe(to);
    expect(fixture.read("a.txt")).toBe("a2\n");
    expect(fixture.read("new/c.txt")).toBe("c\n");
    expect(fixture.git("status", "--porcelain")).toBe("");
  });

  test("moving again to where the branch is says moved and does nothing", async () => {
    const from = fixture.tip("main");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    await move(to);
    expect(await move(to, "main", from)).toEqual({ type: "moved", how: "already" });
  });

  test("dirty files, index and untracked files that are not in the way stay as they are", async () => {
    fixture.write("b.txt", "mine, not committed\n");
    fixture.write("staged.txt", "mine, staged\n");
    fixture.git("add", "staged.txt");
    fixture.write("untracked.txt", "mine\n");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await move(to)).toEqual({ type: "moved", how: "checkout" });
    expect(fixture.read("b.txt")).toBe("mine, not committed\n");
    expect(fixture.read("untracked.txt")).toBe("mine\n");
    expect(fixture.git("status", "--porcelain").split("\n").sort()).toEqual([
      " M b.txt",
      "?? untracked.txt",
      "A  staged.txt",
    ]);
  });

  test("the user's post-merge hook runs exactly once, in the checkout, with none of our settings about hooks or signing", async () => {
    fixture.git("config", "commit.gpgsign", "true");
    fixture.git("config", "core.hooksPath", ".myhooks");
    mkdirSync(join(fixture.path, ".myhooks"));
    const log = join(fixture.root, "hook log");
    const script = `#!/bin/sh\ncat\nprintf '%s|%s|%s\\n' "$PWD" "$(git config core.hooksPath)" "$(git config commit.gpgsign)" >> "${log.replaceAll('"', '\\"').replaceAll("$", "\\$")}"\ngit status --shor >/dev/null || echo refused >> "${log.replaceAll('"', '\\"').replaceAll("$", "\\$")}"\n`;
    writeFileSync(join(fixture.path, ".myhooks/post-merge"), script, { mode: 0o755 });
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await move(to)).toEqual({ type: "moved", how: "checkout" });
    expect(readFileSync(log, "utf8")).toBe(`${fixture.path}|.myhooks|true\n`);
  });

  test("a post-merge hook that fails, or leaves a process behind, changes nothing about the move", async () => {
    const pidFile = join(fixture.root, "pid");
    const escaped = pidFile.replaceAll('"', '\\"').replaceAll("$", "\\$");
    mkdirSync(join(fixture.path, ".git/hooks"), { recursive: true });
    writeFileSync(
      join(fixture.path, ".git/hooks/post-merge"),
      `#!/bin/sh\nsleep 300 &\necho $! > "${escaped}"\nexit 3\n`,
      { mode: 0o755 },
    );
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    try {
      expect(await move(to)).toEqual({ type: "moved", how: "checkout" });
    } finally {
      process.kill(Number(readFileSync(pidFile, "utf8")));
    }
  });

  test("a linked worktree that has the target is the one that follows", async () => {
    const second = join(fixture.root, "second worktree");
    fixture.git("worktree", "add", "-q", "-b", "develop", second);
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await move(to, "develop")).toEqual({ type: "moved", how: "checkout" });
    expect(readFileSync(join(second, "a.txt"), "utf8")).toBe("a2\n");
    expect(fixture.read("a.txt")).toBe("a1\n");
    expect(fixture.gitIn(second, "status", "--porcelain")).toBe("");
  });

  test("settings that ask for squash, autostash or a merge commit do not apply", async () => {
    fixture.git("config", "branch.main.mergeOptions", "--squash --autostash");
    fixture.git("config", "merge.ff", "false");
    fixture.write("b.txt", "dirty\n");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await move(to)).toEqual({ type: "moved", how: "checkout" });
    expect(fixture.git("stash", "list")).toBe("");
    expect(fixture.read("b.txt")).toBe("dirty\n");
    expect(fixture.tip("main")).toBe(to);
  });
});

describe("section 3.7: no file of the user is changed, stashed or overwritten", () => {
  test("an ignored file of the user where the branch adds one", async () => {
    fixture.write("mine.log", "precious\n");
    const to = fixture.commitOn("main", { "mine.log": "from the branch\n" });
    const refusal = await expectRefusal(to);
    expect(refusal).toMatchObject({ reason: "untracked-files", files: ["mine.log"], worktree: fixture.path });
    expect(fixture.read("mine.log")).toBe("precious\n");
  });

  test("an ignored folder of the user where the branch adds a file", async () => {
    fixture.write("node_modules/x/index.js", "installed\n");
    const to = fixture.commitOn("main", { node_modules: "a file now\n" });
    await expectRefusal(to);
  });

  test("an untracked file in the way", async () => {
    fixture.write("sp ace é.txt", "mine\n");
    const to = fixture.commitOn("main", { "sp ace é.txt": "theirs\n" });
    const refusal = await expectRefusal(to);
    expect(refusal).toMatchObject({ reason: "untracked-files", files: ["sp ace é.txt"] });
    expect(refusal.gitWords).toContain("would be overwritten by merge");
  });

  for (const setting of ["merge.autoStash", "rebase.autoStash"]) {
    test(`a dirty file in the way with ${setting}=true`, async () => {
      fixture.git("config", setting, "true");
      fixture.write("a.txt", "mine, not committed\n");
      const to = fixture.commitOn("main", { "a.txt": "a2\n" });
      const refusal = await expectRefusal(to);
      expect(refusal).toMatchObject({ reason: "local-changes", files: ["a.txt"] });
      expect(refusal.command).toContain("stash push -- a.txt");
    });
  }

  test("a dirty file in the way with branch.<name>.mergeOptions=--autostash", async () => {
    fixture.git("config", "branch.main.mergeOptions", "--autostash");
    fixture.write("a.txt", "mine\n");
    await expectRefusal(fixture.commitOn("main", { "a.txt": "a2\n" }));
  });

  test("a staged file in the way", async () => {
    fixture.write("a.txt", "mine, staged\n");
    fixture.git("add", "a.txt");
    const refusal = await expectRefusal(fixture.commitOn("main", { "a.txt": "a2\n" }));
    expect(refusal.reason).toBe("local-changes");
  });

  test("the command of a refusal clears it, and the next try succeeds", async () => {
    fixture.write("a.txt", "mine\n");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    const { command } = await expectRefusal(to);
    execFileSync("sh", ["-c", command], { stdio: "pipe" });
    expect(await move(to)).toEqual({ type: "moved", how: "checkout" });
    expect(fixture.git("stash", "list")).not.toBe("");
  });

  test("a locked index is an answer, and the next try succeeds", async () => {
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    writeFileSync(join(fixture.path, ".git/index.lock"), "");
    expect((await expectRefusal(to)).reason).toBe("locked");
    rmSync(join(fixture.path, ".git/index.lock"));
    expect((await move(to)).type).toBe("moved");
  });

  test("a sparse checkout stays sparse", async () => {
    fixture.write("kept/k.txt", "k\n");
    fixture.write("left out/l.txt", "l\n");
    fixture.commit("two folders");
    fixture.git("sparse-checkout", "set", "kept");
    const to = fixture.commitOn("main", { "left out/l.txt": "l2\n", "kept/k.txt": "k2\n" });
    expect((await move(to)).type).toBe("moved");
    expect(existsSync(join(fixture.path, "left out"))).toBe(false);
    expect(fixture.read("kept/k.txt")).toBe("k2\n");
  });
});

describe("section 6: nothing moves in the middle of something of the user's", () => {
  /** Two branches that conflict in a.txt; main is checked out. */
  function conflicting(): string {
    fixture.git("branch", "side", fixture.commitOn("main", { "a.txt": "side\n" }));
    fixture.write("a.txt", "main\n");
    return fixture.commit("main's own");
  }

  const operations: Record<string, () => void> = {
    merge: () => tryGit("merge", "side"),
    rebase: () => tryGit("rebase", "side"),
    "cherry-pick": () => tryGit("cherry-pick", "side"),
    revert: () => tryGit("revert", "--no-edit", "HEAD~1"),
    bisect: () => {
      fixture.git("bisect", "start");
      fixture.git("bisect", "bad", "HEAD");
      fixture.git("bisect", "good", "HEAD~1");
    },
    am: () => {
      const patch = join(fixture.root, "x.patch");
      writeFileSync(patch, fixture.git("format-patch", "-1", "--stdout", "side"));
      tryGit("am", patch);
    },
  };

  function tryGit(...args: readonly string[]): void {
    try {
      fixture.git(...args);
    } catch {
      // It stops at the conflict: that is what is wanted.
    }
  }

  for (const [name, begin] of Object.entries(operations)) {
    test(`a ${name} under way`, async () => {
      conflicting();
      if (name === "revert") {
        fixture.write("a.txt", "once more\n");
        fixture.commit("and again");
      }
      begin();
      const to = fixture.commitOn("main", { "b.txt": "b2\n" });
      const refusal = await expectRefusal(to);
      expect(refusal).toMatchObject({ reason: "operation-under-way", worktree: fixture.path });
      // What the user did in the middle of it is kept: the command finishes, it does not give up.
      if (name !== "bisect") {
        fixture.write("a.txt", "mended\n");
        fixture.git("add", "a.txt");
      }
      const env = { ...process.env, GIT_EDITOR: "true" };
      execFileSync("sh", ["-c", refusal.command], { stdio: "pipe", env });
      expect(operationUnderWay(join(fixture.path, ".git"))).toBeNull();
      if (name !== "bisect") expect(fixture.read("a.txt")).toBe("mended\n");
      // Finished, main has a commit that the candidate lacks: the queue makes another one.
      if (name === "bisect") expect((await move(to)).type).toBe("moved");
      else expect((await expectRefusal(to)).reason).not.toBe("operation-under-way");
    });
  }

  test("a bisect that has only begun", async () => {
    fixture.git("bisect", "start");
    expect((await expectRefusal(fixture.commitOn("main", { "b.txt": "b2\n" }))).reason).toBe("operation-under-way");
  });

  test("a rebase of the target in a second worktree, though no HEAD names the target", async () => {
    conflicting();
    fixture.git("checkout", "-q", "--detach");
    const second = join(fixture.root, "second");
    fixture.git("worktree", "add", "-q", second, "main");
    expect(() => fixture.gitIn(second, "rebase", "side")).toThrow();
    const refusal = await expectRefusal(fixture.commitOn("main", { "b.txt": "b2\n" }), "main", second);
    expect(refusal).toMatchObject({ reason: "operation-under-way", worktree: second });
  });

  test("a target that a rebase with --update-refs will move", async () => {
    conflicting();
    fixture.git("branch", "stacked");
    fixture.write("b.txt", "more\n");
    fixture.commit("more");
    tryGit("rebase", "--update-refs", "side");
    const refusal = await expectRefusal(fixture.commitOn("stacked", { "c.txt": "c\n" }), "stacked");
    expect(refusal.reason).toBe("operation-under-way");
  });

  test("a merge under way on another branch does not stop a target that is checked out nowhere", async () => {
    conflicting();
    fixture.git("branch", "target");
    tryGit("merge", "side");
    expect(await move(fixture.commitOn("target", { "b.txt": "b2\n" }), "target")).toEqual({
      type: "moved",
      how: "ref",
    });
  });

  test("a target checked out twice", async () => {
    fixture.git("worktree", "add", "-q", "--force", join(fixture.root, "second"), "main");
    expect((await expectRefusal(fixture.commitOn("main", { "b.txt": "b2\n" }))).reason).toBe("checked-out-twice");
  });

  test("a target checked out in a worktree whose folder is gone", async () => {
    const second = join(fixture.root, "second");
    fixture.git("worktree", "add", "-q", "-b", "develop", second);
    rmSync(second, { recursive: true });
    const to = fixture.commitOn("main", { "b.txt": "b2\n" });
    const refusal = await expectRefusal(to, "develop");
    expect(refusal.reason).toBe("checkout-missing");
    execFileSync("sh", ["-c", refusal.command], { stdio: "pipe", cwd: fixture.path });
    expect(await move(to, "develop")).toEqual({ type: "moved", how: "ref" });
  });

  test("a target that an agent checked out in its worktree", async () => {
    fixture.git("branch", "develop");
    const repository = await fixture.open();
    const start = { planId: "p", taskId: "t", branch: "orchestrator/p/t", startSha: fixture.tip("main") };
    const { path } = await repository.worktrees.ensure(start);
    fixture.gitIn(path, "switch", "-q", "develop");
    const refusal = await expectRefusal(fixture.commitOn("main", { "b.txt": "b2\n" }), "develop", path);
    expect(refusal).toMatchObject({ reason: "held-by-task", worktree: path });
  });
});

describe("X3: where the target is checked out nowhere, the ref moves with its old value as a condition", () => {
  test("another branch checked out: that checkout is not touched", async () => {
    fixture.git("switch", "-q", "-c", "other");
    fixture.write("a.txt", "dirty\n");
    const before = fingerprint(fixture.path);
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await move(to)).toEqual({ type: "moved", how: "ref" });
    expect(fixture.tip("main")).toBe(to);
    expect(fixture.tip("HEAD")).toBe(fixture.tip("other"));
    expect(fingerprint(fixture.path)).toEqual(before);
  });

  test("a detached HEAD at the target's commit is not the target", async () => {
    fixture.git("checkout", "-q", "--detach");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await move(to)).toEqual({ type: "moved", how: "ref" });
    expect(fixture.read("a.txt")).toBe("a1\n");
  });

  test("a packed ref moves", async () => {
    fixture.git("branch", "develop");
    fixture.git("pack-refs", "--all", "--prune");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect(await move(to, "develop")).toEqual({ type: "moved", how: "ref" });
    expect(fixture.tip("develop")).toBe(to);
  });

  test("a target that moved in between is base-moved, checked out or not", async () => {
    const from = fixture.tip("main");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    fixture.write("b.txt", "b2\n");
    const now = fixture.commit("the user's own");
    expect(await move(to, "main", from)).toEqual({ type: "base-moved", now });
    fixture.git("switch", "-q", "-c", "other");
    expect(await move(to, "main", from)).toEqual({ type: "base-moved", now });
    fixture.git("branch", "-q", "-D", "main");
    expect(await move(to, "main", from)).toEqual({ type: "base-moved", now: null });
  });

  test("a commit that does not contain the target is refused", async () => {
    const from = fixture.tip("main");
    fixture.write("b.txt", "b2\n");
    fixture.commit("more");
    expect((await expectRefusal(from)).reason).toBe("not-a-fast-forward");
  });

  test("a locked ref is an answer", async () => {
    fixture.git("branch", "develop");
    writeFileSync(join(fixture.path, ".git/refs/heads/develop.lock"), "");
    const refusal = await expectRefusal(fixture.commitOn("main", { "a.txt": "a2\n" }), "develop");
    expect(refusal.reason).toBe("locked");
  });

  test("a hook of the user's that forbids the move is not run: only the fast-forward of a checkout runs hooks", async () => {
    fixture.git("branch", "develop");
    mkdirSync(join(fixture.path, ".git/hooks"), { recursive: true });
    writeFileSync(join(fixture.path, ".git/hooks/reference-transaction"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    expect((await move(to, "develop")).type).toBe("moved");
    const refusal = await expectRefusal(fixture.commitOn("main", { "b.txt": "b2\n" }));
    expect(refusal.reason).toBe("git-refused");
    rmSync(join(fixture.path, ".git/hooks/reference-transaction"));
  });
});

describe("a user who switches branches in the very moment", () => {
  /** The next git command with `word` in it first does what the user does. */
  async function withUser(
    word: string,
    when: "before" | "after",
    command: string,
    work: () => Promise<void>,
  ): Promise<void> {
    const bin = mkdtempSync(join(tmpdir(), "orchestrator-bin-"));
    const path = process.env["PATH"] ?? "";
    const quoted = fixture.path.replaceAll("'", "'\\''");
    const user = `(cd '${quoted}' && PATH='${path}' && unset GIT_DIR && ${command}) >/dev/null 2>&1`;
    const once = `case "$* " in *" ${word} "*) if rm ${bin}/armed 2>/dev/null; then`;
    const act = when === "before" ? `${user}; exec git "$@"` : `git "$@"; code=$?; ${user}; exit $code`;
    writeFileSync(join(bin, "armed"), "");
    writeFileSync(join(bin, "git"), `#!/bin/sh\nPATH='${path}'\n${once} ${act}; fi;; esac\nexec git "$@"\n`, {
      mode: 0o755,
    });
    process.env["PATH"] = `${bin}:${path}`;
    try {
      await work();
      expect(existsSync(join(bin, "armed"))).toBe(false);
    } finally {
      process.env["PATH"] = path;
      rmSync(bin, { recursive: true });
    }
  }

  test("away from the target, to a branch that git then moves: it is told, with the command that takes it back", async () => {
    const from = fixture.tip("main");
    fixture.git("branch", "other");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    await withUser("merge", "before", "git switch other", async () => {
      const outcome = await move(to, "main", from);
      expect(outcome).toMatchObject({ type: "refused", reason: "checkout-changed", worktree: fixture.path });
      expect(fixture.tip("main")).toBe(from);
      if (outcome.type === "refused") execFileSync("sh", ["-c", outcome.command], { stdio: "pipe" });
      expect(fixture.tip("other")).toBe(from);
      expect(fixture.read("a.txt")).toBe("a1\n");
    });
  });

  test("away from the target, to something else: it is told, and nothing moved", async () => {
    const from = fixture.tip("main");
    fixture.git("branch", "other", fixture.commitOn("main", { "b.txt": "other\n" }));
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    await withUser("merge", "before", "git switch other", async () => {
      expect(await move(to, "main", from)).toMatchObject({ type: "refused", reason: "checkout-changed" });
      expect(fixture.tip("main")).toBe(from);
    });
    expect(await move(to, "main", from)).toEqual({ type: "moved", how: "ref" });
  });

  test("to the target, before its ref moves: the ref goes back, and the next try fast-forwards the checkout", async () => {
    const from = fixture.tip("main");
    fixture.git("switch", "-q", "-c", "other");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    await withUser("update-ref", "before", "git switch main", async () => {
      expect(await move(to, "main", from)).toMatchObject({ type: "refused", reason: "checkout-changed" });
      expect(fixture.tip("main")).toBe(from);
      expect(fixture.git("status", "--porcelain")).toBe("");
    });
    expect(await move(to, "main", from)).toEqual({ type: "moved", how: "checkout" });
    expect(fixture.read("a.txt")).toBe("a2\n");
  });

  test("to the target, after its ref moved: all is well", async () => {
    const from = fixture.tip("main");
    fixture.git("switch", "-q", "-c", "other");
    const to = fixture.commitOn("main", { "a.txt": "a2\n" });
    await withUser("update-ref", "after", "git switch main", async () => {
      expect(await move(to, "main", from)).toEqual({ type: "moved", how: "ref" });
      expect(fixture.tip("main")).toBe(to);
      expect(fixture.git("status", "--porcelain")).toBe("");
    });
  });
});

test("GIT_DIR, GIT_INDEX_FILE and GIT_CONFIG_* of our own environment reach no git", async () => {
  const decoy = makeFixture();
  const to = fixture.commitOn("main", { "a.txt": "a2\n" });
  const set = {
    GIT_DIR: join(decoy.path, ".git"),
    GIT_WORK_TREE: decoy.path,
    GIT_INDEX_FILE: join(decoy.root, "index"),
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "merge.ff",
    GIT_CONFIG_VALUE_0: "no",
    GIT_OBJECT_DIRECTORY: join(decoy.path, ".git/objects"),
    GIT_EDITOR: "false",
    EDITOR: "false",
    PAGER: "false",
  };
  const before = { files: fingerprint(decoy.path), tip: decoy.tip("main") };
  Object.assign(process.env, set);
  try {
    expect(await move(to, "main", fixture.tip("main"))).toEqual({ type: "moved", how: "checkout" });
  } finally {
    for (const name of Object.keys(set)) delete process.env[name];
  }
  expect({ files: fingerprint(decoy.path), tip: decoy.tip("main") }).toEqual(before);
  expect(existsSync(join(decoy.root, "index"))).toBe(false);
  expect(fixture.tip("main")).toBe(to);
  decoy.dispose();
});

test("a checkout reached through a symbolic link, with read-only files in it, follows too", async () => {
  const link = join(fixture.root, "link");
  symlinkSync(fixture.path, link);
  chmodSync(join(fixture.path, "a.txt"), 0o444);
  const { openRepository } = await import("../../src/git/repository.ts");
  const repository = await openRepository(link, { worktreesRoot: fixture.worktreesRoot });
  const to = fixture.commitOn("main", { "a.txt": "a2\n" });
  expect(await repository.moveTarget({ target: "main", from: fixture.tip("main"), to })).toMatchObject({
    type: "moved",
  });
  expect(repository.mainWorktree).toBe(fixture.path);
});
