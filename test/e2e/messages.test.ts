/**
 * What is said to agents, through the built program: whatever state a task is in, what was said reaches its agent, once
 * for each request, and the answer says where and when. The agent's far end is scripted (`fake-claude.mjs`); the same
 * with the real CLIs is in `test/clis/messages.test.ts`.
 */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { DIST, Ground, type Fields, type Repo } from "./engine-support.ts";
import { runCli } from "./run-cli.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
let claude: StandInClaude;

beforeEach(() => {
  ground = new Ground({ providers: StandInClaude.providers });
  repo = ground.main;
  claude = new StandInClaude(ground.home);
});

afterEach(async () => {
  await ground.leave();
});

async function begun(number: number): Promise<void> {
  await until(
    `turn ${number} runs`,
    () => claude.hasBegun(number),
    () => repo.log(),
  );
}

async function submit(more: Fields = {}, others: readonly Fields[] = []): Promise<void> {
  const first = { id: "a", title: "Alpha", prompt: "PROMPT-A", agent: "coder", writes: ["*.txt"], ...more };
  await repo.submit("p", [first, ...(others as { id: string }[])]);
}

async function tell(task: string, prompt: string, more: Fields = {}): Promise<{ summary: string; task: string }> {
  const answer = await repo.call("spawn_agent", { task, prompt, ...more });
  return { summary: String(answer["summary"]), task: String(answer["task"]) };
}

test("S4: a task that is done is not run again; its agent goes on in a new one, in its folder, also after a restart", async () => {
  claude.script(1, "echo one > a.txt");
  claude.script(2, "test -e a.txt && echo two >> a.txt");
  claude.script(3, "echo three >> a.txt");
  await submit();
  expect(await repo.settled("p")).toBe("succeeded");

  const told = await tell("p/a", "MORE-OF-IT");
  expect(told.task).toBe("p/a-2");
  expect(told.summary).toContain("p/a has succeeded and is not run again: p/a-2 continues");
  expect(await repo.settled("p")).toBe("succeeded");
  const [first, second] = claude.turns();
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId, cwd: first?.cwd });
  expect(second?.prompt).toMatch(/"Alpha" was merged into main[^]*orchestrator\/p\/a-2[^]*MORE-OF-IT/);
  expect(second?.prompt).not.toContain("PROMPT-A");
  expect(repo.read("a.txt")).toBe("one\ntwo\n");

  // Neither the engine nor the plan is there any more.
  await repo.killEngine();
  repo.closeClients();
  const third = await tell("p/a", "AND-MORE");
  expect(third.task).toBe("p/a-3");
  expect(await repo.settled("p")).toBe("succeeded");
  expect(claude.turns()[2]).toMatchObject({ resumed: true, sessionId: first?.sessionId, cwd: first?.cwd });
  expect(claude.turns()[2]?.prompt).toContain("AND-MORE");
  expect(repo.read("a.txt")).toBe("one\ntwo\nthree\n");
  expect(repo.merges()).toEqual({ a: 1, "a-2": 1, "a-3": 1 });
  expect((await repo.task("p/a-3")).dependsOn).toEqual(["a-2"]);
  await until("worktrees and branches are given back", () => repo.git("branch", "--list", "orchestrator/*") === "");
  expect(claude.turns()).toHaveLength(3);
});

test("what is said while the last of a chain is at work goes to that one", async () => {
  claude.script(1, "echo one > a.txt");
  claude.hold(2, "echo two >> a.txt");
  await submit();
  expect(await repo.settled("p")).toBe("succeeded");
  await tell("p/a", "SECOND");
  await begun(2);
  const told = await tell("p/a", "WHILE-IT-WORKS");
  expect(told.task).toBe("p/a-2");
  expect(told.summary).toContain("is at work");
  claude.letGo(2);
  expect(await repo.settled("p")).toBe("succeeded");
  const all = claude
    .turns()
    .map(({ prompt }) => prompt)
    .join("\n");
  const late = claude.heardLate();
  expect(all + late).toContain("WHILE-IT-WORKS");
  expect(Object.keys(await repo.states("p")).toSorted()).toEqual(["a", "a-2"]);
});

test("a task that failed or was cancelled is opened again, and its agent hears why", async () => {
  claude.script(1, "exit 1");
  claude.hold(2);
  await submit({ retries: 0 });
  expect(await repo.settled("p")).toBe("failed");
  const told = await tell("a", "TRY-IT-SO");
  expect(told).toMatchObject({ task: "p/a" });
  expect(told.summary).toContain("opened again");
  await begun(2);
  expect(claude.turns()[1]?.prompt).toContain("TRY-IT-SO");
  expect(claude.turns()[1]?.resumed).toBe(true);
  await repo.control("cancel", { task: "p/a" });
  await repo.untilState("p/a", "cancelled");
  await tell("p/a", "GO-ON-THEN");
  expect(await repo.settled("p")).toBe("succeeded");
  // The turn that was cut off told nothing for sure.
  expect(claude.turns()[2]?.prompt).toMatch(/TRY-IT-SO[^]*GO-ON-THEN/);
});

test("what waits for a person to merge it is called back, and waits for that person again afterwards", async () => {
  claude.script(1, "echo one > a.txt");
  claude.script(2, "echo two >> a.txt");
  await submit({ merge: "manual" });
  await repo.untilState("p/a", "waiting:manual-merge");
  const told = await tell("p/a", "NOT-GOOD-ENOUGH");
  expect(told.summary).toContain("its agent is told first");
  await until("the agent was told", () => claude.turns().length === 2);
  await repo.untilState("p/a", "waiting:manual-merge");
  expect(claude.turns()[1]?.prompt).toContain("NOT-GOOD-ENOUGH");
  await repo.control("merge", { task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
  expect(repo.read("a.txt")).toBe("one\ntwo\n");
  expect(claude.turns()).toHaveLength(2);
});

test("a task that waits keeps waiting; what was said is in its next turn, and in the first prompt of one that never began", async () => {
  claude.hold(1);
  await submit({}, [{ id: "b", prompt: "PROMPT-B", agent: "coder", dependsOn: ["a"] }]);
  await begun(1);
  const waiting = await tell("p/b", "FOR-LATER");
  expect(waiting.summary).toMatch(/Kept for the first prompt of p\/b, which is pending: waits for p\/a/);
  await repo.control("pause", { task: "p/a" });
  await repo.untilState("p/a", "waiting:paused");
  const paused = await tell("p/a", "AFTER-THE-PAUSE");
  expect(paused.summary).toContain("orchestrator resume p/a");
  expect(await repo.states("p")).toMatchObject({ a: "waiting:paused" });
  await repo.control("resume", { task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
  const prompts = claude.turns().map(({ prompt }) => prompt);
  expect(prompts[1]).toContain("AFTER-THE-PAUSE");
  expect(prompts[2]).toMatch(/PROMPT-B[^]*FOR-LATER/);
});

test("one request tells once, however often it is sent; another with its key is refused", async () => {
  claude.script(1, "echo one > a.txt");
  claude.hold(2);
  await submit();
  expect(await repo.settled("p")).toBe("succeeded");
  const answers = await Promise.all([1, 2, 3].map(async () => await tell("p/a", "ONCE", { key: "k1" })));
  expect(new Set(answers.map((answer) => answer.task))).toEqual(new Set(["p/a-2"]));
  expect((await repo.refusal("spawn_agent", { task: "p/a", prompt: "OTHER", key: "k1" })).code).toBe(
    "REQUEST_KEY_REUSED",
  );
  await begun(2);
  for (let time = 0; time < 3; time += 1) await tell("p/a", "TWICE-SENT", { key: "k2" });
  claude.letGo(2);
  expect(await repo.settled("p")).toBe("succeeded");
  const late = claude.heardLate();
  const heard = `${claude
    .turns()
    .map(({ prompt }) => prompt)
    .join("\n")}\n${late}`;
  expect(heard.split("TWICE-SENT")).toHaveLength(2);
  expect(Object.keys(await repo.states("p")).toSorted()).toEqual(["a", "a-2"]);
});

test("what can't be told is refused before anything happens, with what to do instead", async () => {
  claude.hold(1);
  await submit({}, [{ id: "c", prompt: "true", agent: "command" }]);
  await begun(1);
  expect(await repo.refusal("spawn_agent", { task: "p/c", prompt: "hear" })).toMatchObject({ code: "NOT_SUPPORTED" });
  const extra = await repo.refusal("spawn_agent", { task: "p/a", prompt: "x", dependsOn: ["c"] });
  expect(extra).toMatchObject({ code: "INPUT_INVALID" });
  expect(extra.message).toContain("`dependsOn`");
  expect((await repo.refusal("spawn_agent", { task: "p/nobody", prompt: "x" })).code).toBe("TASK_NOT_FOUND");
  expect((await repo.refusal("spawn_agent", { task: "p/a", prompt: "  " })).code).toBe("INPUT_INVALID");
  claude.letGo(1);
  expect(await repo.settled("p")).toBe("succeeded");
  expect(claude.turns()).toHaveLength(1);
});

test("`orchestrator tell` says it from the command line and from standard input", async () => {
  claude.hold(1);
  await submit();
  await begun(1);
  const told = await runCli(repo, ["tell", "p/a", "BY-HAND"]);
  expect(told).toMatchObject({ code: 0 });
  expect(told.stdout).toContain("The agent of p/a is at work");
  const piped = await runCli(repo, ["tell", "a", "-", "--json"], { stdin: "PIPED\nOVER TWO LINES" });
  expect(JSON.parse(piped.stdout)).toMatchObject({ task: "p/a", plan: "p" });
  expect((await runCli(repo, ["tell", "p/nobody", "x"])).code).toBe(2);
  expect((await runCli(repo, ["tell", "p/a"])).code).toBe(2);
  claude.letGo(1);
  expect(await repo.settled("p")).toBe("succeeded");
  const late = claude.heardLate();
  const heard = `${claude
    .turns()
    .map(({ prompt }) => prompt)
    .join("\n")}\n${late.replaceAll("\\n", "\n")}`;
  expect(heard).toContain("BY-HAND");
  expect(heard).toContain("PIPED\nOVER TWO LINES");
  expect((await runCli(repo, ["logs", "p/a"])).stdout).toContain("the operator says: BY-HAND");
});

test("S2: each turn's prompts, answers and use are read back after a restart, in order, page by page", async () => {
  claude.script(1, "echo one > a.txt");
  await submit({ merge: "manual" });
  await repo.untilState("p/a", "waiting:manual-merge");
  const long = "0123456789".repeat(500);
  for (let number = 2; number < 8; number += 1) {
    await tell("p/a", `MESSAGE-${number} ${long}`);
    await until("its turn has ended", async () => (await repo.task("p/a")).attempts.length === number);
    await repo.untilState("p/a", "waiting:manual-merge");
  }
  await repo.killEngine();
  repo.closeClients();

  const { attempts, history } = await repo.task("p/a", ["history"]);
  expect(attempts.map(({ number, costUsd, tokens }) => [number, costUsd, tokens])).toEqual(
    [1, 2, 3, 4, 5, 6, 7].map((number) => [number, 1, { input: 0, output: 0, cached: 0 }]),
  );
  const texts: string[] = [];
  let page = history ?? [];
  for (let pages = 0; pages < 20; pages += 1) {
    texts.unshift(...page.filter(({ text }) => !text.startsWith("…")).map(({ text }) => text));
    const offset = /call again with offset: (\d+)$/.exec(page[0]?.text ?? "")?.[1];
    if (offset === undefined) break;
    const { task } = await repo.status({ task: "p/a", include: ["history"], offset: Number(offset) });
    page = task?.history ?? [];
  }
  expect(texts.filter((text) => text.startsWith("answer")).map((text) => Number(text.split(" ")[1]))).toEqual([
    1, 2, 3, 4, 5, 6, 7,
  ]);
  const cut = texts.filter((text) => text.includes("MESSAGE-"));
  expect(cut).toHaveLength(6);
  expect(cut[0]).toMatch(/… \(\d+ more characters: orchestrator logs p\/a --turns\)$/);

  const whole = await runCli(repo, ["logs", "p/a", "--turns"]);
  expect(whole.stdout).toContain(`MESSAGE-7 ${long}`);
  expect(whole.stdout.match(/^attempt \d \(claude\): succeeded, .*\$1\.00/gm)).toHaveLength(7);
  const rows = (await runCli(repo, ["logs", "p/a", "--turns", "--json"])).stdout.trim().split("\n");
  const read = rows.map((row) => JSON.parse(row) as { id: number; number: number; kind: string; text: string });
  expect(read.map(({ id }) => id)).toEqual(read.map(({ id }) => id).toSorted((left, right) => left - right));
  expect(read.filter(({ kind }) => kind === "prompt").map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7]);
});

test("DESIGN 9: plans, tasks, logs and diffs are resources of the MCP server", async () => {
  claude.script(1, "echo one > a.txt");
  await submit();
  expect(await repo.settled("p")).toBe("succeeded");
  const client = new Client({ name: "host", version: "1" }, { capabilities: {} });
  const args = [join(DIST, "engine", "pipe-main.cjs")];
  const env = Object.fromEntries(Object.entries(ground.environment).map(([name, value]) => [name, value ?? ""]));
  await client.connect(new StdioClientTransport({ command: process.execPath, args, cwd: repo.path, env }));
  try {
    const { resources } = await client.listResources();
    expect(resources.map(({ uri }) => uri)).toEqual(["orchestrator://plans/p"]);
    const read = async (uri: string): Promise<string> => {
      const { contents } = await client.readResource({ uri });
      return contents.map((content) => ("text" in content ? content.text : "")).join("");
    };
    expect(await read("orchestrator://plans/p")).toContain("p → main: succeeded");
    expect(await read("orchestrator://plans/p/log")).toContain("merge-ended");
    expect(await read("orchestrator://plans/p/tasks/a")).toContain("attempt 1 (claude): succeeded");
    expect(await read("orchestrator://plans/p/tasks/a/log")).toMatch(/PROMPT-A[^]*answer 1/);
    expect(await read("orchestrator://plans/p/tasks/a/diff")).toContain("+one");
    const { resourceTemplates } = await client.listResourceTemplates();
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toContain(
      "orchestrator://plans/{plan}/tasks/{task}/diff",
    );
    await expect(client.readResource({ uri: "orchestrator://plans/p/tasks/nobody" })).rejects.toThrow(/TASK_NOT_FOUND/);
  } finally {
    await client.close();
  }
});

test("what is said while the work is judged goes to who did it, and is judged again", async () => {
  const wait = 'echo x >> "$CHECKS"; touch "$BEGUN"; while ! [ -e "$GO" ]; do sleep 0.02; done';
  const places = {
    CHECKS: join(ground.home, "checks"),
    BEGUN: join(ground.home, "judging"),
    GO: join(ground.home, "judged"),
  };
  ground.configure({
    providers: { ...StandInClaude.providers, command: { kind: "command", env: places } },
    workflows: { judged: { steps: [{ agent: "coder" }, { agent: "command", prompt: wait }], maxRounds: 1 } },
  });
  claude.script(1, "echo one > a.txt");
  claude.script(2, "echo two >> a.txt");
  await submit({ workflow: "judged" });
  await until(
    "it is judged",
    () => existsSync(places.BEGUN),
    () => repo.log(),
  );
  const told = await tell("p/a", "ONE-MORE-THING");
  expect(told.summary).toContain("when this turn ends");
  writeFileSync(places.GO, "");
  expect(await repo.settled("p")).toBe("succeeded");
  expect(claude.turns()[1]).toMatchObject({ resumed: true, sessionId: claude.turns()[0]?.sessionId });
  expect(claude.turns()[1]?.prompt).toContain("ONE-MORE-THING");
  expect(claude.turns()).toHaveLength(2);
  expect(readFileSync(places.CHECKS, "utf8")).toBe("x\nx\n");
  expect(repo.read("a.txt")).toBe("one\ntwo\n");
});
