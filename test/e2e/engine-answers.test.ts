/** What the answers of the operator's tools tell a parent, and what they cost it. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { join } from "node:path";
import { Ground, quoted, type Repo } from "./engine-support.ts";
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

const resumes = (plan: string): RegExp => new RegExp(`^control \\{"action":"resume","plan":"${plan}"\\}`);

test("a plan that is held says so wherever a parent meets it, with the call that lets it go on", async () => {
  const plan = { name: "held", tasks: [{ id: "a", agent: "command", prompt: "true" }] };
  expect((await repo.call("create_plan", { ...plan, start: false }))["next"]).toMatch(resumes("held"));
  const again = await repo.call("create_plan", plan);
  expect(again).toMatchObject({ outcome: "attached", summary: expect.stringContaining("paused") as string });
  expect(again["next"]).toMatch(resumes("held"));
  const grown = await repo.call("update_plan", {
    plan: "held",
    add: [{ id: "b", agent: "command", prompt: "echo b > b.txt" }],
  });
  expect(grown["next"]).toMatch(resumes("held"));
  const spawned = await repo.call("spawn_agent", { plan: "held", id: "c", agent: "command", prompt: "true" });
  expect(spawned["next"]).toMatch(resumes("held"));
  await repo.control("resume", { plan: "held" });
  expect(await repo.settled("held")).toBe("succeeded");
});

test("a plan that goes on under its name is held where that is asked for", async () => {
  const plan = { name: "on", tasks: [{ id: "a", agent: "command", prompt: "true" }] };
  await repo.call("create_plan", plan);
  expect(await repo.settled("on")).toBe("succeeded");
  const more = [...plan.tasks, { id: "b", agent: "command", prompt: "echo b > b.txt" }];
  const continued = await repo.call("create_plan", { ...plan, tasks: more, start: false });
  expect(continued).toMatchObject({ outcome: "continued", summary: expect.stringContaining("paused") as string });
  expect(continued["next"]).toMatch(resumes("on"));
  expect(await repo.plan("on")).toMatchObject({ state: "needs-person", paused: true, counts: { succeeded: 1 } });
  await repo.control("resume", { plan: "on" });
  expect(await repo.settled("on")).toBe("succeeded");
});

test("an agent's last words come first, and what was before them page by page", async () => {
  const prompt = 'i=0; while [ "$i" -lt 1600 ]; do echo "line $i"; i=$((i+1)); done; echo THE-LAST-WORD';
  await repo.submit("words", [{ id: "talks", prompt }]);
  expect(await repo.settled("words")).toBe("succeeded");
  const page = async (offset: number): Promise<string> => {
    const { task } = await repo.status({ task: "words/talks", include: ["output"], offset });
    return task?.output ?? "";
  };
  const last = await page(0);
  expect(last.endsWith("THE-LAST-WORD")).toBe(true);
  const [, before = "", offset = ""] = /^… (\d+) characters before: call again with offset: (\d+)\n/.exec(last) ?? [];
  const earlier = await page(Number(offset));
  expect(earlier).toHaveLength(Number(before));
  const lines = (earlier + last.slice(last.indexOf("\n") + 1)).split("\n").slice(1, -1);
  const first = Number(/\d+/.exec(lines[0] ?? "")?.[0]);
  expect(lines).toEqual(Array.from({ length: 1600 - first }, (_, index) => `line ${first + index}`));
});

test("a running task tells since when", async () => {
  const gate = join(ground.traces, "go-on");
  await repo.submit("timed", [{ id: "slow", prompt: `until test -e ${quoted(gate)}; do sleep 0.05; done` }]);
  await repo.untilState("timed/slow", "running");
  const before = Date.now();
  await until("its agent runs", async () => (await repo.plan("timed")).tasks[0]?.startedAt !== undefined);
  const [line] = (await repo.plan("timed")).tasks;
  expect(line).toMatchObject({ task: "timed/slow", runsFor: "less than 1 min" });
  expect(Date.parse(line?.startedAt ?? "")).toBeLessThanOrEqual(before + 60_000);
  repo.write("../traces/go-on", "");
  expect(await repo.settled("timed")).toBe("succeeded");
  const { endedAt } = await repo.task("timed/slow");
  expect(Date.parse(endedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(line?.startedAt ?? ""));
});

test("a plan that is told as ended has left no branch and no worktree of a task", async () => {
  const tasks = ["a", "b", "c", "d"].map((id, index) => ({
    id,
    prompt: `echo ${id} > ${id}.txt`,
    dependsOn: index === 0 ? [] : ["a"],
  }));
  for (const name of ["first", "second", "third"]) {
    await repo.submit(name, [...tasks, { id: "given-up", prompt: "exit 1", onFailure: "skip" }]);
    expect(await repo.settled(name)).toBe("succeeded");
    expect(repo.git("for-each-ref", "--format=%(refname)", "refs/heads").trim()).toBe("refs/heads/main");
    expect(repo.git("worktree", "list")).not.toContain(`/${name}/`);
  }
});

/** Of JSON as ours some three characters are a token. */
const WELL_UNDER_2000_TOKENS = 4_800;

test("fifty tasks cost a parent well under 2,000 tokens, however they stand, and none is lost to it", async () => {
  const long = "a-name-of-some-length";
  const ids = Array.from({ length: 60 }, (_, index) => `${long}-${index}`);
  const words = "some words that an agent might say of what it did ".repeat(10);
  const tasks = ids.map((id, index) => ({
    id,
    title: `Do part ${index} of it, and tell what came of it`,
    prompt: index % 2 === 0 ? `echo ${quoted(words)}; exit 3` : `echo ${quoted(words)}`,
    ...(index % 10 === 9 ? { dependsOn: [ids[0] ?? ""] } : {}),
  }));
  await repo.submit("many", tasks, { maxConcurrent: 8 });
  expect(await repo.settled("many")).toBe("failed");
  const seen: string[] = [];
  for (let more = 1; more > 0;) {
    const status = await repo.status({ plan: "many", offset: seen.length });
    expect(JSON.stringify(status).length).toBeLessThan(WELL_UNDER_2000_TOKENS);
    const [plan] = status.plans;
    expect(plan?.total).toBe(60);
    seen.push(...(plan?.tasks ?? []).map((task) => task.task));
    more = plan?.more ?? 0;
  }
  expect(seen.toSorted()).toEqual(ids.map((id) => `many/${id}`).toSorted());
});
