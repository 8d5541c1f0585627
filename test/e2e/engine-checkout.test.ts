/**
 * The user's checkout is safe: whatever stands in the way of a merge, the user's files stay byte for byte as they were,
 * the task waits with git's words and a command, and goes on by itself once the way is clear.
 */
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, type Repo } from "./engine-support.ts";
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

/** Every file of a checkout with its bytes and mode, where HEAD is, what is staged and stashed. */
function snapshot(folder = repo.path): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (path.includes("/.git/") || !entry.isFile()) continue;
    found[path] = `${statSync(path).mode.toString(8)} ${readFileSync(path).toString("hex")}`;
  }
  const git = (...args: string[]): string => repo.gitAt(folder, "--no-optional-locks", ...args);
  found["HEAD"] = git("rev-parse", "HEAD", "--symbolic-full-name", "HEAD");
  found["staged"] = git("diff", "--cached", "--no-ext-diff");
  found["status"] = git("status", "--porcelain", "--ignored");
  found["stash"] = git("stash", "list");
  return found;
}

interface Wait {
  readonly message: RegExp;
  readonly command: RegExp;
}

/** Submits `prompt`, sees it wait and the checkout untouched, clears the way and sees it merged by itself. */
async function expectItWaits(prompt: string, wait: Wait, clear: () => void): Promise<void> {
  const before = snapshot();
  await repo.submit("careful", [{ id: "edit", prompt }]);
  expect(await repo.settled("careful")).toBe("needs-person");
  expect(await repo.states("careful")).toEqual({ edit: "waiting:manual-merge" });
  const { why } = await repo.task("careful/edit");
  expect(why?.message).toMatch(wait.message);
  expect(why?.command).toMatch(wait.command);
  expect(snapshot()).toEqual(before);
  clear();
  await repo.untilState("careful/edit", "succeeded");
  expect(repo.merges()).toEqual({ edit: 1 });
}

test("a file with uncommitted changes that the merge would change, with merge.autoStash=true", async () => {
  repo.git("config", "merge.autoStash", "true");
  repo.git("config", "rebase.autoStash", "true");
  repo.write("README.md", "my own words\n");
  await expectItWaits("echo agent > README.md", { message: /README\.md/, command: /./ }, () => {
    repo.git("checkout", "README.md");
  });
  expect(repo.read("README.md")).toBe("agent\n");
});

test("a file that is staged and changed again", async () => {
  repo.write("README.md", "staged\n");
  repo.git("add", "README.md");
  repo.write("README.md", "staged and changed\n");
  await expectItWaits("echo agent > README.md", { message: /README\.md/, command: /./ }, () => {
    repo.git("reset", "-q", "--hard");
  });
});

test("changes that the merge does not touch stay, and it merges", async () => {
  repo.commit("more", { "other.txt": "other\n" });
  repo.write("other.txt", "my own\n");
  repo.write("new.txt", "mine\n");
  repo.git("add", "new.txt");
  repo.write("untracked.txt", "mine too\n");
  await repo.submit("beside", [{ id: "edit", prompt: "echo agent > README.md" }]);
  expect(await repo.settled("beside")).toBe("succeeded");
  expect([repo.read("README.md"), repo.read("other.txt"), repo.read("new.txt"), repo.read("untracked.txt")]).toEqual([
    "agent\n",
    "my own\n",
    "mine\n",
    "mine too\n",
  ]);
  expect(repo.git("diff", "--cached", "--name-only")).toBe("new.txt");
});

test("an untracked file where the branch adds one", async () => {
  repo.write("new.txt", "mine, never committed\n");
  await expectItWaits("echo agent > new.txt", { message: /new\.txt/, command: /./ }, () => {
    rmSync(join(repo.path, "new.txt"));
  });
});

test("an ignored file where the branch adds one", async () => {
  repo.commit("ignore", { ".gitignore": "secret.env\nbuild/\n" });
  repo.write("secret.env", "TOKEN=mine\n");
  repo.write("build/out", "mine\n");
  const prompt = "echo agent > secret.env; mkdir -p build; echo agent > build/out; git add -f secret.env build/out";
  await expectItWaits(prompt, { message: /secret\.env|build/, command: /./ }, () => {
    rmSync(join(repo.path, "secret.env"));
    rmSync(join(repo.path, "build"), { recursive: true });
  });
});

test("a folder of the user's where the branch adds a file of that name", async () => {
  repo.write("thing/mine.txt", "mine\n");
  await expectItWaits("echo agent > thing", { message: /thing/, command: /./ }, () => {
    rmSync(join(repo.path, "thing"), { recursive: true });
  });
});

test("another branch checked out: the target moves, the checkout does not", async () => {
  repo.git("checkout", "-q", "-b", "mine");
  repo.write("README.md", "my own words\n");
  const before = snapshot();
  await repo.submit("elsewhere", [{ id: "edit", prompt: "echo agent > README.md" }], { target: "main" });
  expect(await repo.settled("elsewhere")).toBe("succeeded");
  expect(snapshot()).toEqual(before);
  expect(repo.git("show", "main:README.md")).toBe("agent");
});

test("a rebase of the target under way: it waits, and goes on when the rebase has ended", async () => {
  repo.commit("second", { "README.md": "second\n" });
  repo.git("checkout", "-q", "-b", "side", "HEAD~1");
  repo.commit("side", { "README.md": "side\n" });
  repo.git("checkout", "-q", "main");
  expect(() => repo.git("rebase", "side")).toThrow();
  const before = snapshot();
  await repo.submit("rebasing", [{ id: "edit", prompt: "echo agent > agent.txt" }], { target: "main" });
  expect(await repo.settled("rebasing")).toBe("needs-person");
  expect(await repo.states("rebasing")).toEqual({ edit: "waiting:manual-merge" });
  const { why } = await repo.task("rebasing/edit");
  expect(why?.message).toMatch(/rebas/i);
  expect(why?.command).toMatch(/git -C .* rebase --continue/);
  expect(snapshot()).toEqual(before);
  repo.git("rebase", "--abort");
  await repo.untilState("rebasing/edit", "succeeded");
  expect(repo.read("agent.txt")).toBe("agent\n");
});

test("a merge and a bisect under way", async () => {
  repo.git("checkout", "-q", "-b", "side");
  repo.commit("side", { "README.md": "side\n" });
  repo.git("checkout", "-q", "main");
  repo.commit("second", { "README.md": "second\n" });
  expect(() => repo.git("merge", "side")).toThrow();
  await expectItWaits("echo agent > agent.txt", { message: /merge/i, command: /merge --continue/ }, () => {
    repo.git("merge", "--abort");
  });
  repo.git("bisect", "start");
  repo.git("bisect", "bad", "HEAD");
  repo.git("bisect", "good", "HEAD~2");
  const before = snapshot();
  await repo.submit("bisecting", [{ id: "bisected", prompt: "echo agent > two.txt" }], { target: "main" });
  expect(await repo.settled("bisecting")).toBe("needs-person");
  expect(snapshot()).toEqual(before);
  repo.git("bisect", "reset");
  await repo.untilState("bisecting/bisected", "succeeded");
});

test("the target checked out in a second worktree: that checkout is as safe, and it merges there", async () => {
  const second = join(ground.folder, "second worktree");
  repo.git("checkout", "-q", "-b", "mine");
  repo.git("worktree", "add", "-q", second, "main");
  repo.write("../second worktree/README.md", "my own words\n");
  const before = snapshot(second);
  const mine = snapshot();
  await repo.submit("second", [{ id: "edit", prompt: "echo agent > README.md" }], { target: "main" });
  expect(await repo.settled("second")).toBe("needs-person");
  expect(await repo.states("second")).toEqual({ edit: "waiting:manual-merge" });
  const { why } = await repo.task("second/edit");
  expect(why?.message).toMatch(/README\.md/);
  expect(why?.command).toContain(second);
  expect(snapshot(second)).toEqual(before);
  repo.gitAt(second, "checkout", "-q", "README.md");
  await repo.untilState("second/edit", "succeeded");
  expect(repo.gitAt(second, "status", "--porcelain")).toBe("");
  expect(readFileSync(join(second, "README.md"), "utf8")).toBe("agent\n");
  expect(snapshot()).toEqual(mine);
});

test("a locked index: it waits with git's words, and goes on when the lock is gone", async () => {
  repo.write(".git/index.lock", "");
  await repo.submit("locked", [{ id: "edit", prompt: "echo agent > README.md" }]);
  expect(await repo.settled("locked")).toBe("needs-person");
  expect((await repo.task("locked/edit")).why?.message).toMatch(/index\.lock/);
  rmSync(join(repo.commonDir, "index.lock"));
  await repo.untilState("locked/edit", "succeeded");
});

test("an ignored file in an ignored folder, of which no status tells, taken away alone", async () => {
  repo.commit("ignore", { ".gitignore": "build/\n" });
  repo.write("build/mine", "mine\n");
  repo.write("build/other", "other\n");
  await expectItWaits(
    "mkdir build; echo agent > build/mine; git add -f build/mine",
    { message: /build/, command: /./ },
    () => {
      rmSync(join(repo.path, "build/mine"));
    },
  );
  expect([repo.read("build/mine"), repo.read("build/other")]).toEqual(["agent\n", "other\n"]);
});

test("the user commits on the target in the middle: nothing of it is lost", async () => {
  const gate = join(ground.traces, "gate");
  await repo.submit("race", [
    { id: "edit", prompt: `while [ ! -e '${gate}' ]; do sleep 0.05; done; echo agent > agent.txt` },
  ]);
  await repo.untilState("race/edit", "running");
  const mine = repo.commit("mine", { "mine.txt": "mine\n" });
  repo.write("../traces/gate", "");
  expect(await repo.settled("race")).toBe("succeeded");
  expect(repo.git("merge-base", "--is-ancestor", mine, "main")).toBe("");
  expect([repo.read("mine.txt"), repo.read("agent.txt")]).toEqual(["mine\n", "agent\n"]);
  await until("its branch is tidied away", () => repo.git("branch", "--list", "orchestrator/*") === "");
});
