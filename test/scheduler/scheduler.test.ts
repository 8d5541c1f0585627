import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as immediate } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { identityOf, isAlive } from "../../src/process/process-table.ts";
import { AppError } from "../../src/errors.ts";
import { controlTask } from "../../src/plan/controls.ts";
import type { PlanSettings } from "../../src/scheduler/settings.ts";
import { ROLE, SETTINGS, World } from "./world.ts";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(async () => {
  await world.destroy();
});

test("D3 X2 X3: three tasks, two depending on the first, end merged on the target with their trailers", async () => {
  await world.start();
  world.submit("demo", [
    { id: "a", prompt: "echo one > a.txt" },
    { id: "b", prompt: "test -f a.txt && echo two > b.txt", dependsOn: ["a"] },
    { id: "c", prompt: "test -f a.txt && echo three > c.txt && git add -A && git commit -qm mine", dependsOn: ["a"] },
  ]);
  expect(await world.settled("demo")).toBe("succeeded");
  expect([world.read("a.txt"), world.read("b.txt"), world.read("c.txt")]).toEqual(["one\n", "two\n", "three\n"]);
  const merges = world.git(
    "log",
    "--first-parent",
    "--merges",
    "--format=%(trailers:key=Orchestrator-Task,valueonly)",
    "main",
  );
  expect(merges.split(/\s+/).sort()).toEqual(["a", "b", "c"]);
  await world.stop();
  expect(world.git("branch", "--list", "orchestrator/*")).toBe("");
  expect(
    world
      .git("worktree", "list")
      .split("\n")
      .filter((line) => !line.includes("queue")).length,
  ).toBe(1);
  expect(world.git("status", "--porcelain")).toBe("");
});

test("D5 R3 P3: one task's failure touches its hard dependents only", async () => {
  await world.start();
  world.submit("modes", [
    { id: "bad", prompt: "exit 3" },
    { id: "after-bad", prompt: "true", dependsOn: ["bad"] },
    { id: "soft", prompt: "exit 1", onFailure: "soft" },
    { id: "after-soft", prompt: "echo x > soft.txt", dependsOn: ["soft"] },
    { id: "skip", prompt: "exit 1", onFailure: "skip" },
    { id: "after-skip", prompt: "echo x > skip.txt", dependsOn: ["skip"] },
    { id: "alone", prompt: "echo x > alone.txt" },
  ]);
  expect(await world.settled("modes")).toBe("failed");
  expect(world.states("modes")).toEqual({
    bad: "failed",
    "after-bad": "blocked",
    soft: "failed",
    "after-soft": "succeeded",
    skip: "skipped",
    "after-skip": "succeeded",
    alone: "succeeded",
  });
});

test("X1 P2: never more agents than the limit, measured by the agents themselves", async () => {
  await world.start({ limitAgents: 3 });
  const log = join(world.folder, "log");
  // None of the first ends before three are there: fewer than the limit at once, and they would wait for ever.
  const prompt = `echo "+" >> '${log}'; while [ $(grep -c + '${log}') -lt 3 ]; do sleep 0.05; done; sleep 0.3; echo "-" >> '${log}'`;
  world.submit(
    "many",
    Array.from({ length: 12 }, (_, index) => ({ id: `t${index}`, prompt })),
  );
  expect(await world.settled("many")).toBe("succeeded");
  let alive = 0;
  let most = 0;
  for (const sign of readFileSync(log, "utf8").trim().split("\n")) {
    alive += sign === "+" ? 1 : -1;
    most = Math.max(most, alive);
  }
  expect(most).toBe(3);
});

test("D4: two tasks whose claims overlap never run together", async () => {
  await world.start();
  const log = join(world.folder, "log");
  const prompt = `echo "+" >> '${log}'; sleep 0.2; echo "-" >> '${log}'; echo $RANDOM$$ > src-file; mkdir -p src; date +%N > src/$$`;
  world.submit("claims", [
    { id: "one", prompt, writes: ["src/**", "src-file"] },
    { id: "two", prompt, writes: ["src/*", "src-file"] },
    { id: "three", prompt, writes: ["**"] },
  ]);
  expect(await world.settled("claims")).toBe("succeeded");
  expect(readFileSync(log, "utf8").trim().split("\n")).toEqual(["+", "-", "+", "-", "+", "-"]);
});

test("X3: a conflict makes its task wait, branch and worktree kept, and the rest goes on", async () => {
  await world.start();
  // Two began before one was merged, and has its work ready after that.
  const begun = join(world.folder, "begun");
  const after = (ref: string): string => `while ! git cat-file -e ${ref}; do sleep 0.05; done`;
  world.submit("conflict", [
    { id: "one", prompt: `while [ ! -e '${begun}' ]; do sleep 0.05; done; echo one > same.txt` },
    { id: "two", prompt: `touch '${begun}'; ${after("main:same.txt")}; echo two > same.txt` },
    { id: "three", prompt: `${after("orchestrator/conflict/two:same.txt")}; echo three > other.txt` },
  ]);
  expect(await world.settled("conflict")).toBe("needs-person");
  expect(world.states("conflict")).toEqual({ one: "succeeded", two: "waiting:conflict", three: "succeeded" });
  expect(world.git("show", "orchestrator/conflict/two:same.txt")).toBe("two");
  expect(existsSync(join(world.parts.repository.worktreesFolder, "conflict", "two", "same.txt"))).toBe(true);
});

test("12: the words of a target that fails verify itself have no empty lines of the command in them", async () => {
  await world.start({ settings: { ...SETTINGS, verify: ["echo one; echo; exit 7"] } });
  world.submit("red", [{ id: "a", prompt: "echo x > a.txt" }]);
  expect(await world.settled("red")).toBe("needs-person");
  const { wait } = world.parts.board.node("red/a").record;
  expect(wait?.message).toContain("/ one / [ended with exit code 7])");
});

test("only verified work lands: a candidate that fails verify after merging never reaches the target", async () => {
  await world.start({ settings: { ...SETTINGS, verify: ["test ! -f bad.txt"] } });
  world.submit("verify", [
    { id: "good", prompt: "echo x > good.txt" },
    { id: "bad", prompt: "echo x > bad.txt" },
  ]);
  expect(await world.settled("verify")).toBe("needs-person");
  expect(world.states("verify")).toEqual({ good: "succeeded", bad: "waiting:verify" });
  expect(world.git("ls-tree", "--name-only", "main").split("\n")).toEqual(["README.md", "good.txt"]);
});

test("a base that is red by itself blames nobody, and the queue goes on when it is mended", async () => {
  world.write("broken", "x\n");
  world.git("add", "-A");
  world.git("commit", "-qm", "break it");
  await world.start({ settings: { ...SETTINGS, verify: ["test ! -f broken"] } });
  world.submit("red", [{ id: "work", prompt: "echo x > work.txt" }]);
  expect(await world.settled("red")).toBe("needs-person");
  expect(world.states("red")).toEqual({ work: "waiting:target" });
  world.git("rm", "-q", "broken");
  world.git("commit", "-qm", "mend it");
  await world.until("it is merged", () => world.states("red")["work"] === "succeeded");
});

test("the user's checkout is safe: a dirty file in the way makes the merge wait, and it goes on when cleared", async () => {
  await world.start();
  world.write("README.md", "my own words\n");
  world.submit("dirty", [{ id: "edit", prompt: "echo agent > README.md" }]);
  expect(await world.settled("dirty")).toBe("needs-person");
  expect(world.states("dirty")).toEqual({ edit: "waiting:manual-merge" });
  expect(world.read("README.md")).toBe("my own words\n");
  world.git("checkout", "-q", "README.md");
  await world.until("it is merged", () => world.states("dirty")["edit"] === "succeeded");
  expect(world.read("README.md")).toBe("agent\n");
});

test("P1 R1: a task with retries runs again after a back-off and may succeed", async () => {
  await world.start();
  const flag = join(world.folder, "flag");
  world.submit("flaky", [
    { id: "flaky", prompt: `test -f '${flag}' || { touch '${flag}'; exit 1; }; echo x > x.txt`, retries: 2 },
  ]);
  expect(await world.settled("flaky")).toBe("succeeded");
  expect(world.parts.store.attempts.listByTask("flaky", "flaky").map((attempt) => attempt.outcome)).toEqual([
    "failed",
    "succeeded",
  ]);
});

test("R1: a command whose shell is killed gave no verdict and is tried again; one that tells of a killed program did", async () => {
  await world.start();
  const flag = join(world.folder, "flag");
  world.submit("killed", [
    { id: "shell", prompt: `test -f '${flag}' || { touch '${flag}'; kill -KILL $$; }; echo x > x.txt` },
    { id: "program", prompt: "sh -c 'kill -KILL $$'; exit $?", onFailure: "soft" },
    { id: "never", prompt: "kill -KILL $$", retries: 0, onFailure: "soft" },
  ]);
  expect(await world.settled("killed")).toBe("failed");
  const causes = ["shell", "program", "never"].map((id) =>
    world.parts.store.attempts.listByTask("killed", id).map(({ cause }) => cause),
  );
  expect(causes).toEqual([["crashed", null], ["command-failed"], ["crashed"]]);
});

test("a deadline ends the agent's whole tree and the task fails, its work kept", async () => {
  await world.start();
  const pidFile = join(world.folder, "pid");
  world.submit("slow", [
    { id: "slow", prompt: `echo kept > kept.txt; sleep 300 & echo $! > '${pidFile}'; wait`, timeoutMinutes: 0.02 },
  ]);
  expect(await world.settled("slow")).toBe("failed");
  expect(world.git("show", "orchestrator/slow/slow:kept.txt")).toBe("kept");
  const child = identityOf(Number(readFileSync(pidFile, "utf8")));
  expect(child !== null && isAlive(child)).toBe(false);
});

test("S3: stopped in the middle and started again, it goes on; nothing finished runs twice", async () => {
  await world.start({ limitAgents: 1 });
  const log = join(world.folder, "runs");
  const prompt = (id: string): string => `echo ${id} >> '${log}'; sleep 0.3; echo ${id} > ${id}.txt`;
  world.submit(
    "again",
    ["a", "b", "c"].map((id) => ({ id, prompt: prompt(id) })),
  );
  await world.until("the first is done", () => world.states("again")["a"] === "succeeded");
  await world.stop();
  await world.start({ limitAgents: 1 });
  expect(await world.settled("again")).toBe("succeeded");
  const runs = readFileSync(log, "utf8").trim().split("\n");
  expect(runs.filter((id) => id === "a")).toEqual(["a"]);
  expect(new Set(runs)).toEqual(new Set(["a", "b", "c"]));
  expect(world.git("log", "--merges", "--oneline", "main").split("\n").length).toBe(3);
});

test("S3: what was cut off goes on with the first client and its keys, however long the start takes", async () => {
  await world.start();
  const log = join(world.folder, "runs");
  world.submit("held", [{ id: "a", prompt: `echo a >> '${log}'; test $(wc -l < '${log}') -gt 1 || sleep 300` }]);
  await world.until("it runs", () => existsSync(log));
  await world.stop();
  await world.start({ firstClientWithinMs: 600_000 });
  expect(world.states("held")).toEqual({ a: "ready" });
  world.scheduler.letGo();
  expect(await world.settled("held")).toBe("succeeded");
});

test("a question whose time is over at the start is put to the orchestrator role with the first client's keys only", async () => {
  const settings = settingsWithSilentAgent(world, 60_000);
  const roles = { ...settings.roles, orchestrator: { name: "orchestrator", ...ROLE, provider: "silent" } };
  await world.start();
  world.settings = { ...settings, roles };
  world.submit("asks", [{ id: "a", prompt: "exit 1" }]);
  expect(await world.settled("asks")).toBe("failed");
  const [attempt] = world.parts.store.attempts.listByTask("asks", "a");
  const { id } = world.parts.store.questions.insert({
    planId: "asks",
    taskId: "a",
    attemptId: attempt?.id ?? "",
    role: "coder",
    text: "Which?",
    options: [],
    context: null,
    sameness: "which?",
    requestKey: null,
    state: "open",
    isParked: true,
    askedAtMs: 1,
    stage: "parent",
    stageUntilMs: 1,
    answer: null,
    answeredBy: null,
    answeredAtMs: null,
    carriedBy: null,
    isDelivered: false,
  });
  await world.stop();
  await world.start({ settings: { ...settings, roles }, firstClientWithinMs: 600_000 });
  const untilStage = async (stage: string): Promise<void> => {
    const end = performance.now() + 30_000;
    while (world.parts.store.questions.get(id)?.stage !== stage && performance.now() < end) await immediate();
    expect(world.parts.store.questions.get(id)?.stage).toBe(stage);
  };
  await untilStage("orchestrator");
  // A turn begins right after what told of the question, and this one, of a plan that has ended, is over at once.
  for (let turn = 0; turn < 10; turn += 1) await immediate();
  await untilStage("orchestrator");
  world.scheduler.letGo();
  await untilStage("human");
});

test("R4: stopping ends a check of a merge too, and the merge goes on at the next start", async () => {
  const flag = join(world.folder, "slow");
  const verify = [`test -f '${flag}' || { touch '${flag}'; sleep 300; }`];
  await world.start({ settings: { ...SETTINGS, verify } });
  world.submit("stop", [{ id: "work", prompt: "echo x > x.txt" }]);
  await world.until("the check runs", () => existsSync(flag));
  await world.stop();
  expect(world.git("log", "--merges", "--oneline", "main")).toBe("");
  await world.start({ settings: { ...SETTINGS, verify } });
  expect(await world.settled("stop")).toBe("succeeded");
  expect(world.read("x.txt")).toBe("x\n");
});

/** A CLI that takes its prompt and then never says a word, as Codex without response headers or Goose on Retry-After. */
function settingsWithSilentAgent(world: World, stallMs: number): PlanSettings {
  const file = join(world.folder, "silent-agent");
  writeFileSync(
    file,
    "#!/bin/sh\ncase $* in *--version*) echo '2.1.329 (Claude Code)'; exit;; esac\ncat > /dev/null\nsleep 1000\n",
  );
  chmodSync(file, 0o755);
  const silent = {
    name: "silent",
    kind: "claude",
    command: file,
    args: [],
    env: {},
    passEnv: [],
    limit: null,
  } as const;
  return {
    ...SETTINGS,
    stallMs,
    providers: { ...SETTINGS.providers, silent },
    roles: { ...SETTINGS.roles, coder: { ...ROLE, name: "coder", provider: "silent" } },
  };
}

test("P4 R1: an agent that waits without a word is ended as stalled and tried again, as often as it has retries", async () => {
  await world.start({ settings: settingsWithSilentAgent(world, 600) });
  world.submit("hang", [{ id: "a", prompt: "x", agent: "coder", retries: 1 }], { provider: "silent" });
  expect(await world.settled("hang")).toBe("failed");
  const attempts = world.parts.store.attempts.listByTask("hang", "a");
  expect(attempts.map(({ cause }) => cause)).toEqual(["stalled", "stalled"]);
  const notes = world.parts.store.events
    .since(0, { limit: 1_000 })
    .flatMap(({ body }) => (body.type === "attempt-note" ? [body.message] : []));
  expect(notes.join("\n")).toMatch(/^showed no sign of life for .* is ended/m);
  await expect.poll(() => world.scheduler.canMove()).toBe(false);
});

test("P4: the task's own deadline ends a silent agent that may be silent for longer", async () => {
  await world.start({ settings: settingsWithSilentAgent(world, 3_600_000) });
  world.submit("hang", [{ id: "a", prompt: "x", agent: "coder" }], { provider: "silent", timeoutMinutes: 0.01 });
  expect(await world.settled("hang")).toBe("failed");
  expect(world.parts.store.attempts.listByTask("hang", "a").map(({ cause }) => cause)).toEqual(["timed-out"]);
});

test("nothing can move while all wait for one that waits for a person, though a claim alone would move by itself", async () => {
  await world.start();
  world.submit("stuck", [
    { id: "a", prompt: "echo x > a", writes: ["a"], merge: "manual", priority: 1 },
    { id: "b", prompt: "echo y > a", writes: ["a"] },
  ]);
  expect(await world.settled("stuck")).toBe("needs-person");
  expect(world.states("stuck")).toEqual({ a: "waiting:manual-merge", b: "waiting:lock" });
  await expect.poll(() => world.scheduler.canMove()).toBe(false);
  world.scheduler.commit(() => controlTask(world.parts.board, "stuck/a", "merge", Date.now()));
  expect(world.scheduler.canMove()).toBe(true);
  expect(await world.settled("stuck")).toBe("succeeded");
});

test("S1: a change that could not be stored, whatever step of storing it failed, ends the scheduler; one refused before does not", async () => {
  await world.start();
  world.submit("p", [{ id: "a", prompt: "true", merge: "manual" }]);
  const { store, board } = world.parts;
  const transaction = store.transaction.bind(store);
  const pause = (): void => world.scheduler.commit(() => controlTask(board, "p/a", "pause", Date.now()));
  store.transaction = () => {
    throw new AppError("STATE_UNUSABLE", "held by another program");
  };
  expect(pause).toThrow("held by another program");
  expect(world.fatal).toEqual([]);
  // As a disk that is full does at COMMIT: all was written by then.
  store.transaction = (work) =>
    transaction(() => {
      work();
      throw new AppError("STATE_UNUSABLE", "the disk is full");
    });
  expect(pause).toThrow("the disk is full");
  store.transaction = transaction;
  expect(world.fatal).toEqual([expect.objectContaining({ message: "the disk is full" })]);
  expect(() => world.scheduler.commit(() => {})).toThrow("could not be stored");
});
