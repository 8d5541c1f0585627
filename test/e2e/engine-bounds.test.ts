/** How many agents run at once, which never together, and that floods and oddities harm nobody. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted, type Repo } from "./engine-support.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
beforeEach(() => {
  ground = new Ground({ limits: { agents: 8 } });
  repo = ground.main;
});
afterEach(async () => {
  await ground.leave();
});

/** Each agent notes its coming and going; lines this short are appended whole (O_APPEND). */
function noted(id: string, work: string): string {
  const log = quoted(join(ground.traces, "log"));
  return `echo "+ ${id}" >> ${log}\n${work}\necho "- ${id}" >> ${log}`;
}

/** The most that were alive at once, and every pair that was alive together. */
function readNotes(): { most: number; together: Set<string>; order: string[] } {
  const alive = new Set<string>();
  const together = new Set<string>();
  const order: string[] = [];
  let most = 0;
  for (const line of ground.trace("log")) {
    const [sign, id = ""] = line.split(" ");
    if (sign === "-") alive.delete(id);
    else {
      for (const other of alive) together.add([id, other].sort().join(" "));
      alive.add(id);
      order.push(id);
      most = Math.max(most, alive.size);
    }
  }
  return { most, together, order };
}

test("X1 P2 D4: of fifty agents never more than eight live at once, and overlapping claims never together", async () => {
  const tasks = Array.from({ length: 50 }, (_, index) => ({
    id: `t${index}`,
    // Every tenth pair claims the same folder.
    ...(index % 10 < 2 ? { writes: [`shared-${Math.floor(index / 10)}/**`] } : { writes: [`own-${index}/**`] }),
    // Stays until three have been alive at once, however slowly a loaded machine starts them.
    prompt: noted(
      `t${index}`,
      `while [ $(grep -c "^+" ${quoted(join(ground.traces, "log"))}) -lt 3 ]; do sleep 0.1; done; sleep 0.4`,
    ),
  }));
  await repo.submit("many", tasks, { maxConcurrent: 8 });
  expect(await repo.settled("many", 120_000)).toBe("succeeded");
  const { most, together, order } = readNotes();
  expect(order.length).toBe(50);
  expect(most).toBeLessThanOrEqual(8);
  expect(most).toBeGreaterThan(2);
  for (let pair = 0; pair < 50; pair += 10)
    expect(together).not.toContain([`t${pair}`, `t${pair + 1}`].sort().join(" "));
});

test("P2: maxConcurrent 1 is a plain sequence, and more slots than work is fine", async () => {
  const tasks = (prefix: string) =>
    ["a", "b", "c", "d"].map((id) => ({ id: `${prefix}${id}`, prompt: noted(`${prefix}${id}`, "sleep 0.05") }));
  await repo.submit("one", tasks("one-"), { maxConcurrent: 1 });
  expect(await repo.settled("one")).toBe("succeeded");
  expect(readNotes()).toMatchObject({ most: 1, order: ["one-a", "one-b", "one-c", "one-d"] });
  await repo.submit("plenty", tasks("plenty-"), { maxConcurrent: 1000 });
  expect(await repo.settled("plenty")).toBe("succeeded");
  expect(readNotes().order.length).toBe(8);
});

test("P2: a maxConcurrent that is no number of agents is a clear error, and nothing starts", async () => {
  for (const value of [0, -1, 1.5, "four", 1001, null]) {
    const tasks = [{ id: "a", agent: "command", prompt: "true" }];
    const { code, message } = await repo.refusal("create_plan", { maxConcurrent: value, tasks });
    expect([value, code]).toEqual([value, "PLAN_INVALID"]);
    expect(message).toContain("maxConcurrent");
  }
  expect((await repo.status({})).plans).toEqual([]);
});

test("limits.agents changed in the global file counts at once, up and down, for plans that run", async () => {
  ground.configure({ limits: { agents: 1 } });
  const gate = (name: string): string => quoted(join(ground.traces, name));
  const ids = Array.from({ length: 8 }, (_, index) => `t${index}`);
  await repo.submit(
    "limits",
    ids.map((id) => ({
      id,
      prompt: noted(id, `while [ ! -e ${gate(id)} ] && [ ! -e ${gate("all")} ]; do sleep 0.05; done`),
    })),
    { maxConcurrent: 100 },
  );
  const running = async (): Promise<number> => (await repo.plan("limits")).counts["running"] ?? 0;
  await until("one runs", () => ground.trace("log").length === 1);
  expect(await running()).toBe(1);
  ground.configure({ limits: { agents: 4 } });
  await until("four run", () => ground.trace("log").length === 4);
  expect(await running()).toBe(4);
  ground.configure({ limits: { agents: 2 } });
  await until("the engine knows", async () => (await repo.call("engine_info", {}))["limitAgents"] === 2);
  // Nobody is ended for it; two that end make no room.
  for (const id of ["t0", "t1"]) repo.write(`../traces/${id}`, "");
  await until("two have ended", async () => (await running()) === 2);
  for (const id of ["t2"]) repo.write(`../traces/${id}`, "");
  await until("a third has ended and one took its place", () => ground.trace("log").includes("+ t4"));
  expect(ground.trace("log")).not.toContain("+ t5");
  repo.write("../traces/all", "");
  expect(await repo.settled("limits")).toBe("succeeded");
});

test("P3: all crash: the plan has failed, each with its own words, and their siblings were not touched", async () => {
  await repo.submit("crash", [
    { id: "code", prompt: "echo words >&2; exit 3" },
    { id: "signal", prompt: "kill -SEGV $$", retries: 0 },
    { id: "missing", prompt: "no-such-program" },
    { id: "after", prompt: "true", dependsOn: ["code"] },
  ]);
  expect(await repo.settled("crash")).toBe("failed");
  expect(await repo.states("crash")).toEqual({
    code: "failed",
    signal: "failed",
    missing: "failed",
    after: "blocked",
  });
});

test("B6 T6: an agent that prints 200 MB beside others harms neither them nor the engine", async () => {
  await repo.submit("flood", [
    { id: "flood", prompt: "head -c 200000000 /dev/zero | tr '\\0' 'x' | fold -w 200; echo; echo the end" },
    { id: "long-line", prompt: "head -c 20000000 /dev/zero | tr '\\0' 'y'; echo; echo the end" },
    ...["a", "b", "c"].map((id) => ({ id, prompt: noted(id, `echo ${id} > ${id}.txt`) })),
  ]);
  expect(await repo.settled("flood")).toBe("succeeded");
  for (const id of ["flood", "long-line"]) {
    const { task } = await repo.status({ task: `flood/${id}`, include: ["output"] });
    expect(task?.output?.slice(-7)).toBe("the end");
    const { turns } = await repo.call("read_log", { task: `flood/${id}`, turns: true, limit: 1000 });
    const texts = (turns as { text: string }[]).map(({ text }) => text);
    expect(texts.at(-2)).toBe("the end");
    expect(texts.some((text) => text.includes("left out"))).toBe(true);
  }
  // What it said is kept in part: its beginning and its end.
  for (const file of ["state.db", "state.db-wal"]) {
    expect(statSync(join(repo.stateDir, file)).size).toBeLessThan(16_000_000);
  }
});

test("output and names with NUL, ANSI and bytes that are no text come through as text and break nothing", async () => {
  const prompt = [
    `printf 'a\\000b \\033[31mred\\033[0m \\377\\376 end\\n'`,
    `printf '\\033]0;title\\007\\033[2J' >&2`,
    `printf x > "$(printf 'bad\\377name')"`,
    `printf x > "$(printf 'esc\\033[31mname')"`,
    `printf x > "$(printf 'new\\nline')"`,
    `printf x > ' -rf'`,
  ].join("\n");
  await repo.submit("odd", [{ id: "odd", title: "Title \u001b[31m with\ttab", prompt, writes: ["**"] }]);
  expect(await repo.settled("odd")).toBe("succeeded");
  const detail = await repo.task("odd/odd", ["output", "diff", "history"]);
  expect(detail.output).toMatch(/^a.*b .*red.* end/);
  expect(detail.diff).toContain("diff --git");
  expect(repo.git("ls-tree", "-z", "--name-only", "main").split("\0").filter(Boolean).length).toBe(5);
  expect(repo.git("status", "--porcelain")).toBe("");
  // eslint-disable-next-line no-control-regex -- what must not be there
  expect(repo.log()).not.toMatch(/[\u0000-\u0008\u001b]/);
});

test("a prompt of a megabyte reaches its agent whole", async () => {
  const head = `wc -c < "$0" > size.txt; exit 0\n#`;
  const prompt = head + "ü".repeat(1_048_576 - head.length);
  await repo.submit("large", [{ id: "large", prompt }]);
  expect(await repo.settled("large")).toBe("succeeded");
  expect(Number(repo.read("size.txt"))).toBe(Buffer.byteLength(prompt) + 1);
  expect((await repo.task("large/large")).prompt.length).toBeLessThan(3000);
  const tooLong = [{ id: "a", agent: "command", prompt: `${prompt}x` }];
  expect((await repo.refusal("create_plan", { tasks: tooLong })).code).toBe("PLAN_INVALID");
});

test("sixty tasks in layers end, each merged once", async () => {
  const tasks = Array.from({ length: 60 }, (_, index) => ({
    id: `t${index}`,
    prompt: `echo ${index} > ${index}.txt`,
    writes: [`${index}.txt`],
    dependsOn: index < 20 ? [] : [`t${index - 20}`],
  }));
  await repo.submit("wide", tasks, { maxConcurrent: 8 });
  expect(await repo.settled("wide", 170_000)).toBe("succeeded");
  expect(Object.values(repo.merges())).toEqual(tasks.map(() => 1));
  expect(repo.git("status", "--porcelain")).toBe("");
});
