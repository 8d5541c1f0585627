/**
 * R1, R2: the table of DESIGN section 5 through the engine, with kill -9 in between. The agents' far end is scripted
 * (`fake-claude.mjs`); what it prints at its end is what the real CLI printed for each failure.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { Ground, type Fields, type Repo } from "./engine-support.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
afterEach(() => ground.leave());

const FAR_MS = 4 * 3_600_000;

const TRANSIENT = { result: "API Error: 500 Internal server error", api_error_status: 500 };
const AUTH = { result: "Not logged in · Please run /login", api_error_status: 401 };
const OVERFLOW = { result: "Prompt is too long", terminal_reason: "prompt_too_long", api_error_status: 400 };
const MAX_TURNS = {
  subtype: "error_max_turns",
  terminal_reason: "max_turns",
  errors: ["Reached maximum number of turns"],
};
/** No reset is told. */
const USED_UP = { result: "You've reached your usage limit", api_error: "usage_limit_reached", api_error_status: 429 };

/** To the minute, in the words of the CLI. */
function usedUpUntil(atMs: number): Fields {
  return { result: `Claude AI usage limit reached|${Math.floor(atMs / 1000)}`, api_error_status: 429 };
}

/** A stand-in for each provider, with a home of its own. */
function begin<Name extends string>(names: readonly Name[], config: Fields = {}): Record<Name, StandInClaude> {
  ground = new Ground();
  repo = ground.main;
  const homes = names.map((name) => [name, join(ground.folder, `home of ${name}`)] as const);
  const providers = homes.map(([name, home]) => {
    mkdirSync(home);
    return [name, { kind: "claude", command: StandInClaude.program, env: { HOME: home } }] as const;
  });
  const provider = names.length === 1 ? names[0] : names;
  ground.configure({
    providers: Object.fromEntries(providers),
    ...config,
    agents: { coder: { provider }, ...(config["agents"] as Fields | undefined) },
  });
  return Object.fromEntries(homes.map(([name, home]) => [name, new StandInClaude(home)])) as Record<
    Name,
    StandInClaude
  >;
}

const task = (id: string, more: Fields = {}): Fields & { id: string; prompt: string } => ({
  id,
  prompt: `PROMPT-${id}`,
  agent: "coder",
  writes: [id],
  ...more,
});

async function whyOf(
  name: string,
): Promise<{ code: string | null; until: string | null; message: string; command: string | null }> {
  const { why } = await repo.task(name, ["why"]);
  if (why === undefined) throw new Error(`${name} has no why`);
  return why;
}

test("R1: a back-off's next time outlives kill -9: not begun anew, not retried early, the same session, one retry", async () => {
  const { one } = begin(["one"], { retry: { baseMs: 6_000, maxMs: 6_000 } });
  one.end(1, TRANSIENT);
  await repo.submit("p", [task("a")]);
  await until("the first attempt has failed", async () => (await repo.task("p/a")).spent.retries === 1);
  const before = await repo.task("p/a", ["why"]);
  await repo.killEngine();
  expect(await repo.settled("p")).toBe("succeeded");
  const { attempts, spent } = await repo.task("p/a");
  expect(attempts).toMatchObject([{ outcome: "failed", cause: "transient" }, { outcome: "succeeded" }]);
  expect(spent).toMatchObject({ attempts: 2, retries: 1, waits: 0, continuations: 0 });
  // It may have begun again before we looked: then there was nothing to wait for any more.
  if (before.why?.until != null)
    expect(Date.parse(attempts[1]?.startedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(before.why.until));
  const [first, second] = one.turns();
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId });
});

test("R1: parked until a reset hours ahead: the same after kill -9, no retry spent, and the engine stays for it", async () => {
  const { one } = begin(["one"], { engine: { idleExitSeconds: 1 } });
  const resetMs = Math.floor((Date.now() + FAR_MS) / 1000) * 1000;
  one.end(1, usedUpUntil(resetMs));
  await repo.submit("p", [task("a"), task("b", { dependsOn: ["a"] })]);
  const asParked = { code: "usage-limit", until: new Date(resetMs).toISOString(), command: "orchestrator retry p/a" };
  await until("it is parked", async () => (await whyOf("p/a")).code === "usage-limit");
  expect(await whyOf("p/a")).toMatchObject(asParked);
  // Whoever only looks at the list is told until when as well.
  const note = `usage-limit until ${asParked.until}: Claude AI usage limit reached`;
  expect((await repo.plan("p")).tasks[0]?.note).toContain(note);
  await repo.killEngine();
  expect(await whyOf("p/a")).toMatchObject(asParked);
  expect((await repo.task("p/a")).spent).toMatchObject({ retries: 0, waits: 1 });
  const enginePid = repo.enginePid();
  // Another engine, which nothing but a person can move, leaves: this one began to be alone before it.
  repo.closeClients();
  const other = ground.repository("other");
  await other.submit("q", [{ id: "manual", prompt: "touch x", merge: "manual" }]);
  expect(await other.settled("q")).toBe("needs-person");
  const otherPid = other.enginePid();
  other.closeClients();
  await until("the engine without a timer has left", () => !isAlive(otherPid));
  expect(isAlive(enginePid)).toBe(true);
  expect(one.turns()).toHaveLength(1);
  // A person who knows better has it asked at once; what was asked goes on in the same session.
  await repo.control("retry", { task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
  expect(one.turns()[1]).toMatchObject({ resumed: true, sessionId: one.turns()[0]?.sessionId });
});

test("R1: without a reset's time the parking and its count outlive kill -9, for all that ran together one parking", async () => {
  const { one } = begin(["one"]);
  for (const number of [1, 2, 3]) one.end(number, USED_UP);
  await repo.submit("p", [task("a"), task("b"), task("c")]);
  await until("all are parked", async () => {
    const states = await repo.states("p");
    return Object.values(states).every((state) => state.startsWith("waiting"));
  });
  const parked = async (): Promise<unknown> => (await repo.call("engine_info", {}))["providers"];
  const before = await parked();
  expect(before).toMatchObject([
    { name: "one", state: "usage-limit", command: expect.stringMatching(/^orchestrator retry p/) },
  ]);
  const [{ until: untilText }] = before as [{ until: string }];
  // The first wait of the list, 5 minutes, not the third.
  expect(Date.parse(untilText) - Date.now()).toBeLessThan(5 * 60_000 + 1);
  await repo.killEngine();
  expect(await parked()).toEqual(before);
  expect(one.turns()).toHaveLength(3);
});

test("R2: a refused key opens the circuit at once, for tasks that had not begun too; kept over kill -9, told with what clears it", async () => {
  const { one } = begin(["one"], { retry: { circuit: { openSeconds: 3600 } } });
  one.end(1, AUTH);
  await repo.submit("p", [task("a"), task("b", { dependsOn: ["a"] }), task("c")], { maxConcurrent: 1 });
  await repo.untilState("p/a", "waiting:auth");
  await until("the circuit is told", async () => (await whyOf("p/c")).code === "circuit-open");
  const before = await whyOf("p/c");
  expect(before).toMatchObject({
    command: "orchestrator retry p/c",
    message: expect.stringContaining("Not logged in"),
  });
  await repo.killEngine();
  expect(await whyOf("p/c")).toEqual(before);
  expect(one.turns()).toHaveLength(1);
  // The probe is let through at once, and its success closes the circuit.
  await repo.control("retry", { task: "p/c" });
  await repo.untilState("p/c", "succeeded");
  await repo.control("retry", { task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
});

test("R2: failures in a row of several tasks open it, one probe is let through, and its success closes it", async () => {
  const { one } = begin(["one"], {
    retry: { baseMs: 1, maxMs: 1, circuit: { failures: 2, openSeconds: 1 } },
  });
  one.end(1, TRANSIENT);
  one.end(2, TRANSIENT);
  one.hold(3);
  await repo.submit("p", [task("a"), task("b"), task("c", { dependsOn: ["a"] })], { maxConcurrent: 2 });
  await until("the probe has begun", () => one.hasBegun(3));
  // Both have come back from their back-off: the other waits for what the probe finds out.
  await until("the other waits", async () => {
    const codes = await Promise.all(["p/a", "p/b"].map(async (name) => (await whyOf(name)).code));
    return codes.includes("circuit-open");
  });
  expect(one.turns()).toHaveLength(3);
  one.letGo(3);
  expect(await repo.settled("p")).toBe("succeeded");
  expect(await repo.call("engine_info", {})).toMatchObject({ providers: [{ name: "one", state: "healthy" }] });
});

test("context-overflow: one fresh session with a hand-over note; a second ends it. turn-limit: the session goes on, so often", async () => {
  const { one } = begin(["one"], { agents: { maxContinuations: 2 } });
  one.end(1, OVERFLOW);
  one.end(2, OVERFLOW);
  await repo.submit("p", [task("a")]);
  expect(await repo.settled("p")).toBe("failed");
  const [first, second] = one.turns();
  expect(one.turns()).toHaveLength(2);
  expect(second).toMatchObject({ resumed: false });
  expect(second?.sessionId).not.toBe(first?.sessionId);
  expect(second?.prompt).toContain("An earlier session worked on this task already");
  expect((await repo.task("p/a")).spent).toMatchObject({ retries: 0, freshSessions: 1 });
  for (const number of [3, 4, 5]) one.end(number, MAX_TURNS);
  await repo.submit("q", [task("b")]);
  expect(await repo.settled("q")).toBe("failed");
  const continued = one.turns().slice(2);
  expect(continued.map(({ resumed }) => resumed)).toEqual([false, true, true]);
  expect(new Set(continued.map(({ sessionId }) => sessionId)).size).toBe(1);
  expect((await repo.task("q/b")).spent).toMatchObject({ retries: 0, continuations: 2 });
});

test("chain: who went to the second provider is with it after kill -9 in the middle of its turn, in its session there", async () => {
  const { one, two } = begin(["one", "two"]);
  const resetMs = Date.now() + FAR_MS;
  one.script(1, "echo kept > half");
  one.end(1, usedUpUntil(resetMs));
  two.hold(1);
  await repo.submit("p", [task("a", { writes: ["half", "whole"] })]);
  await until("the second works on it", () => two.hasBegun(1));
  const why = await whyOf("p/a");
  expect(why.message).toContain("goes to two: one has used up its account's limit");
  // Killed before its CLI has told of it, a session may never have been there, and is not gone on with.
  await until("its session is known", async () => (await repo.task("p/a")).attempts.at(-1)?.session != null);
  await repo.killEngine();
  two.script(2, "cat half > whole");
  expect(await repo.settled("p")).toBe("succeeded");
  expect(one.turns()).toHaveLength(1);
  const [first, second] = two.turns();
  expect(first).toMatchObject({ resumed: false, cwd: one.turns()[0]?.cwd });
  expect(first?.prompt).toContain("PROMPT-a");
  expect(first?.prompt).toContain("An earlier session worked on this task already");
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId });
  const { attempts, spent } = await repo.task("p/a");
  expect(attempts.map(({ provider, cause }) => [provider, cause])).toEqual([
    ["one", "usage-limit"],
    ["two", "engine-crash"],
    ["two", null],
  ]);
  expect(spent).toMatchObject({ retries: 0, waits: 1, continuations: 1 });
  expect(repo.git("show", "main:whole")).toBe("kept");
  expect(repo.merges()).toEqual({ a: 1 });
});

/** How the turns of each provider end: the first one's is bad at the decomposition, or in the middle of a question. */
test.each([
  [
    "used up at the goal",
    (tasks: Fields, answers: Fields) => ({ one: [usedUpUntil(Date.now() + FAR_MS)], two: [tasks, answers] }),
  ],
  ["without a key at the goal", (tasks: Fields, answers: Fields) => ({ one: [AUTH], two: [tasks, answers] })],
  ["used up at the question", (tasks: Fields, answers: Fields) => ({ one: [tasks, USED_UP], two: [answers] })],
])("chain: the second decomposes the goal and answers questions where the first is %s", async (_, endsOf) => {
  begin(["one", "two"], {
    agents: { orchestrator: { provider: ["one", "two"] } },
    questions: { route: ["orchestrator"] },
    retry: { circuit: { openSeconds: 3600 } },
  });
  const prompt = 'orchestrator ask "Which?" > told';
  const asks = { id: "asks", title: "Asks", agent: "command", prompt, writes: ["told"] };
  const answers = [{ id: "q1", answer: "BLUE", why: "the goal says so" }];
  const ends = endsOf({ structured_output: { tasks: [asks] } }, { structured_output: { answers } });
  for (const [name, turns] of Object.entries(ends)) {
    turns.forEach((fields, index) => {
      const text = JSON.stringify({ ...("result" in fields ? { is_error: true } : {}), ...fields });
      writeFileSync(join(ground.folder, `home of ${name}`, `answer-${index + 1}.json`), text);
    });
  }
  const { plan } = await repo.call("create_plan", { goal: "Ask", name: "g", start: true });
  expect(await repo.settled(String(plan))).toBe("succeeded");
  expect(repo.git("show", "main:told")).toContain("BLUE");
});

test("chain: a dry run tells it and what is shut; a name that is unknown, twice there, or an empty list is refused with its place", async () => {
  const { one } = begin(["one", "two"]);
  one.end(1, usedUpUntil(Date.now() + FAR_MS));
  await repo.submit("p", [task("a")]);
  expect(await repo.settled("p")).toBe("succeeded");
  const told = await repo.call("create_plan", { dryRun: true, tasks: [task("b")] });
  expect(told).toMatchObject({ tasks: [{ provider: "one", otherProviders: ["two"] }] });
  expect(JSON.stringify(told["warnings"])).toContain("provider one has used up its account's limit (until ");
  for (const [list, words] of [
    [["claude", "nobody"], /config\.json:1:\d+.*agents\.coder\.provider\[1\]: there is no provider "nobody"/],
    [["claude", "codex", "claude"], /config\.json:1:\d+.*"claude" stands twice in the list/],
    [[], /config\.json:1:\d+.*agents\.coder\.provider/],
    [["claude", "command"], /the list mixes kinds \(claude, command\)/],
  ] as const) {
    ground.configure({ agents: { coder: { provider: list } } });
    const refusal = await repo.refusal("create_plan", { dryRun: true, tasks: [task("b")] });
    expect(refusal.message).toMatch(words);
  }
});
