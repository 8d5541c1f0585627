import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { discoverRepository, findRepository, type Places } from "../../src/engine/repository-paths.ts";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-paths-")));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const environment = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };

function git(directory: string, ...words: string[]): string {
  const settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"];
  return execFileSync("git", ["-C", directory, ...settings, ...words], { encoding: "utf8", env: environment }).trim();
}

function makeRepository(name: string, ...options: string[]): string {
  const path = join(folder, name);
  execFileSync("git", ["init", "-q", "-b", "main", ...options, path], { env: environment });
  if (!options.includes("--bare")) git(path, "commit", "-q", "--allow-empty", "-m", "first");
  return path;
}

/** What git itself says of the place. */
function byGit(place: string): { commonDir: string; worktreeRoot: string | null } {
  const commonDir = git(place, "rev-parse", "--path-format=absolute", "--git-common-dir");
  const isInside = git(place, "rev-parse", "--is-inside-work-tree") === "true";
  return {
    commonDir: realpathSync(commonDir),
    worktreeRoot: isInside ? realpathSync(git(place, "rev-parse", "--show-toplevel")) : null,
  };
}

function places(changes: Partial<Places>): Places {
  return { repo: null, cwd: null, projectDir: null, roots: null, ...changes };
}

test("finds what git finds: in a repository, deep inside, in a linked worktree and in `.git`", () => {
  const repository = makeRepository("repo");
  const deep = join(repository, "a", "b");
  mkdirSync(deep, { recursive: true });
  const linked = join(folder, "elsewhere", "linked");
  git(repository, "worktree", "add", "-q", linked);
  const hooks = join(repository, ".git", "hooks");
  mkdirSync(hooks, { recursive: true });
  for (const place of [repository, deep, linked, hooks, join(repository, ".git")]) {
    expect(findRepository(place), place).toEqual({ ...byGit(place), mainWorktree: repository });
  }
});

test("finds what git finds: bare repositories and their worktrees", () => {
  const bare = makeRepository("bare.git", "--bare");
  const source = makeRepository("source");
  git(source, "push", "-q", bare, "main");
  const linked = join(folder, "linked");
  git(bare, "worktree", "add", "-q", linked, "main");
  for (const place of [bare, join(bare, "refs"), linked]) {
    expect(findRepository(place), place).toEqual({ ...byGit(place), mainWorktree: null });
  }
});

test("a bare repository in `.git`, with worktrees beside it, has no main worktree", () => {
  const repository = makeRepository("repo");
  git(repository, "config", "core.bare", "true");
  const linked = join(repository, "linked");
  git(repository, "worktree", "add", "-q", linked);
  expect(findRepository(linked)).toMatchObject({ mainWorktree: null, worktreeRoot: linked });
  expect(findRepository(repository)).toMatchObject({ mainWorktree: null, worktreeRoot: null });
});

test("`core.bare` in the worktree's own config counts too", () => {
  const repository = makeRepository("repo");
  git(repository, "config", "extensions.worktreeConfig", "true");
  git(repository, "config", "--unset", "core.bare");
  git(repository, "config", "--worktree", "core.bare", "true");
  expect(findRepository(repository)).toMatchObject({ mainWorktree: null });
});

test("finds what git finds: a submodule, its linked worktree, and a git folder kept elsewhere", () => {
  const library = makeRepository("library");
  const repository = makeRepository("repo");
  git(repository, "submodule", "add", "-q", library, "sub");
  const sub = join(repository, "sub");
  expect(findRepository(sub)).toEqual({ ...byGit(sub), mainWorktree: sub });
  const linked = join(folder, "sub-linked");
  git(sub, "worktree", "add", "-q", linked);
  expect(findRepository(linked)).toEqual({ ...byGit(linked), mainWorktree: sub });

  const separate = makeRepository("separate", `--separate-git-dir=${join(folder, "it.git")}`);
  expect(findRepository(separate)).toEqual({ ...byGit(separate), mainWorktree: separate });
});

test("symbolic links on the way do not make it another repository", () => {
  const repository = makeRepository("repo");
  const link = join(folder, "link");
  symlinkSync(repository, link);
  expect(findRepository(link)).toEqual(findRepository(repository));
  renameSync(join(repository, ".git"), join(folder, "moved.git"));
  symlinkSync(join(folder, "moved.git"), join(repository, ".git"));
  expect(findRepository(repository)).toEqual({ ...byGit(repository), mainWorktree: repository });
});

test("GIT_DIR and its relatives are not believed", () => {
  const repository = makeRepository("repo");
  const before = process.env["GIT_DIR"];
  process.env["GIT_DIR"] = makeRepository("other") + "/.git";
  try {
    expect(findRepository(repository)?.commonDir).toBe(join(repository, ".git"));
  } finally {
    if (before === undefined) delete process.env["GIT_DIR"];
    else process.env["GIT_DIR"] = before;
  }
});

test("a `.git` that is no git folder is passed over, like git does", () => {
  const repository = makeRepository("repo");
  const inner = join(repository, "inner");
  mkdirSync(join(inner, ".git"), { recursive: true });
  expect(findRepository(inner)).toEqual({ ...byGit(inner), mainWorktree: repository });
});

test("a `.git` file that leads nowhere is an error that says so, not another repository further up", () => {
  const repository = makeRepository("repo");
  const inner = join(repository, "inner");
  mkdirSync(inner);
  writeFileSync(join(inner, ".git"), "gitdir: /gone/away\n");
  expect(() => findRepository(inner)).toThrow(/inner\/\.git names \/gone\/away.*git worktree repair/);
  writeFileSync(join(inner, ".git"), "nothing of the kind");
  expect(() => findRepository(inner)).toThrow(/names no git folder/);
});

test("outside of any repository, and where nothing is, there is none", () => {
  expect(findRepository(folder)).toBeNull();
  expect(findRepository(join(folder, "missing"))).toBeNull();
});

test("the places are tried in order: --repo alone, else cwd, CLAUDE_PROJECT_DIR, the single root", () => {
  const [one, two, three] = ["one", "two", "three"].map((name) => makeRepository(name)) as [string, string, string];
  const roots = [pathToFileURL(three).href];
  expect(discoverRepository(places({ repo: one, cwd: two })).place).toBe(one);
  expect(discoverRepository(places({ repo: "../one", cwd: two })).place).toBe(one);
  expect(discoverRepository(places({ cwd: two, projectDir: one, roots })).place).toBe(two);
  expect(discoverRepository(places({ cwd: folder, projectDir: one, roots })).place).toBe(one);
  expect(discoverRepository(places({ cwd: folder, projectDir: "relative", roots })).place).toBe(three);
  expect(() => discoverRepository(places({ repo: folder, cwd: two }))).toThrow(/--repo/);
  for (const bad of [[...roots, ...roots], [], ["https://host/x"], ["file://otherhost/x"]]) {
    expect(() => discoverRepository(places({ cwd: folder, roots: bad })), String(bad)).toThrow(/git init.*--repo DIR/);
  }
});
