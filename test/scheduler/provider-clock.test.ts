/** R1: hours pass in a moment: the clock is given. Real git, SQLite and processes; the agents are stand-ins. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { systemClock, type Clock } from "../../src/clock.ts";
import { explainTask } from "../../src/plan/explain.ts";
import type { PlanSettings } from "../../src/scheduler/settings.ts";
import { ROLE, SETTINGS, World } from "./world.ts";

const MINUTE_MS = 60_000;
const USED_UP = { result: "You've reached your usage limit", api_error: "usage_limit_reached", api_error_status: 429 };

let world: World;
let aheadMs = 0;
/** Both hands go together, as when the time really passes. */
const clock: Clock = {
  nowMs: () => systemClock.nowMs() + aheadMs,
  monotonicMs: () => systemClock.monotonicMs() + aheadMs,
  schedule: (delayMs, callback) => systemClock.schedule(delayMs, callback),
};

beforeEach(() => {
  aheadMs = 0;
  world = new World();
});
afterEach(async () => {
  await world.destroy();
});

function standIns(...names: readonly string[]): { claudes: StandInClaude[]; settings: PlanSettings } {
  const homes = names.map((name) => join(world.folder, `home of ${name}`));
  for (const home of homes) mkdirSync(home);
  const providers = names.map((name, index) => [
    name,
    {
      name,
      kind: "claude" as const,
      command: StandInClaude.program,
      args: [],
      env: { HOME: homes[index] ?? "" },
      passEnv: [],
      limit: null,
    },
  ]);
  const [provider = "", ...otherProviders] = names;
  const chain = otherProviders.length === 0 ? {} : { otherProviders };
  const coder = { ...ROLE, name: "coder", provider, ...chain };
  return {
    claudes: homes.map((home) => new StandInClaude(home)),
    settings: {
      ...SETTINGS,
      roles: { ...SETTINGS.roles, coder },
      providers: { ...SETTINGS.providers, ...(Object.fromEntries(providers) as PlanSettings["providers"]) },
    },
  };
}

function passes(minutes: number): void {
  aheadMs += minutes * MINUTE_MS;
  world.scheduler.look();
}

test("R1: no reset told: one task probes after 5, 15, 30 and then each 60 minutes; a restart in between changes nothing", async () => {
  const { claudes, settings } = standIns("one");
  const [one] = claudes;
  if (one === undefined) throw new Error("no stand-in");
  for (let number = 1; number <= 7; number += 1) one.end(number, USED_UP);
  await world.start({ settings, clock, usageProbesMs: [5, 15, 30, 60].map((minutes) => minutes * MINUTE_MS) });
  world.submit("p", [
    { id: "a", agent: "coder", prompt: "A", writes: ["a"] },
    { id: "b", agent: "coder", prompt: "B", writes: ["b"] },
  ]);
  await world.until("both met the limit", () => one.turns().length === 2 && world.parts.board.runningCount === 0);
  let turns = 2;
  for (const [index, minutes] of [5, 15, 30, 60, 60].entries()) {
    const health = world.parts.board.provider("one");
    expect(health).toMatchObject({ parkings: index + 1, isResetUnknown: true });
    const leftMs = (health.parkedUntilMs ?? 0) - clock.nowMs();
    expect(leftMs).toBeGreaterThan((minutes - 1) * MINUTE_MS);
    expect(leftMs).toBeLessThanOrEqual(minutes * MINUTE_MS);
    if (minutes === 30) {
      await world.stop();
      await world.start({ settings, clock, usageProbesMs: [5, 15, 30, 60].map((each) => each * MINUTE_MS) });
      expect(world.parts.board.provider("one")).toEqual(health);
      expect(one.turns()).toHaveLength(turns);
    }
    passes(minutes);
    turns += 1;
    await world.until("one has probed", () => one.turns().length === turns && world.parts.board.runningCount === 0);
    expect(world.parts.board.provider("one").parkings).toBe(index + 2);
    expect(one.turns()).toHaveLength(turns);
  }
  // The account is full again: the probe succeeds, and the other follows at once.
  passes(60);
  expect(await world.settled("p")).toBe("succeeded");
  expect(one.turns()).toHaveLength(turns + 2);
  for (const id of ["a", "b"]) {
    expect(world.parts.board.node(`p/${id}`).record.ledger).toMatchObject({ retries: 0 });
  }
});

test("R1, R2: while the first is used up for hours new tasks go to the second, and to the first again after its reset", async () => {
  const { claudes, settings } = standIns("one", "two");
  const [one, two] = claudes;
  if (one === undefined || two === undefined) throw new Error("no stand-in");
  const resetMs = Math.floor((clock.nowMs() + 240 * MINUTE_MS) / 1000) * 1000;
  one.end(1, { result: `Claude AI usage limit reached|${resetMs / 1000}`, api_error_status: 429 });
  await world.start({ settings, clock });
  const coder = (id: string, prompt: string) => ({ id, agent: "coder", prompt, writes: [id] });
  world.submit("p", [coder("a", "A")]);
  expect(await world.settled("p")).toBe("succeeded");
  world.submit("q", [coder("b", "B")]);
  expect(await world.settled("q")).toBe("succeeded");
  expect([one.turns().length, two.turns().length]).toEqual([1, 2]);
  await world.stop();
  await world.start({ settings, clock });
  expect(world.parts.board.provider("one")).toMatchObject({ parkedUntilMs: resetMs });
  passes(239);
  world.submit("r", [coder("c", "C")]);
  expect(await world.settled("r")).toBe("succeeded");
  expect([one.turns().length, two.turns().length]).toEqual([1, 3]);
  passes(2);
  world.submit("s", [coder("d", "D")]);
  expect(await world.settled("s")).toBe("succeeded");
  expect([one.turns().length, two.turns().length]).toEqual([2, 3]);
});

test("R1: both used up: the task goes where the account is full again first, and says until when it waits", async () => {
  const { claudes, settings } = standIns("one", "two");
  const [one, two] = claudes;
  if (one === undefined || two === undefined) throw new Error("no stand-in");
  const inMinutes = (minutes: number): Record<string, unknown> => ({
    result: `Claude AI usage limit reached|${Math.floor(clock.nowMs() / 1000) + minutes * 60}`,
    api_error_status: 429,
  });
  one.end(1, inMinutes(300));
  two.end(1, inMinutes(120));
  await world.start({ settings, clock });
  world.submit("p", [{ id: "a", agent: "coder", prompt: "A", writes: ["a"] }]);
  await world.until("both met their limits", () => two.turns().length === 1 && world.parts.board.runningCount === 0);
  const why = explainTask(world.parts.board, "p/a", clock.nowMs());
  expect(why).toMatchObject({ state: "waiting", code: "usage-limit", command: "orchestrator retry p/a" });
  expect(Math.round(((why.untilMs ?? 0) - clock.nowMs()) / MINUTE_MS)).toBe(120);
  expect(world.scheduler.canMove()).toBe(true);
  passes(121);
  expect(await world.settled("p")).toBe("succeeded");
  expect([one.turns().length, two.turns().length]).toEqual([1, 2]);
  // It was there before and its conversation is the latest: it goes on in it.
  expect(two.turns()[1]).toMatchObject({ resumed: true, sessionId: two.turns()[0]?.sessionId });
  expect(world.parts.board.node("p/a").record.ledger).toMatchObject({ attempts: 3, retries: 0, waits: 2 });
});
