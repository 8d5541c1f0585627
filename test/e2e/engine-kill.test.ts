/** The engine is killed at every moment that hurts; what it started dies, what it promised holds. */
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted, type Repo } from "./engine-support.ts";
import { isAlive, kill, processesNaming } from "../support/processes.js";
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

/** A number of seconds that no other process sleeps: how a test finds its own processes whatever they did to hide. */
let sleeps = 0;
function uniqueSleep(): string {
  sleeps += 1;
  return `86399.${process.pid}${String(sleeps).padStart(3, "0")}${Math.floor(Math.random() * 1e6)}`;
}

/** Agents with children of every kind that is found at once: plain, own session, cleared environment below a parent. */
function treeOf(seconds: string): string {
  return [
    `sleep ${seconds} &`,
    `setsid sleep ${seconds} &`,
    `setsid sh -c 'sleep ${seconds} & sleep ${seconds}; true' &`,
    `env -i "$(command -v sh)" -c '"$0" ${seconds}; true' "$(command -v sleep)" &`,
    `(trap '' TERM; sleep ${seconds}; true) &`,
    `echo x > half-done.txt`,
    `sleep ${seconds}; true`,
  ].join("\n");
}
const TREE_SIZE = 8;

test("B7 R4: kill -9 of the engine in the middle of agents ends all they started; another repository's live on", async () => {
  const [mine, theirs] = [uniqueSleep(), uniqueSleep()];
  const other = ground.repository("other");
  await repo.submit(
    "trees",
    ["a", "b", "c"].map((id) => ({ id, prompt: treeOf(mine) })),
  );
  await other.submit("calm", [{ id: "calm", prompt: treeOf(theirs) }]);
  const count = (seconds: string): number => processesNaming(`sleep ${seconds}`).filter((pid) => isAlive(pid)).length;
  await until("all agents run", () => count(mine) >= 3 * TREE_SIZE && count(theirs) >= TREE_SIZE);
  const before = count(theirs);
  repo.closeClients();
  await repo.killEngine();
  await until("nothing of the engine is alive", () => processesNaming(mine).length === 0);
  expect(count(theirs)).toBe(before);
  expect(isAlive(other.enginePid())).toBe(true);
});

test("B7: a guard that is killed is replaced, and the new one knows all agents", async () => {
  const seconds = uniqueSleep();
  await repo.submit("trees", [{ id: "a", prompt: treeOf(seconds) }]);
  await until("the agent runs", () => processesNaming(`sleep ${seconds}`).length >= TREE_SIZE);
  const [first = 0] = repo.guardPids();
  expect(isAlive(first)).toBe(true);
  kill(first, "SIGKILL");
  await until("another guard is there", () => repo.guardPids().some((pid) => pid !== first && isAlive(pid)));
  repo.closeClients();
  await repo.killEngine();
  await until("nothing of the engine is alive", () => processesNaming(seconds).length === 0);
});

test("B7: engine and guard killed in the same instant: what lives is dead from the next start on, before anything new", async () => {
  const seconds = uniqueSleep();
  const prompt = `if [ ! -e ${quoted(join(ground.traces, "second"))} ]; then\n${treeOf(seconds)}\nfi\necho done > done.txt`;
  await repo.submit("trees", [{ id: "a", prompt }]);
  await until("the agent runs", () => processesNaming(`sleep ${seconds}`).length >= TREE_SIZE);
  repo.closeClients();
  const engine = repo.enginePid();
  // Both are stopped first: neither can act on the other's death.
  const pids = [engine, ...repo.guardPids()];
  for (const pid of pids) kill(pid, "SIGSTOP");
  for (const pid of pids) kill(pid, "SIGKILL");
  await until("both are dead", () => !pids.some(isAlive));
  expect(processesNaming(`sleep ${seconds}`).length).toBeGreaterThanOrEqual(TREE_SIZE);
  repo.write("../traces/second", "");
  await repo.client();
  expect(processesNaming(seconds)).toEqual([]);
  expect(await repo.settled("trees")).toBe("succeeded");
  expect(repo.read("done.txt")).toBe("done\n");
});

test.each(["SIGTERM", "stop_engine"])(
  "R4: %s ends the engine in order: trees ended, partial work kept, the next start goes on",
  async (how) => {
    const seconds = uniqueSleep();
    const second = join(ground.traces, "second");
    const prompt = `if [ ! -e ${quoted(second)} ]; then\n${treeOf(seconds)}\nfi\necho done > done.txt`;
    await repo.submit("trees", [
      { id: "a", prompt },
      { id: "b", prompt: "echo b > b.txt", dependsOn: ["a"] },
    ]);
    await until("the agent runs", () => processesNaming(`sleep ${seconds}`).length >= TREE_SIZE);
    const engine = repo.enginePid();
    const guards = repo.guardPids();
    if (how === "stop_engine") await repo.call("stop_engine", {});
    else kill(engine, how as NodeJS.Signals);
    await until("engine and guard have ended", () => ![engine, ...guards].some(isAlive));
    expect(processesNaming(seconds)).toEqual([]);
    expect(existsSync(join(repo.stateDir, "engine.json"))).toBe(false);
    expect(repo.git("show", "orchestrator/trees/a:half-done.txt")).toBe("x");
    expect(repo.log()).toContain("The engine has ended");
    repo.write("../traces/second", "");
    repo.closeClients();
    expect(await repo.settled("trees")).toBe("succeeded");
    expect(repo.merges()).toEqual({ a: 1, b: 1 });
    expect(existsSync(join(repo.path, "half-done.txt"))).toBe(false);
  },
);

test("S3: after a kill finished tasks are not run again; a cut command begins anew, its half-done work kept", async () => {
  const log = (id: string): string => `echo ${id} >> ${quoted(join(ground.traces, "runs"))}`;
  const gate = quoted(join(ground.traces, "gate"));
  await repo.submit("again", [
    { id: "done", prompt: `${log("done")}; echo done > done.txt` },
    {
      id: "cut",
      prompt: `${log("cut")}; echo committed >> cut.txt; git add -A; git commit -qm half; echo uncommitted >> cut.txt; echo x >> ${quoted(join(ground.traces, "ready"))}; while [ ! -e ${gate} ]; do sleep 0.05; done; echo end >> cut.txt`,
      dependsOn: ["done"],
    },
    { id: "last", prompt: `${log("last")}; cp cut.txt last.txt`, dependsOn: ["cut"] },
  ]);
  await until("it has left uncommitted work", () => ground.trace("ready").length === 1);
  repo.closeClients();
  await repo.killEngine();
  await repo.client();
  repo.write("../traces/gate", "");
  expect(await repo.settled("again")).toBe("succeeded");
  expect(ground.trace("runs")).toEqual(["done", "cut", "cut", "last"]);
  expect(repo.read("last.txt")).toBe("committed\nuncommitted\nend\n");
  expect(repo.merges()).toEqual({ done: 1, cut: 1, last: 1 });
  const kept = repo.keptRefs();
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.map((ref) => repo.git("show", `${ref}:cut.txt`))).toContain("committed\nuncommitted");
  const { attempts } = await repo.task("again/cut");
  expect(attempts.map(({ cause }) => cause)).toEqual(["engine-crash", null]);
});

test("4: an engine killed in the middle of the merge in the user's checkout: merged once, and the task knows it", async () => {
  const pidFile = join(ground.traces, "hook");
  repo.write(".git/hooks/post-merge", `#!/bin/sh\necho x >> ${quoted(pidFile)}\nsleep 1.5\n`);
  chmodSync(join(repo.path, ".git/hooks/post-merge"), 0o755);
  await repo.submit("hooked", [
    { id: "one", prompt: "echo one > one.txt" },
    { id: "two", prompt: "test -f one.txt && echo two > two.txt", dependsOn: ["one"] },
  ]);
  await until("git runs the user's hook", () => ground.trace("hook").length === 1);
  await repo.killEngine();
  expect(await repo.settled("hooked")).toBe("succeeded");
  expect(repo.merges()).toEqual({ one: 1, two: 1 });
  expect((await repo.task("hooked/one")).mergedSha).toMatch(/^[0-9a-f]{40}$/);
  expect(ground.trace("hook").length).toBe(2);
});

test("4: an engine killed while git still writes the user's files: the next one waits for git, and knows the merge", async () => {
  const smudged = quoted(join(ground.traces, "smudged"));
  const script = join(ground.folder, "smudge.sh");
  repo.write("../smudge.sh", `pwd >> ${smudged}\n[ "$(pwd)" = ${quoted(repo.path)} ] && sleep 2\ncat\n`);
  repo.git("config", "filter.slow.smudge", `sh ${quoted(script)}`);
  repo.commit("attributes", { ".gitattributes": "*.slow filter=slow\n" });
  await repo.submit("slow", [
    { id: "one", prompt: "echo one > one.slow" },
    { id: "two", prompt: "test -f one.slow && echo two > two.txt", dependsOn: ["one"] },
  ]);
  await until("git writes into the user's checkout", () => ground.trace("smudged").includes(repo.path));
  expect(repo.git("rev-parse", "main")).toBe(repo.git("rev-parse", "refs/orchestrator/before/slow"));
  await repo.killEngine();
  await repo.untilState("slow/two", "succeeded");
  expect(repo.merges()).toEqual({ one: 1, two: 1 });
  expect((await repo.task("slow/one")).mergedSha).toMatch(/^[0-9a-f]{40}$/);
  expect(repo.git("status", "--porcelain")).toBe("");
});

test("4 S3: killed at random moments again and again, every task is merged exactly once", async () => {
  // On a slow machine one task may be cut off by each of the kills.
  ground.configure({ agents: { maxContinuations: 8 } });
  const ids = ["a", "b", "c", "d", "e", "f"];
  const after: Record<string, string[]> = { c: ["a"], d: ["a", "b"], e: ["c", "d"], f: ["d"] };
  const tasks = ids.map((id) => ({
    id,
    prompt: `echo ${id} >> ${quoted(join(ground.traces, "runs"))}; echo line >> ${id}.txt; sleep 0.3; ${(after[id] ?? []).map((name) => `test -f ${name}.txt`).join(" && ") || "true"}`,
    dependsOn: after[id] ?? [],
    verify: ["sleep 0.1"],
  }));
  await repo.submit("random", tasks);
  for (let round = 0; round < 8; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 900));
    const done = Object.entries(await repo.states("random")).filter(([, state]) => state === "succeeded");
    const runsBefore = new Map(done.map(([id]) => [id, ground.trace("runs").filter((run) => run === id).length]));
    repo.closeClients();
    await repo.killEngine();
    await repo.client();
    for (const [id, runs] of runsBefore) expect(ground.trace("runs").filter((run) => run === id).length).toBe(runs);
  }
  expect(await repo.settled("random")).toBe("succeeded");
  expect(repo.merges()).toEqual(Object.fromEntries(ids.map((id) => [id, 1])));
  for (const id of ids) expect(repo.read(`${id}.txt`)).toBe("line\n");
  expect(repo.git("status", "--porcelain")).toBe("");
  await until("all branches are tidied away", () => repo.git("branch", "--list", "orchestrator/random/*") === "");
});

test("a changing call cut in flight by the engine's death makes one plan", async () => {
  const client = await repo.client();
  const delaysMs = [0, 1, 3, 8, 20, 60];
  for (const [round, delayMs] of delaysMs.entries()) {
    const call = client.call("create_plan", {
      tasks: [
        { id: `round-${round}`, agent: "command", prompt: `echo ${round} > ${round}.txt`, writes: [`${round}.txt`] },
      ],
    });
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    kill(repo.enginePid(), "SIGKILL");
    expect(await call).toMatchObject({ ok: true });
  }
  const { events } = await repo.call("read_log", { limit: 1000 });
  const created = (events as { body: { type: string } }[]).filter(({ body }) => body.type === "plan-created");
  expect(created.length).toBe(delaysMs.length);
  for (const round of delaysMs.keys()) await repo.untilState(`round-${round}/round-${round}`, "succeeded");
  expect(Object.values(repo.merges())).toEqual(delaysMs.map(() => 1));
});

test("the same key twice makes one plan, also after a restart; with another input it is refused", async () => {
  const input = { key: "k", tasks: [{ id: "once", agent: "command", prompt: "echo once >> once.txt" }] };
  const [first, second] = await Promise.all([repo.call("create_plan", input), repo.call("create_plan", input)]);
  expect(second).toEqual(first);
  await repo.settled(String(first["plan"]));
  repo.closeClients();
  await repo.killEngine();
  expect(await repo.call("create_plan", input)).toEqual(first);
  const other = { ...input, tasks: [{ ...input.tasks[0], prompt: "echo twice" }] };
  expect((await repo.refusal("create_plan", other)).code).toBe("REQUEST_KEY_REUSED");
  expect((await repo.refusal("control", { key: "k", action: "pause", plan: String(first["plan"]) })).code).toBe(
    "REQUEST_KEY_REUSED",
  );
  expect(repo.read("once.txt")).toBe("once\n");
  expect((await repo.status({ since: 0 })).plans.map(({ plan }) => plan)).toEqual([first["plan"]]);
});
