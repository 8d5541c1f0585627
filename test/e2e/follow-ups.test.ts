/** M4: what a user's own git does starts follow-ups, with the engine off, once, and never by itself again. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Ground, quoted, type Fields, type Repo } from "./engine-support.ts";
import { runCli } from "./run-cli.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;

beforeEach(() => {
  ground = new Ground();
  repo = ground.main;
});
afterEach(() => ground.leave());

async function cli(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(repo, words);
  if (code !== 0) throw new Error(`${words.join(" ")} ended with ${code}: ${stdout}${stderr}`);
  return stdout;
}

/** Appends what it is told to `name` in the traces, and changes a file of its own, so that there is something to merge. */
function tell(name: string): string {
  const trace = quoted(join(ground.traces, name));
  return [
    `files=$(tr '\\000' ',' <"$ORCHESTRATOR_FILES")`,
    `printf '%s|%s|%s|%s\\n' "$ORCHESTRATOR_BRANCH" "$files" "$(printf '%s' "$ORCHESTRATOR_COMMITS" | wc -w | tr -d ' ')" "$ORCHESTRATOR_RANGE" >>${trace}`,
    `printf '%s\\n' "$ORCHESTRATOR_RANGE" >>followed-${name}.txt`,
  ].join("\n");
}

function rule(name: string, more: Fields = {}): Fields {
  return { on: "merge", agent: "command", prompt: tell(name), cooldownSeconds: 0, ...more };
}

/** A project with these rules, trusted, its hooks in place and (save where `engine` is on) no engine. */
async function follow(rules: readonly Fields[], { engine = false } = {}): Promise<void> {
  mkdirSync(join(repo.path, ".orchestrator"), { recursive: true });
  writeFileSync(join(repo.path, ".orchestrator", "config.json"), JSON.stringify({ followUps: rules }));
  writeFileSync(join(repo.commonDir, "info", "exclude"), ".orchestrator/\n");
  await cli("hooks", "install");
  await cli("trust", "--yes");
  if (engine) return;
  repo.closeClients();
  await cli("stop");
  await until("no engine runs", () => !existsSync(join(repo.stateDir, "look", "engine")));
}

function topic(name: string, files: Readonly<Record<string, string>>): void {
  repo.git("switch", "-qc", name, "main");
  repo.commit(`work on ${name}`, files);
  repo.git("switch", "-q", "main");
}

/** Ids of the follow-ups' plans, ended ones too, after a look at all that happened so far. */
async function plans(): Promise<string[]> {
  await cli("wake");
  const refs = repo.git("for-each-ref", "--format=%(refname)", "refs/orchestrator/before/follow-up-*");
  return refs
    .split("\n")
    .filter(Boolean)
    .map((ref) => ref.split("/")[3] ?? "");
}

/** Before the user's git is at work again: it would meet a merge that still writes, and its lock. */
async function settled(): Promise<void> {
  for (const id of await plans()) await repo.settled(id);
}

async function oneDone(): Promise<string> {
  await until("the follow-up is merged", () => repo.git("log", "-1", "--format=%s").startsWith("Merge follow-up"));
  const [only, ...others] = await plans();
  expect(others).toEqual([]);
  expect(await repo.settled(only ?? "")).toBe("succeeded");
  return only ?? "";
}

describe("M4: a user's own git starts follow-ups", () => {
  it("with the engine off, `git merge` starts one that merges, and that does not start itself again", async () => {
    await follow([rule("merged", { from: "any", maxDepth: 5 })]);
    topic("side", { "src/a.txt": "a\n" });
    repo.git("merge", "-q", "--no-ff", "-m", "merge it", "side");
    const merge = repo.git("rev-parse", "HEAD");
    // Nobody helps: the hook woke the engine.
    await until("the follow-up ran", () => ground.trace("merged").length > 0);
    await oneDone();
    expect(ground.trace("merged")).toEqual([
      `main|src/a.txt,|2|${merge}^1..${merge}`.replace(`${merge}^1`, repo.git("rev-parse", `${merge}^1`)),
    ]);
    expect(repo.read("followed-merged.txt")).toContain(merge);
    await repo.killEngine();
    expect(await plans()).toHaveLength(1);
    expect(ground.trace("merged")).toHaveLength(1);
  });

  it("a fast-forward, a merge with conflicts that was resolved, and a pull that merges are merges", async () => {
    await follow([rule("merged")], { engine: true });
    topic("fast", { "f.txt": "f\n" });
    repo.git("merge", "-q", "fast");
    await until("the fast-forward is followed", () => ground.trace("merged").length === 1);
    await settled();
    topic("left", { "README.md": "left\n" });
    repo.commit("right", { "README.md": "right\n" });
    expect(spawnSync("git", ["merge", "-q", "left"], { cwd: repo.path, env: ground.environment }).status).toBe(1);
    repo.write("README.md", "both\n");
    repo.git("commit", "-qam", "resolved");
    await until(
      "the resolved merge is followed",
      () => ground.trace("merged").length === 2,
      () => repo.log().slice(-1500),
    );
    await settled();
    const other = join(ground.folder, "other clone");
    repo.git("clone", "-q", repo.path, other);
    repo.gitAt(
      other,
      "-c",
      "user.name=T",
      "-c",
      "user.email=t@example.org",
      "commit",
      "-q",
      "--allow-empty",
      "-m",
      "theirs",
    );
    repo.commit("mine", { "mine.txt": "m\n" });
    repo.git("pull", "-q", "--no-rebase", "--no-edit", other, "main");
    await until("the pull is followed", () => ground.trace("merged").length === 3);
    expect(ground.trace("merged").map((line) => line.split("|")[1])).toEqual(["f.txt,", "README.md,", ""]);
  });

  it("`git pull --rebase`, an amend and a reset start nothing twice; only own commits count", async () => {
    await follow([rule("commits", { on: "commit" })], { engine: true });
    const other = join(ground.folder, "other clone");
    repo.git("clone", "-q", repo.path, other);
    const theirs = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
    writeFileSync(join(other, "theirs.txt"), "t\n");
    repo.gitAt(other, "add", "-A");
    repo.gitAt(other, ...theirs, "commit", "-qm", "theirs");
    repo.commit("mine", { "mine.txt": "m\n" });
    await until("my commit is followed", () => ground.trace("commits").length === 1);
    await settled();
    repo.git("pull", "-q", "--rebase", other, "main");
    repo.git("commit", "-q", "--amend", "-m", "mine, in other words");
    repo.git("reset", "-q", "--hard", "HEAD~1");
    expect(await plans()).toHaveLength(1);
    repo.commit("again", { "again.txt": "a\n" });
    await until("the next commit is followed", () => ground.trace("commits").length === 2);
    expect(ground.trace("commits").map((line) => line.split("|")[1])).toEqual(["mine.txt,", "again.txt,"]);
  });

  it("branch, paths and whose it is decide; a squash by hand is a commit", async () => {
    await follow([
      rule("docs", { paths: ["docs/**"] }),
      rule("release", { branch: "release/*" }),
      rule("ours", { from: "orchestrator" }),
      rule("commit", { on: "commit", branch: "main" }),
    ]);
    topic("code", { "src/x.ts": "x\n" });
    repo.git("merge", "-q", "--squash", "code");
    repo.git("commit", "-qm", "squashed");
    await until("the squash is followed as a commit", () => ground.trace("commit").length === 1);
    const before = await plans();
    expect(before).toHaveLength(1);
    await repo.settled(before[0] ?? "");
    topic("manual", { "docs/guide.md": "g\n" });
    repo.git("merge", "-q", "--no-ff", "-m", "docs", "manual");
    await until("docs are followed", () => ground.trace("docs").length === 1);
    expect(ground.trace("docs")[0]).toMatch(/^main\|docs\/guide\.md,\|2\|/);
    const plan = await repo.submit("work", [{ id: "a", prompt: "echo a >a.txt", writes: ["a.txt"] }]);
    await repo.settled(plan);
    await until("the queue's merge is followed", () => ground.trace("ours").length === 1);
    expect(ground.trace("release")).toEqual([]);
    // Its own merge is the orchestrator's too, and is not followed again.
    const done = await plans();
    for (const id of done) await repo.settled(id);
    expect(await plans()).toHaveLength(done.length);
    expect(ground.trace("ours")).toHaveLength(1);
  });

  it("hooks that are installed and uninstalled leave nothing behind, no state and no engine", async () => {
    const trace = (): string =>
      execFileSync("find", [".git", "-printf", "%p %m %s\\n"], { cwd: repo.path, encoding: "utf8" });
    const before = trace();
    await cli("hooks", "install");
    expect(JSON.parse(await cli("hooks", "status", "--json"))).toMatchObject({ missing: [] });
    expect(trace()).not.toBe(before);
    await cli("hooks", "uninstall");
    expect(trace()).toBe(before);
  });

  it("nothing of a project's follow-ups runs before it is trusted", async () => {
    mkdirSync(join(repo.path, ".orchestrator"), { recursive: true });
    writeFileSync(join(repo.path, ".orchestrator", "config.json"), JSON.stringify({ followUps: [rule("merged")] }));
    writeFileSync(join(repo.commonDir, "info", "exclude"), ".orchestrator/\n");
    await cli("hooks", "install");
    topic("side", { "s.txt": "s\n" });
    repo.git("merge", "-q", "--no-ff", "-m", "m", "side");
    expect(existsSync(join(repo.stateDir, "look", "wake"))).toBe(false);
    expect(await plans()).toEqual([]);
    await cli("trust", "--yes");
    expect(existsSync(join(repo.stateDir, "look", "wake"))).toBe(true);
    // What happened before it was trusted is nobody's event.
    expect(await plans()).toEqual([]);
    expect(ground.trace("merged")).toEqual([]);
  });

  it("names of files and branches are text: nothing of them runs", async () => {
    await follow([rule("merged")]);
    const names = ["$(touch pwned)", "`touch pwned`", "-rf", "a\nb;touch pwned", 'it\'s "quoted"', "--help"];
    const branch = "-$(touch${IFS}pwned)`touch${IFS}pwned`;x'\"".replace(/^-/, "b");
    repo.git("switch", "-qc", branch);
    for (const name of names) writeFileSync(join(repo.path, name), "x\n");
    repo.git("add", "-A");
    repo.git("commit", "-qm", "$(touch pwned)\n\n`touch pwned`");
    topic("side", { "s.txt": "s\n" });
    repo.git("switch", "-q", branch);
    repo.git("merge", "-q", "--no-ff", "-m", "'; touch pwned; $(touch pwned)", "side");
    repo.git("switch", "-q", "main");
    repo.git("merge", "-q", "--no-ff", "-m", "in", branch);
    await until(
      "both are followed",
      () => ground.trace("merged").filter((line) => line.includes("|")).length >= 2,
      () => repo.log().slice(-1500),
    );
    for (const id of await plans()) expect(await repo.settled(id)).toBe("succeeded");
    const text = ground.trace("merged").join("\n");
    expect(text).toContain(branch);
    for (const name of names) expect(text).toContain(name);
    for (const folder of [repo.path, ground.folder, repo.commonDir])
      expect(existsSync(join(folder, "pwned"))).toBe(false);
  });

  it("one event starts one follow-up, however often the engine is killed on the way", async () => {
    const { prompt } = rule("merged");
    const own = 'echo "$ORCHESTRATOR_RANGE" >"own-$(echo "$ORCHESTRATOR_RANGE" | cut -c1-12).txt"';
    await follow([rule("merged", { prompt: `${String(prompt).split("\n").slice(0, 2).join("\n")}\n${own}` })]);
    const moments: (() => boolean)[] = [
      () => existsSync(join(repo.stateDir, "look", "engine")),
      () => repo.git("for-each-ref", "refs/orchestrator/before/").split("\n").length >= 2,
      () => ground.trace("merged").length >= 3,
      () => repo.log().includes("follow-up follow-up-1"),
    ];
    for (const [round, moment] of moments.entries()) {
      topic(`side-${round}`, { [`s${round}.txt`]: "s\n" });
      repo.git("merge", "-q", "--no-ff", "-m", `m${round}`, `side-${round}`);
      await until(`moment ${round} has come`, moment, () => repo.log().slice(-1500));
      await repo.killEngine();
      // A git that it had begun goes on.
      await until("git has let go of the checkout", () => !existsSync(join(repo.commonDir, "index.lock")));
    }
    const all = await plans();
    expect(all).toHaveLength(4);
    for (const id of all) expect(await repo.settled(id), JSON.stringify(await repo.states(id))).toBe("succeeded");
    const own0 = (): string[] => repo.git("ls-files", "own-*").split("\n");
    expect(own0()).toHaveLength(4);
    expect(await plans()).toHaveLength(4);
  });

  it("events within the cooldown wait and start one follow-up together", async () => {
    // Long enough for the others to happen within it on a loaded machine too.
    await follow([rule("merged", { cooldownSeconds: 15 })], { engine: true });
    for (const name of ["one", "two", "three"]) {
      topic(name, { [`${name}.txt`]: "x\n" });
      repo.git("merge", "-q", "--no-ff", "-m", name, name);
      if (name !== "one") continue;
      await until("the first is followed", () => ground.trace("merged").length === 1);
      await settled();
    }
    expect(await plans()).toHaveLength(1);
    repo.closeClients();
    await until("the others are followed", () => ground.trace("merged").length === 2);
    expect(ground.trace("merged")[1]).toMatch(/two\.txt,\|4\|/);
  });
});
