/**
 * P4: real CLIs that wait without a word for what never comes, each in the way it is known to do, and such that are only
 * slow. Limits are a few seconds here; nothing else differs from what a user has.
 */
import { afterEach, describe, expect, test } from "vitest";
import { acts, CLI_NAMES, type CliName, type ModelAct } from "./support/models.ts";
import { World } from "./support/world.ts";

/** 9 s. */
const STALL_MINUTES = 0.15;

let world: World;

afterEach(async () => {
  await world.leave();
});

async function start(cli: CliName, stallMinutes = STALL_MINUTES): Promise<string> {
  world = await World.open({ clis: [cli], config: { agents: { stallMinutes, killGraceSeconds: 2 } } });
  return `hung/${cli}`;
}

async function submit(cli: CliName, more: object = {}): Promise<void> {
  const task = { id: cli, agent: `coder-${cli}`, prompt: `PROMPT-FOR-${cli}`, writes: ["*.txt"], ...more };
  // The other tests' Goose is told not to wait between its tries; here it does what it is told by the endpoint.
  const environment = world.environment(["GOOSE_PROVIDER_SKIP_BACKOFF"]);
  await world.call("create_plan", { name: "hung", tasks: [task] }, environment);
}

async function notes(task: string): Promise<string[]> {
  const { events } = await world.call<{ events: { body: { type: string; message?: string } }[] }>("read_log", {
    task,
    limit: 1000,
  });
  return events.flatMap(({ body }) => (body.type === "attempt-note" ? [body.message ?? ""] : []));
}

const WAIT_TWO_HOURS = { status: 429, message: "slow down", headers: { "retry-after": "7200" } };
const HANGS: readonly (readonly [CliName, string, ModelAct])[] = [
  ["codex", "gets no headers", { hang: "headers" }],
  ["codex", "gets a stream that falls silent", { hang: "stream" }],
  ["claude", "gets no headers", { hang: "headers" }],
  ["claude", "gets a stream that falls silent", { hang: "stream" }],
  ["goose", "gets no headers", { hang: "headers" }],
  ["goose", "gets a stream that falls silent", { hang: "stream" }],
  ["goose", "is told to come back in two hours", WAIT_TWO_HOURS],
];

describe.each(HANGS)("P4: %s that %s", (cli, _how, act) => {
  test("is told of, ended as stalled, and goes on in its session when the endpoint is well again", async () => {
    const task = await start(cli);
    const write: ModelAct = { write: `${cli}.txt`, content: `by ${cli}\n` };
    world.model(cli).setScript((turn) => {
      if (!/cut off/.test(turn.prompt)) return turn.results.length === 0 ? write : act;
      expect(turn.everything).toContain(`PROMPT-FOR-${cli}`);
      return { say: "done" };
    });
    await submit(cli);
    expect((await world.untilSettled("hung")).state).toBe("succeeded");
    const { attempts } = await world.task(task);
    expect(attempts.map(({ outcome, cause }) => [outcome, cause])).toEqual([
      ["failed", "stalled"],
      ["succeeded", null],
    ]);
    expect(new Set(attempts.map((attempt) => attempt.session)).size).toBe(1);
    expect(new Set(world.model(cli).turns.map((turn) => turn.conversation)).size).toBe(1);
    expect(world.model(cli).errors).toEqual([]);
    // That its start takes the processor may be told too.
    const told = (await notes(task)).filter((note) => note.startsWith("show"));
    expect(told).toEqual([
      expect.stringMatching(/^shows no sign of life for \d+ seconds/),
      expect.stringMatching(/^showed no sign of life for \d+ seconds and is ended \(agents.stallMinutes\)/),
    ]);
    const { stdout } = await world.orchestrator(["logs", task]);
    expect(stdout).toContain("shows no sign of life");
    expect(world.git("show", `main:${cli}.txt`)).toBe(`by ${cli}`);
  });
});

const DEADLINES: readonly (readonly [CliName, string, ModelAct])[] = [
  ["codex", "gets no headers", { hang: "headers" }],
  ["claude", "gets a stream that falls silent", { hang: "stream" }],
  ["goose", "is told to come back in two hours", WAIT_TWO_HOURS],
];

test.each(DEADLINES)("P4: %s that %s is ended by its task's own deadline, its work kept", async (cli, _how, act) => {
  const task = await start(cli, 30);
  world.model(cli).setScript(acts({ write: `${cli}.txt`, content: `by ${cli}\n` }, act));
  await submit(cli, { timeoutMinutes: 0.3 });
  expect((await world.untilSettled("hung")).state).toBe("failed");
  const { attempts, why } = await world.task(task);
  expect(attempts.map(({ outcome, cause }) => [outcome, cause])).toEqual([["failed", "timed-out"]]);
  expect(why?.message).toMatch(/deadline/);
  expect(world.git("show", `orchestrator/hung/${cli}:${cli}.txt`)).toBe(`by ${cli}`);
  expect(world.processes().filter((line) => !/engine-main|guard-main/.test(line))).toEqual([]);
});

describe.each(CLI_NAMES)("P4: %s that is only slow is left alone", (cli) => {
  test("while a test run of its shell computes without a word", async () => {
    const task = await start(cli);
    const compute = `timeout ${2.5 * STALL_MINUTES * 60} sh -c 'while :; do :; done'; echo computed`;
    world.model(cli).setScript(acts({ shell: compute }, { write: `${cli}.txt`, content: "x\n" }, { say: "done" }));
    await submit(cli);
    expect((await world.untilSettled("hung")).state).toBe("succeeded");
    expect((await world.task(task)).attempts.map(({ cause }) => cause)).toEqual([null]);
    expect(world.model(cli).turns.at(-1)?.results[0]).toContain("computed");
  });

  test("while its shell sleeps, for up to twice the time of a silent model", async () => {
    const task = await start(cli);
    world.model(cli).setScript(acts({ shell: `sleep ${1.4 * STALL_MINUTES * 60}; echo slept` }, { say: "done" }));
    await submit(cli);
    expect((await world.untilSettled("hung")).state).toBe("succeeded");
    expect((await world.task(task)).attempts.map(({ cause }) => cause)).toEqual([null]);
    expect(world.model(cli).turns.at(-1)?.results[0]).toContain("slept");
    expect((await notes(task)).at(-1)).toMatch(/; it waits for its tool \w+$/);
  });

  test("but a command that never ends is no excuse for ever", async () => {
    const task = await start(cli);
    world.model(cli).setScript((turn) => (/cut off/.test(turn.prompt) ? { say: "done" } : { shell: "sleep infinity" }));
    await submit(cli);
    expect((await world.untilSettled("hung")).state).toBe("succeeded");
    expect((await world.task(task)).attempts.map(({ cause }) => cause)).toEqual(["stalled", null]);
    expect(world.processes().filter((line) => line.includes("infinity"))).toEqual([]);
  });
});

test("P4: a claude whose model says a word now and then is at work", async () => {
  const task = await start("claude");
  const words = "one two three four five six seven eight nine ten ";
  world.model("claude").setScript(() => ({ say: words, overMs: 2.5 * STALL_MINUTES * 60_000 }));
  await submit("claude");
  expect((await world.untilSettled("hung")).state).toBe("succeeded");
  expect((await world.task(task)).attempts.map(({ cause }) => cause)).toEqual([null]);
  expect(await notes(task)).toEqual([]);
});
