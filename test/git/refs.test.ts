import { existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { changeRefs } from "../../src/git/refs.ts";
import type { Repository } from "../../src/git/repository.ts";
import { isolateGit, makeFixture, type Fixture } from "./fixture.ts";

let fixture: Fixture;
let repository: Repository;

isolateGit();
beforeEach(async () => {
  fixture = makeFixture();
  repository = await fixture.open();
});
afterEach(() => fixture.dispose());

/** What git itself says, asked for the whole name. */
function asGitSays(branch: string): string | null {
  return fixture.git("for-each-ref", "--format=%(objectname)", `refs/heads/${branch}`) || null;
}

async function expectAsGitSays(branches: readonly string[]): Promise<void> {
  for (const branch of branches)
    expect([branch, await repository.branchTip(branch)]).toEqual([branch, asGitSays(branch)]);
}

test("a branch is told as git tells it, whether its ref is a file, packed, both, gone or never was", async () => {
  const names = ["a", "a-b", "deep/er/b", "b", "ü", "never"];
  for (const name of names.slice(0, -1)) fixture.git("branch", name);
  await expectAsGitSays(names);
  fixture.git("pack-refs", "--all");
  await expectAsGitSays(names);
  fixture.git("branch", "-f", "a", fixture.commitOn("main", { "a.txt": "newer\n" }));
  await expectAsGitSays(names);
  fixture.git("branch", "-D", "a", "b", "deep/er/b");
  await expectAsGitSays(names);
  // Deleting leaves no folder behind; something else may.
  mkdirSync(join(fixture.path, ".git/refs/heads/b"), { recursive: true });
  fixture.git("pack-refs", "--all");
  await expectAsGitSays([...names, "deep", "deep/er"]);
});

test("a name that is an expression, or leads elsewhere, is no branch", async () => {
  fixture.git("tag", "refs/heads/odd");
  fixture.git("tag", "odd");
  for (const name of ["odd", "main~0", "main^{commit}", "main@{0}", "../heads/main", "main/", "/main"]) {
    const asked = await repository.branchTip(name);
    // git takes an expression for what it stands for; a plain name is only the branch.
    if (/^[a-z]+$/.test(name)) expect([name, asked]).toEqual([name, null]);
    else expect([name, asked === null || asked === fixture.tip("main")]).toEqual([name, true]);
  }
});

test("a branch that is a link to another, or damaged, is asked of git", async () => {
  fixture.git("symbolic-ref", "refs/heads/alias", "refs/heads/main");
  expect(await repository.branchTip("alias")).toBe(fixture.tip("main"));
  const moved = await repository.moveTarget({
    target: "alias",
    from: fixture.tip("main"),
    to: fixture.commitOn("main", { "a.txt": "newer\n" }),
  });
  expect(moved).toMatchObject({ type: "refused", reason: "git-refused" });
  writeFileSync(join(fixture.path, ".git/refs/heads/broken"), "not an object's name\n");
  expect(await repository.branchTip("broken")).toBeNull();
  rmSync(join(fixture.path, ".git/refs/heads/broken"));
});

test("a detached HEAD has no branch; one that is a link to a file is asked of git", async () => {
  expect(await repository.currentBranch()).toBe("main");
  fixture.git("checkout", "-q", "--detach");
  expect(await repository.currentBranch()).toBeNull();
  fixture.git("-c", "core.preferSymlinkRefs=true", "symbolic-ref", "HEAD", "refs/heads/main");
  expect(await repository.currentBranch()).toBe("main");
});

test.each([
  ["an old one on a branch of ours is taken away", "orchestrator/p/a", 120, "done"],
  ["a fresh one may be at work", "orchestrator/p/a", 0, "refused"],
  ["a user's branch keeps its own", "topic", 120, "refused"],
])("6: a ref's lock that a killed git left: %s", async (_what, branch, ageSeconds, outcome) => {
  fixture.git("branch", branch);
  const lock = join(fixture.path, `.git/refs/heads/${branch}.lock`);
  writeFileSync(lock, "");
  const atSeconds = Date.now() / 1000 - ageSeconds;
  utimesSync(lock, atSeconds, atSeconds);
  const told = await changeRefs({ folder: fixture.path }, [{ ref: `refs/heads/${branch}`, to: null }], "test");
  expect(told.type).toBe(outcome);
  expect([existsSync(lock), asGitSays(branch) === null]).toEqual([outcome === "refused", outcome === "done"]);
});
