import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HOOK_NAMES, installHooks, readHooks, uninstallHooks } from "../../src/git/hooks.ts";
import type { Repository } from "../../src/git/repository.ts";
import { isolateGit, makeFixture, type Fixture } from "./fixture.ts";
import { until } from "../support/until.js";

isolateGit();

let fixture: Fixture;
let repository: Repository;
let state: string;

beforeEach(async () => {
  fixture = makeFixture();
  repository = await fixture.open();
  state = join(repository.commonDir, "orchestrator");
  mkdirSync(state);
});
afterEach(() => fixture.dispose());

const install = (worktree = fixture.path) => installHooks(repository, worktree, state);
const uninstall = (worktree = fixture.path) => uninstallHooks(repository, worktree, state);

/** Name, mode, type and bytes of all in a folder; null when there is none. */
function everything(folder: string): Record<string, string> | null {
  if (!existsSync(folder)) return null;
  return Object.fromEntries(
    readdirSync(folder).map((name) => {
      const path = join(folder, name);
      const facts = lstatSync(path);
      const content = facts.isSymbolicLink() ? readlinkSync(path) : facts.isFile() ? readFileSync(path, "latin1") : "";
      return [name, `${facts.mode.toString(8)} ${content}`];
    }),
  );
}

function hook(folder: string, name: string, text: string, mode = 0o755): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), text, "latin1");
  chmodSync(join(folder, name), mode);
}

/** What a run of the installed hook gives: output, exit code. */
function run(path: string, args: readonly string[], input: string, cwd = fixture.path): { out: string; code: number } {
  try {
    return {
      out: execFileSync(path, args, { cwd, input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] }),
      code: 0,
    };
  } catch (thrown) {
    const { stdout, status } = thrown as { stdout: string; status: number };
    return { out: stdout, code: status };
  }
}

const TELLS = 'echo "$0|$#|$1|$2"; cat; exit 7\n';

describe("M4: git hooks are installed beside what is there and removed without a trace", () => {
  it("installs four hooks where there are none, twice is once, and leaves no byte behind", async () => {
    const folder = join(repository.commonDir, "hooks");
    const before = everything(folder);
    const report = await install();
    expect(report).toMatchObject({ folder, hooksPath: null, missing: [], warnings: [] });
    const once = everything(folder);
    for (const name of HOOK_NAMES) {
      expect(readFileSync(join(folder, name), "utf8")).toBe(readFileSync(`hooks/${name}`, "utf8"));
    }
    await install();
    expect(everything(folder)).toEqual(once);
    expect((await uninstall()).installed).toEqual([]);
    expect(everything(folder)).toEqual(before);
    await uninstall();
    expect(everything(folder)).toEqual(before);
    expect(readdirSync(state)).toEqual([]);
  });

  it("makes the hooks folder where it is missing and takes it away again", async () => {
    const folder = join(repository.commonDir, "hooks");
    rmSync(folder, { recursive: true });
    await install();
    expect(Object.keys(everything(folder) ?? {})).toEqual([...HOOK_NAMES].sort());
    await uninstall();
    expect(everything(folder)).toBeNull();
  });

  it.each([
    ["a shell script", `#!/bin/sh\n# \xff\xfe bytes\n${TELLS}`, 0o755, "post-merge"],
    ["env bash with options, other mode", `#!/usr/bin/env bash\nset -euo pipefail\n${TELLS}`, 0o711, "post-merge"],
    ["sh -eu", `#!/bin/sh -eu\n${TELLS}`, 0o755, "post-merge"],
    ["no shebang", TELLS, 0o755, "post-merge.before-orchestrator"],
    [
      "node",
      `#!${process.execPath}\nconst f=require("fs");console.log([process.argv[1],process.argv.length-2,...process.argv.slice(2)].join("|"));process.stdout.write(f.readFileSync(0));process.exitCode=7;\n`,
      0o755,
      "post-merge.before-orchestrator",
    ],
    ["a shebang without a line's end after it", "#!/bin/sh", 0o755, null],
    ["a shebang and nothing else", "#!/bin/sh\n", 0o755, null],
  ])("keeps a hook that is %s: arguments, standard input and exit code", async (_what, text, mode, ends) => {
    const folder = join(repository.commonDir, "hooks");
    hook(folder, "post-merge", text, mode);
    const before = everything(folder);
    await install();
    await install();
    const { out, code } = run(join(folder, "post-merge"), ["a b", "$(touch x)"], "from stdin\n'\"");
    if (ends === null) expect(code).toBe(0);
    else {
      expect(out.split("\n")[0]).toBe(`${join(folder, ends)}|2|a b|$(touch x)`);
      expect(out).toContain("\nfrom stdin\n'\"");
      expect(code).toBe(7);
    }
    expect(existsSync(join(fixture.path, "x"))).toBe(false);
    await uninstall();
    expect(everything(folder)).toEqual(before);
  });

  it("takes all folders away again that it made for a core.hooksPath, and no other", async () => {
    fixture.git("config", "core.hooksPath", "new/deep/hooks");
    const before = everything(fixture.path);
    await install();
    expect(existsSync(join(fixture.path, "new/deep/hooks/post-merge"))).toBe(true);
    await uninstall();
    expect(everything(fixture.path)).toEqual(before);
    await install();
    writeFileSync(join(fixture.path, "new", "mine"), "");
    await uninstall();
    expect(readdirSync(join(fixture.path, "new"))).toEqual(["mine"]);
  });

  it("keeps what a person wrote into a hook since, also where ours stands in for theirs", async () => {
    const folder = join(repository.commonDir, "hooks");
    const ran = join(fixture.path, "ran");
    hook(folder, "post-merge", `#!${process.execPath}\nrequire("fs").appendFileSync("ran","theirs ")`, 0o755);
    await install();
    const edit = (name: string): void => {
      const text = readFileSync(join(folder, name), "utf8");
      writeFileSync(join(folder, name), text.replace("#!/bin/sh\n", `#!/bin/sh\nprintf 'added ' >>ran\n`));
    };
    edit("post-merge");
    edit("post-commit");
    await uninstall();
    for (const name of ["post-merge", "post-commit"]) {
      expect(readFileSync(join(folder, name), "utf8")).not.toContain("orchestrator-mcp");
      run(join(folder, name), [], "");
    }
    expect(readFileSync(ran, "utf8")).toBe("added theirs added ");
  });

  it("does not switch on a hook that lacks the right to be run, and puts it back", async () => {
    const folder = join(repository.commonDir, "hooks");
    hook(folder, "post-commit", "#!/bin/sh\necho must not run; exit 3\n", 0o644);
    const before = everything(folder);
    await install();
    expect(run(join(folder, "post-commit"), [], "")).toEqual({ out: "", code: 0 });
    await uninstall();
    expect(everything(folder)).toEqual(before);
  });

  it("chains a link to a tracked script without touching the script", async () => {
    const folder = join(repository.commonDir, "hooks");
    hook(join(fixture.path, "tools"), "merge.sh", "#!/bin/sh\necho tracked; exit 5\n");
    fixture.commit("tools");
    mkdirSync(folder, { recursive: true });
    symlinkSync("../../tools/merge.sh", join(folder, "post-merge"));
    const before = everything(folder);
    await install();
    expect(run(join(folder, "post-merge"), [], "")).toEqual({ out: "tracked\n", code: 5 });
    expect(fixture.git("status", "--porcelain")).toBe("");
    await uninstall();
    expect(everything(folder)).toEqual(before);
  });

  it("joins husky's hooks: its own script finds its name and folder, and nothing tracked changes", async () => {
    const husky = join(fixture.path, ".husky", "_");
    hook(husky, ".gitignore", "*", 0o644);
    hook(
      husky,
      "h",
      '#!/usr/bin/env sh\nn=$(basename "$0")\ns=$(dirname "$(dirname "$0")")/$n\n[ ! -f "$s" ] && exit 0\nsh -e "$s" "$@"\nc=$?\nexit $c\n',
      0o644,
    );
    for (const name of [...HOOK_NAMES, "pre-commit"]) hook(husky, name, '#!/usr/bin/env sh\n. "$(dirname "$0")/h"');
    hook(join(fixture.path, ".husky"), "post-merge", 'echo "husky $1"\nexit 4\n', 0o644);
    fixture.git("config", "core.hooksPath", ".husky/_");
    fixture.commit("husky");
    const before = everything(husky);
    const report = await install();
    expect(report.folder).toBe(husky);
    expect(run(".husky/_/post-merge", ["1"], "")).toEqual({ out: "husky 1\n", code: 4 });
    expect(fixture.git("status", "--porcelain")).toBe("");
    await uninstall();
    expect(everything(husky)).toEqual(before);
  });

  it("says so when git sees the change: hooks that are tracked, or that other repositories use", async () => {
    hook(join(fixture.path, ".githooks"), "post-commit", "#!/bin/sh\nexit 0\n");
    fixture.git("config", "core.hooksPath", ".githooks");
    fixture.commit("tracked hooks");
    expect((await install()).warnings.join()).toMatch(/git sees the change/);
    await uninstall();
    expect(fixture.git("status", "--porcelain")).toBe("");
    const shared = join(fixture.root, "shared hooks $(touch x)");
    fixture.git("config", "core.hooksPath", shared);
    const report = await install();
    expect(report.folder).toBe(shared);
    expect(report.warnings.join()).toMatch(/other repositories/);
    // Found again though git looks elsewhere by now.
    fixture.git("config", "--unset", "core.hooksPath");
    await uninstall();
    expect(existsSync(shared)).toBe(false);
  });

  it("refuses switched-off hooks and a folder that can't be written, before anything changed", async () => {
    fixture.git("config", "core.hooksPath", "/dev/null");
    await expect(install()).rejects.toMatchObject({
      code: "HOOKS_UNUSABLE",
      message: expect.stringContaining("/dev/null") as string,
    });
    fixture.git("config", "core.hooksPath", "/proc/1/no-hooks-here");
    await expect(install()).rejects.toMatchObject({ code: "HOOKS_UNUSABLE" });
  });

  it("finishes and undoes an installation that was cut off between any two steps", async () => {
    const folder = join(repository.commonDir, "hooks");
    const original = `#!${process.execPath}\nprocess.exit(9)\n`;
    hook(folder, "post-commit", original);
    hook(folder, "post-merge", "#!/bin/sh\nexit 6\n");
    const before = everything(folder);
    await install();
    const after = everything(folder);
    await uninstall();
    // Killed with drafts written, and with the copy made but not the replacement.
    const cutOff = (): void => {
      writeFileSync(join(folder, "post-commit.orchestrator-new"), "half");
      writeFileSync(join(folder, "post-rewrite.orchestrator-new"), "half");
      hook(folder, "post-commit.before-orchestrator", original);
    };
    cutOff();
    await uninstall();
    expect(everything(folder)).toEqual(before);
    cutOff();
    await install();
    expect(everything(folder)).toEqual(after);
    await uninstall();
    expect(everything(folder)).toEqual(before);
  });

  it("works from a linked worktree, whose hooks are the repository's", async () => {
    const linked = join(fixture.root, "linked 'wt'");
    fixture.git("worktree", "add", "-q", "-b", "beside", linked);
    const report = await install(linked);
    expect(report.folder).toBe(join(repository.commonDir, "hooks"));
    expect((await readHooks(repository, fixture.path)).missing).toEqual([]);
    await uninstall(linked);
    expect((await readHooks(repository, fixture.path)).installed).toEqual([]);
  });
});

describe("M4: a hook tells the engine and nothing else", () => {
  const look = (): string => join(state, "look");

  /** A program that stands for `node`: it writes down its arguments. */
  function standIn(): string {
    const program = join(fixture.root, "wake up.sh");
    writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$@" >"$0.out.new"; mv "$0.out.new" "$0.out"\n`);
    chmodSync(program, 0o755);
    return program;
  }

  async function woken(program: string): Promise<string[]> {
    await until("something is woken", () => existsSync(`${program}.out`));
    const lines = readFileSync(`${program}.out`, "utf8").trimEnd().split("\n");
    rmSync(`${program}.out`);
    return lines;
  }

  const startOf = (pid: number): string =>
    readFileSync(`/proc/${pid}/stat`, "latin1")
      .replace(/^.*\) /, "")
      .split(" ")[19] ?? "";

  it("git's own commands touch the sign, in the main worktree and in a linked one", async () => {
    await install();
    mkdirSync(look());
    const linked = join(fixture.root, "linked $(touch x)");
    const deeds: [string, () => void][] = [
      ["commit", () => fixture.git("commit", "-q", "--allow-empty", "-m", "c")],
      ["amend", () => fixture.git("commit", "-q", "--amend", "--allow-empty", "-m", "d")],
      ["branch", () => fixture.git("switch", "-qc", "side $(touch x)".replaceAll(" ", "-"))],
      ["worktree", () => fixture.git("worktree", "add", "-q", "-b", "beside", linked)],
      ["commit beside", () => fixture.gitIn(linked, "commit", "-q", "--allow-empty", "-m", "e")],
      ["merge", () => fixture.git("merge", "-q", "beside")],
      ["rebase", () => fixture.git("rebase", "-q", "--force-rebase", "HEAD~1")],
    ];
    for (const [what, deed] of deeds) {
      rmSync(join(look(), "now"), { force: true });
      deed();
      expect(existsSync(join(look(), "now")), what).toBe(true);
    }
    expect(existsSync(join(fixture.path, "x"))).toBe(false);
  });

  it("wakes where no engine listens, with its path as one word, and not where one does", async () => {
    await install();
    const program = standIn();
    mkdirSync(look());
    const wake = join(look(), "wake");
    writeFileSync(wake, `${program}\n/the main.js\n`);
    fixture.git("commit", "-q", "--allow-empty", "-m", "c");
    expect(await woken(program)).toEqual(["/the main.js", "wake", "--repo=.git"]);
    // A number that was used again by another process is not the engine.
    writeFileSync(join(look(), "engine"), `${process.pid} 1\n`);
    fixture.git("commit", "-q", "--allow-empty", "-m", "c");
    await woken(program);
    writeFileSync(join(look(), "engine"), `${process.pid} ${startOf(process.pid)}\n`);
    fixture.git("commit", "-q", "--allow-empty", "-m", "c");
    writeFileSync(join(look(), "engine"), "garbage\n");
    fixture.git("commit", "-q", "--allow-empty", "-m", "c");
    await woken(program);
    // The third commit, with an engine that lives, woke nobody: there is no other answer left.
    expect(existsSync(`${program}.out`)).toBe(false);
  });

  it("is silent and succeeds whatever it finds, and is gone in an agent's environment", async () => {
    await install();
    const path = join(repository.commonDir, "hooks", "post-merge");
    const execute = (env: NodeJS.ProcessEnv = {}): string =>
      execFileSync("sh", ["-c", '"$0" 2>&1', path], {
        cwd: fixture.path,
        encoding: "utf8",
        env: { ...process.env, ...env },
      });
    expect(execute()).toBe("");
    mkdirSync(look());
    expect(execute({ ORCHESTRATOR_ATTEMPT: "a/b" })).toBe("");
    expect(readdirSync(look())).toEqual([]);
    mkdirSync(join(look(), "now"));
    writeFileSync(join(look(), "wake"), "/no/such/node\n");
    mkdirSync(join(look(), "engine"));
    expect(execute()).toBe("");
    expect(execute({ GIT_DIR: "/no/such/folder" })).toBe("");
    rmSync(look(), { recursive: true });
    writeFileSync(look(), "a file");
    expect(execute()).toBe("");
  });

  it("starts no process and reads none but its own files while an engine listens", async () => {
    await install();
    mkdirSync(look());
    writeFileSync(join(look(), "wake"), "/bin/false\nx\n");
    writeFileSync(join(look(), "engine"), `${process.pid} ${startOf(process.pid)}\n`);
    const path = join(repository.commonDir, "hooks", "post-merge");
    // No PATH, and a shell that may have no child: anything that forks or executes would be heard.
    const out = execFileSync("/bin/sh", ["-c", `ulimit -u 0 2>/dev/null; . "$0" 2>&1`, path], {
      cwd: fixture.path,
      encoding: "utf8",
      env: { PATH: "/nowhere" },
    });
    expect(out).toBe("");
    expect(existsSync(join(look(), "now"))).toBe(true);
  });
});
