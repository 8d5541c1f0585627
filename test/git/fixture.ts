/** Real repositories in temporary folders whose paths have everything in them that breaks careless code. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { openRepository, type Repository } from "../../src/git/repository.ts";

export interface Fixture {
  /** Holds everything of this test. */
  readonly root: string;
  /** The user's main checkout. */
  readonly path: string;
  readonly worktreesRoot: string;
  git(...args: readonly string[]): string;
  gitIn(folder: string, ...args: readonly string[]): string;
  write(file: string, content: string | Buffer): void;
  read(file: string): string;
  /** Commits everything in the checkout; answers the commit. */
  commit(message: string): string;
  /** A commit with these files (null: deleted) on top of `base`, made without touching any checkout. */
  commitOn(base: string, files: Readonly<Record<string, string | null>>): string;
  tip(name: string): string;
  open(): Promise<Repository>;
  dispose(): void;
}

/** For a file's whole run: only git's own defaults and the repository's config, nothing of the machine's user. */
export function isolateGit(): void {
  const { HOME, XDG_CONFIG_HOME } = process.env;
  let home = "";
  beforeAll(() => {
    home = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-home-")));
    process.env["HOME"] = home;
    delete process.env["XDG_CONFIG_HOME"];
  });
  afterAll(() => {
    if (HOME !== undefined) process.env["HOME"] = HOME;
    if (XDG_CONFIG_HOME !== undefined) process.env["XDG_CONFIG_HOME"] = XDG_CONFIG_HOME;
    rmSync(home, { recursive: true, force: true });
  });
}

export function makeFixture(options: { readonly isIdentitySet?: boolean } = {}): Fixture {
  const root = realpathSync(mkdtempSync(join(tmpdir(), `ör'ch "gi t" $(x)-`)));
  const path = join(root, "repo ü");
  mkdirSync(path);
  const gitIn = (folder: string, ...args: readonly string[]): string =>
    execFileSync("git", args, { cwd: folder, encoding: "utf8", stdio: "pipe", env: cleanEnvironment() }).replace(
      /\n$/,
      "",
    );
  const git = (...args: readonly string[]): string => gitIn(path, ...args);
  git("init", "-q", "-b", "main");
  if (options.isIdentitySet ?? true) {
    git("config", "user.name", "Some User");
    git("config", "user.email", "user@example.org");
  }
  const write = (file: string, content: string | Buffer): void => {
    mkdirSync(dirname(join(path, file)), { recursive: true });
    writeFileSync(join(path, file), content);
  };
  const fixture: Fixture = {
    root,
    path,
    worktreesRoot: join(root, "home", "work trees"),
    git,
    gitIn,
    write,
    read: (file) => readFileSync(join(path, file), "utf8"),
    commit(message) {
      git("add", "-A");
      git(...ANYONE, "commit", "-q", "--no-verify", "--allow-empty", "-m", message);
      return git("rev-parse", "HEAD");
    },
    commitOn(base, files) {
      const env = { ...cleanEnvironment(), GIT_INDEX_FILE: join(root, "index.tmp") };
      const run = (args: readonly string[], input = ""): string =>
        execFileSync("git", args, { cwd: path, encoding: "utf8", input, env }).trim();
      run(["read-tree", base]);
      for (const [file, content] of Object.entries(files)) {
        if (content === null) run(["update-index", "--force-remove", "--", file]);
        else {
          const blob = run(["hash-object", "-w", "--stdin"], content);
          run(["update-index", "--add", "--cacheinfo", `100644,${blob},${file}`]);
        }
      }
      const sha = run([...ANYONE, "commit-tree", run(["write-tree"]), "-p", base, "-m", "made beside"]);
      rmSync(join(root, "index.tmp"));
      return sha;
    },
    tip: (name) => git("rev-parse", "--verify", "--quiet", name),
    open: () => openRepository(path, { worktreesRoot: join(root, "home", "work trees") }),
    dispose: () => rmSync(root, { recursive: true, force: true }),
  };
  write("a.txt", "a1\n");
  write("b.txt", "b1\n");
  write(".gitignore", "*.log\nnode_modules/\n");
  fixture.commit("first");
  return fixture;
}

const ANYONE = ["-c", "user.name=Any", "-c", "user.email=any@example.org", "-c", "commit.gpgsign=false"];

/** Every file below `folder` with a hash of its bytes, mode and type; `.git` left out. */
export function fingerprint(folder: string): Record<string, string> {
  const entries: Record<string, string> = {};
  const visit = (path: string, name: string): void => {
    const status = lstatSync(path);
    if (status.isDirectory()) {
      for (const child of readdirSync(path)) if (child !== ".git") visit(join(path, child), `${name}/${child}`);
      return;
    }
    const content = status.isSymbolicLink() ? readlinkSync(path) : readFileSync(path);
    entries[name] = `${status.mode.toString(8)} ${createHash("sha256").update(content).digest("hex")}`;
  };
  visit(folder, "");
  return entries;
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_")));
}
