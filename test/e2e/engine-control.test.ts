/** What an operator does to plans and tasks that run, wait or are blocked, and how plans grow and go on. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted, type Fields, type Repo } from "./engine-support.ts";
import { processesNaming } from "../support/processes.js";
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

/** A command that notes its start, then waits for `open`. */
function gated(id: string, work = "true"): string {
  return `echo ${id} >> ${quoted(join(ground.traces, "runs"))}; while [ ! -e ${quoted(join(ground.traces, id))} ]; do sleep 0.05; done; ${work}`;
}

function open(...ids: string[]): void {
  for (const id of ids) repo.write(`../traces/${id}`, "");
}

async function act(action: string, what: Fields): Promise<string> {
  const result = await repo.ask("control", { action, ...what });
  return result.ok ? "ok" : result.code;
}

test("a running task: paused it ends and keeps its place, resumed it goes on; cancelled it ends; skipped it counts as done", async () => {
  await repo.submit("running", [
    { id: "paused", prompt: gated("paused", "echo x > paused.txt") },
    { id: "cancelled", prompt: gated("cancelled") },
    { id: "skipped", prompt: gated("skipped") },
    { id: "after-cancelled", prompt: "true", dependsOn: ["cancelled"] },
    { id: "after-skipped", prompt: "true", dependsOn: ["skipped"] },
  ]);
  await until("three run", () => ground.trace("runs").length === 3);
  for (const [action, id] of [
    ["pause", "paused"],
    ["cancel", "cancelled"],
    ["skip", "skipped"],
  ] as const) {
    expect(await act(action, { task: `running/${id}` })).toBe("ok");
  }
  expect(await repo.settled("running")).toBe("needs-person");
  expect(await repo.states("running")).toEqual({
    paused: "waiting:paused",
    cancelled: "cancelled",
    skipped: "skipped",
    "after-cancelled": "blocked",
    "after-skipped": "succeeded",
  });
  await until("nothing of them runs", () => processesNaming(join(ground.traces, "paused")).length === 0);
  expect((await repo.task("running/paused")).why?.command).toContain("resume running/paused");
  const blocked = (await repo.task("running/after-cancelled")).why;
  expect(blocked).toMatchObject({ code: "blocked", waitsFor: ["running/cancelled"] });
  expect(blocked?.command).toContain("retry running/cancelled");
  expect(await act("resume", { task: "running/skipped" })).toBe("TASK_STATE");
  open("paused", "cancelled");
  expect(await act("resume", { task: "running/paused" })).toBe("ok");
  await repo.untilState("running/paused", "succeeded");
  expect((await repo.plan("running")).state).toBe("failed");
  expect(await act("retry", { task: "running/after-cancelled" })).toBe("TASK_STATE");
  expect(await act("retry", { task: "running/cancelled" })).toBe("ok");
  expect(await repo.settled("running")).toBe("succeeded");
  expect(repo.read("paused.txt")).toBe("x\n");
});

test("what is skipped gives its worktree and branch back; its work is kept, and where there is none no ref stays", async () => {
  await repo.submit("given-up", [
    { id: "worked", prompt: "echo half > half.txt; exit 1" },
    { id: "idle", prompt: "exit 1" },
  ]);
  expect(await repo.settled("given-up")).toBe("failed");
  for (const id of ["worked", "idle"]) expect(await act("skip", { task: `given-up/${id}` })).toBe("ok");
  await until("both are gone", () => !repo.git("worktree", "list").includes("given-up"));
  await until("the branches too", () => !repo.git("branch", "--list").includes("given-up"));
  expect(repo.keptRefs().filter((ref) => ref.includes("given-up/"))).toHaveLength(1);
  expect(repo.git("show", "refs/orchestrator/kept/given-up/worked/1:half.txt").trim()).toBe("half");
});

test("a plan: paused it starts nothing and ends what runs; resumed it goes on; cancelled all ends", async () => {
  const tasks = [
    { id: "one", prompt: gated("one") },
    { id: "two", prompt: gated("two"), dependsOn: ["one"] },
    { id: "three", prompt: gated("three"), writes: ["x/**"] },
    { id: "four", prompt: gated("four"), writes: ["x/y"] },
  ];
  await repo.submit("whole", tasks);
  await until("two run", () => ground.trace("runs").length === 2);
  await repo.untilState("whole/four", "waiting:lock");
  expect((await repo.task("whole/four")).why).toMatchObject({ code: "lock", waitsFor: ["whole/three"] });
  expect(await act("pause", { plan: "whole" })).toBe("ok");
  expect(await repo.settled("whole")).toBe("needs-person");
  await until("nothing runs", async () =>
    Object.values(await repo.states("whole")).every((state) => state !== "running"),
  );
  expect((await repo.plan("whole")).paused).toBe(true);
  open("one", "two", "three", "four");
  const runs = ground.trace("runs").length;
  // Its next command tells a reader what to do.
  expect((await repo.status({ plan: "whole" })).next).toMatch(/resume/);
  repo.closeClients();
  await repo.killEngine();
  expect((await repo.plan("whole")).paused).toBe(true);
  expect(ground.trace("runs").length).toBe(runs);
  expect(await act("resume", { plan: "whole" })).toBe("ok");
  expect(await repo.settled("whole")).toBe("succeeded");

  await repo.submit("doomed", [
    { id: "r", prompt: gated("never") },
    { id: "p", prompt: "true", dependsOn: ["r"] },
  ]);
  await repo.untilState("doomed/r", "running");
  expect(await act("cancel", { plan: "doomed" })).toBe("ok");
  expect(await repo.settled("doomed")).toBe("failed");
  expect(await repo.states("doomed")).toEqual({ r: "cancelled", p: "cancelled" });
  open("never");
  expect(await act("retry", { plan: "doomed" })).toBe("ok");
  expect(await repo.settled("doomed")).toBe("succeeded");
});

test("a waiting claim that a person holds up is told in why, and release frees it", async () => {
  await repo.submit("claims", [
    { id: "holder", prompt: "echo x > x.txt", writes: ["x.txt"], merge: "manual" },
    { id: "waiter", prompt: "echo y > x.txt", writes: ["x.txt"], merge: "none" },
  ]);
  await repo.untilState("claims/holder", "waiting:manual-merge");
  await repo.untilState("claims/waiter", "waiting:lock");
  expect((await repo.plan("claims")).state).toBe("needs-person");
  expect((await repo.task("claims/waiter")).why?.command).toContain("release claims/holder");
  expect(await act("release", { task: "claims/waiter" })).toBe("TASK_STATE");
  expect(await act("release", { task: "claims/holder" })).toBe("ok");
  await repo.untilState("claims/waiter", "succeeded");
});

test("what fits no task is refused with what to do instead, and changes nothing", async () => {
  await repo.submit("small", [
    { id: "a", prompt: "exit 1" },
    { id: "b", prompt: "true", dependsOn: ["a"] },
  ]);
  expect(await repo.settled("small")).toBe("failed");
  const before = await repo.states("small");
  expect(before).toEqual({ a: "failed", b: "blocked" });
  for (const [action, task, code] of [
    ["pause", "small/a", "TASK_STATE"],
    ["merge", "small/a", "TASK_STATE"],
    ["approve", "small/a", "TASK_STATE"],
    ["cancel", "small/a", "TASK_STATE"],
    ["resume", "small/b", "TASK_STATE"],
    ["retry", "small/b", "TASK_STATE"],
    ["retry", "small/c", "TASK_NOT_FOUND"],
    ["retry", "smal/a", "PLAN_NOT_FOUND"],
    ["explode", "small/a", "INPUT_INVALID"],
  ]) {
    expect([action, task, await act(action ?? "", { task })]).toEqual([action, task, code]);
  }
  expect(await act("retry", {})).toBe("INPUT_INVALID");
  expect(await act("skip", { plan: "small" })).toBe("TASK_STATE");
  expect(await repo.states("small")).toEqual(before);
  expect(await act("skip", { task: "small/a" })).toBe("ok");
  expect(await repo.settled("small")).toBe("succeeded");
});

test("update_plan while it runs: adds, changes and drops what has not started, all or nothing", async () => {
  await repo.submit("grows", [
    { id: "now", prompt: gated("now") },
    { id: "later", prompt: "echo old > later.txt", dependsOn: ["now"] },
    { id: "never", prompt: "touch never.txt", dependsOn: ["now"] },
  ]);
  await until("the first runs", () => ground.trace("runs").length === 1);
  const refusals: [Fields, string][] = [
    [{ change: [{ id: "now", prompt: "true" }] }, "TASK_STATE"],
    [{ drop: ["now"] }, "TASK_STATE"],
    [{ drop: ["nobody"] }, "TASK_NOT_FOUND"],
    [{ add: [{ id: "x", agent: "command", prompt: "true", dependsOn: ["nobody"] }] }, "PLAN_UNKNOWN_DEPENDENCY"],
    [{ add: [{ id: "later", agent: "command", prompt: "true" }] }, "PLAN_DUPLICATE_TASK"],
    [
      {
        change: [
          { id: "later", dependsOn: ["never"] },
          { id: "never", dependsOn: ["later"] },
        ],
      },
      "PLAN_CYCLE",
    ],
    [{ add: [{ id: "x", agent: "nobody", prompt: "true" }] }, "PLAN_UNKNOWN_AGENT"],
    [{}, "INPUT_INVALID"],
    [
      { drop: ["never"], add: [{ id: "y", agent: "command", prompt: "true", dependsOn: ["never"] }] },
      "PLAN_UNKNOWN_DEPENDENCY",
    ],
  ];
  const codes: string[] = [];
  for (const [edit] of refusals) codes.push((await repo.refusal("update_plan", { plan: "grows", ...edit })).code);
  expect(codes).toEqual(refusals.map(([, code]) => code));
  expect(await repo.states("grows")).toEqual({ now: "running", later: "pending", never: "pending" });
  await repo.call("update_plan", {
    plan: "grows",
    add: [
      { id: "added", agent: "command", prompt: "test -f later.txt && echo added > added.txt", dependsOn: ["later"] },
    ],
    change: [{ id: "later", prompt: "echo new > later.txt" }],
    drop: ["never"],
  });
  const { task } = await repo.call("spawn_agent", {
    plan: "grows",
    agent: "command",
    prompt: "echo s > s.txt",
    dependsOn: ["added"],
  });
  open("now");
  expect(await repo.settled("grows")).toBe("succeeded");
  expect([repo.read("later.txt"), repo.read("added.txt"), repo.read("s.txt")]).toEqual(["new\n", "added\n", "s\n"]);
  expect(existsSync(join(repo.path, "never.txt"))).toBe(false);
  expect((await repo.task(String(task))).state).toBe("succeeded");
  // A plan that has ended grows too.
  await repo.call("update_plan", {
    plan: "grows",
    add: [{ id: "late", agent: "command", prompt: "echo l > l.txt", dependsOn: ["added"] }],
  });
  expect(await repo.settled("grows")).toBe("succeeded");
  expect(repo.read("l.txt")).toBe("l\n");
});

test("spawn_agent alone makes a plan of its own; with another task's turn it says that it can't yet", async () => {
  const answer = await repo.call("spawn_agent", { agent: "command", prompt: "echo alone > alone.txt", key: "s" });
  expect(await repo.call("spawn_agent", { agent: "command", prompt: "echo alone > alone.txt", key: "s" })).toEqual(
    answer,
  );
  expect(await repo.settled(String(answer["plan"]))).toBe("succeeded");
  expect(repo.read("alone.txt")).toBe("alone\n");
  expect(ground.trace("nothing")).toEqual([]);
});

test("the same name and file again goes on: what ended well and is unchanged is kept, the rest runs", async () => {
  const run = (id: string, more = ""): string =>
    `echo ${id}${more} >> ${quoted(join(ground.traces, "runs"))}; echo ${id}${more} > ${id}.txt`;
  const fixed = quoted(join(ground.traces, "fixed"));
  const first = [
    { id: "a", prompt: run("a") },
    { id: "b", prompt: run("b") },
    { id: "c", prompt: `${run("c")}; test -e ${fixed}` },
    { id: "d", prompt: run("d"), dependsOn: ["c"] },
    { id: "e", prompt: run("e") },
  ];
  await repo.submit("again", first, { file: "plan.json" });
  expect(await repo.settled("again")).toBe("failed");
  repo.write("../traces/fixed", "");
  const second = [first[0], { id: "b", prompt: run("b", "2") }, first[2], first[3], { id: "f", prompt: run("f") }];
  const continued = await repo.call("create_plan", {
    name: "again",
    file: "plan.json",
    tasks: second.map((task) => ({ agent: "command", ...task })),
  });
  expect(continued).toMatchObject({ plan: "again", outcome: "continued" });
  expect(await repo.settled("again")).toBe("succeeded");
  expect(ground.trace("runs").sort()).toEqual(["a", "b", "b2", "c", "c", "d", "e", "f"]);
  expect(repo.read("b.txt")).toBe("b2\n");
  // What ran and is no longer in the plan can still be looked up.
  expect(await repo.states("again")).toEqual(
    Object.fromEntries(["a", "b", "c", "d", "e", "f"].map((id) => [id, "succeeded"])),
  );
  expect((await repo.task("again/e")).note).toBe("no longer in the plan");
  expect(repo.merges()).toEqual({ a: 1, b: 2, c: 1, d: 1, e: 1, f: 1 });

  // Under way: the same text finds it, another is refused and changes nothing.
  const slow = [{ id: "slow", prompt: gated("slow") }];
  await repo.submit("slow", slow);
  await repo.untilState("slow/slow", "running");
  const tasks = slow.map((task) => ({ agent: "command", ...task }));
  expect(await repo.call("create_plan", { name: "slow", tasks })).toMatchObject({ outcome: "attached" });
  const other = await repo.refusal("create_plan", { name: "slow", tasks: [{ ...tasks[0], prompt: "true" }] });
  expect(other.code).toBe("PLAN_EXISTS");
  open("slow");
  expect(await repo.settled("slow")).toBe("succeeded");
  expect(ground.trace("runs").filter((id) => id === "slow").length).toBe(1);
});
