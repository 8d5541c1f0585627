/** R1, R2, provider chains: where a task goes while the provider that it prefers can't take it. Pure, over a board. */
import { describe, expect, test } from "vitest";
import { Board } from "../../src/plan/board.ts";
import { fundsKey } from "../../src/plan/budget.ts";
import { changeBudget } from "../../src/plan/change-budget.ts";
import { controlTask, tryNewKey } from "../../src/plan/controls.ts";
import { explainTask, standingOf } from "../../src/plan/explain.ts";
import { endAttempt } from "../../src/plan/outcomes.ts";
import type { Workflow } from "../../src/plan/records.ts";
import { addPlan, failWith, NOW_MS, settingsOf, start, succeed, type TaskOptions } from "./boards.ts";

const MINUTE_MS = 60_000;
const RESET_MS = NOW_MS + 4 * 60 * MINUTE_MS;
const RESET_TEXT = new Date(RESET_MS).toISOString();

function chain(...names: readonly string[]): TaskOptions {
  return chainOf("coder", ...names);
}

function chainOf(agent: string, ...names: readonly string[]): TaskOptions {
  const [provider = "", ...otherProviders] = names;
  const steps: Workflow = { steps: [{ agent, provider, otherProviders, prompt: null }], maxRounds: 0 };
  return { steps, writes: [] };
}

const CHAIN = chain("alpha", "beta");

function boardWith(tasks: Record<string, TaskOptions>, limits: readonly (readonly [string, number])[] = []) {
  const board = new Board(settingsOf({ providerLimits: new Map(limits) }));
  return { board, tasks: addPlan(board, "p", tasks) };
}

describe("a task goes to the next provider of its list", () => {
  test("when the account of the first is used up: at once, no retry spent, and it says so", () => {
    const { board, tasks } = boardWith({ a: CHAIN });
    expect(start(board)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ provider: "alpha", message: null });
    failWith(board, "p/a", "usage-limit", { message: "used up", resetsAtMs: RESET_MS });
    expect(start(board)).toEqual(["p/a"]);
    const message = `goes to beta: alpha has used up its account's limit (until ${RESET_TEXT})`;
    expect(tasks["a"]).toMatchObject({ provider: "beta", message, ledger: { attempts: 2, retries: 0, waits: 1 } });
    expect(tasks["a"]?.nextTurn.kind).toBe("again");
    expect(explainTask(board, "p/a", NOW_MS)).toMatchObject({ state: "running", message: `running: ${message}` });
    expect([board.runningOf("alpha"), board.runningOf("beta")]).toEqual([0, 1]);
  });

  test("also one that never began; and the first is the preferred one again for later tasks as soon as it is well", () => {
    const { board, tasks } = boardWith({
      a: CHAIN,
      b: { ...CHAIN, dependsOn: ["a"] },
      c: { ...CHAIN, dependsOn: ["b"] },
    });
    start(board);
    failWith(board, "p/a", "usage-limit", { resetsAtMs: RESET_MS });
    start(board);
    succeed(board, "p/a");
    expect(start(board)).toEqual(["p/b"]);
    expect(tasks["b"]).toMatchObject({ provider: "beta", ledger: { attempts: 1 } });
    succeed(board, "p/b");
    expect(start(board, RESET_MS)).toEqual(["p/c"]);
    expect(tasks["c"]).toMatchObject({ provider: "alpha", message: null });
  });

  test("one that went stays there until its end, unless that one is shut too", () => {
    const { board, tasks } = boardWith({ a: chain("alpha", "beta", "gamma") });
    start(board);
    failWith(board, "p/a", "usage-limit", { resetsAtMs: NOW_MS + 1 });
    start(board);
    failWith(board, "p/a", "turn-limit");
    // The first is well again, and the task stays all the same.
    expect(start(board, NOW_MS + 2)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ provider: "beta", message: null });
    failWith(board, "p/a", "usage-limit", { resetsAtMs: RESET_MS });
    expect(start(board, NOW_MS + 2)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ provider: "alpha" });
  });

  test("a circuit that opens sends the retries elsewhere, after their back-off", () => {
    const { board, tasks } = boardWith({ a: { ...CHAIN, retries: 9 } });
    const nowMs = NOW_MS;
    for (let failure = 0; failure < 5; failure += 1) {
      expect(start(board, nowMs)).toEqual(["p/a"]);
      expect(tasks["a"]?.provider).toBe("alpha");
      endAttempt(
        board,
        "p/a",
        { type: "failed", cause: "transient", message: "500", remedy: null, retryAfterMs: null, resetsAtMs: null },
        nowMs,
        0,
      );
    }
    expect(board.gate("alpha", nowMs).state).toBe("shut");
    expect(start(board, nowMs)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ provider: "beta", ledger: { retries: 5 } });
    expect(tasks["a"]?.message).toContain("goes to beta: alpha keeps failing (until ");
  });

  test.each(["auth", "billing", "spawn-failed"] as const)(
    "%s of the first: the second takes it, no person is asked",
    (cause) => {
      const { board, tasks } = boardWith({ a: CHAIN });
      start(board);
      failWith(board, "p/a", cause, { message: "no good" });
      expect(tasks["a"]).toMatchObject({ state: "ready", ruledOut: ["alpha"], ledger: { retries: 0 } });
      expect(start(board)).toEqual(["p/a"]);
      expect(tasks["a"]).toMatchObject({ provider: "beta", message: "goes to beta: alpha no good" });
    },
  );

  test.each(["permission-denied", "invalid-request"] as const)(
    "%s is the task's own: a person is asked, whatever the list",
    (cause) => {
      const { board, tasks } = boardWith({ a: CHAIN });
      start(board);
      failWith(board, "p/a", cause);
      expect(tasks["a"]).toMatchObject({ state: "waiting", wait: { code: cause }, ruledOut: [] });
    },
  );

  test("when its program or its key is missing before anything of it ran: nothing is spent", () => {
    const { board, tasks } = boardWith({ a: CHAIN });
    start(board);
    const wait = { code: "spawn-failed", message: "is not installed", command: null, untilMs: null } as const;
    endAttempt(board, "p/a", { type: "not-started", wait }, NOW_MS, 0.5);
    expect(tasks["a"]).toMatchObject({ state: "ready", holdsClaims: false, ledger: { attempts: 0 } });
    expect(start(board)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ provider: "beta", message: "goes to beta: alpha is not installed" });
  });

  test("the second's limit holds: it waits for a slot there, and does not go back to the one that is shut", () => {
    const { board, tasks } = boardWith({ a: CHAIN, b: CHAIN, c: CHAIN }, [["beta", 1]]);
    expect(start(board)).toHaveLength(3);
    for (const id of ["a", "b", "c"]) failWith(board, `p/${id}`, "usage-limit", { resetsAtMs: RESET_MS });
    expect(start(board)).toEqual(["p/a"]);
    expect(explainTask(board, "p/b", NOW_MS)).toMatchObject({
      code: "slot",
      message: "all 1 slots of provider beta are taken (providers.beta.limit)",
    });
    succeed(board, "p/a");
    expect(start(board)).toEqual(["p/b"]);
    expect(tasks["b"]?.provider).toBe("beta");
  });
});

describe("when no provider of the list can take it", () => {
  test("it waits for the one that is well first, by itself, and says for what; a retry asks at once", () => {
    const { board, tasks } = boardWith({ a: CHAIN });
    start(board);
    failWith(board, "p/a", "usage-limit", { message: "5 hours", resetsAtMs: RESET_MS });
    start(board);
    failWith(board, "p/a", "usage-limit", { message: "weekly", resetsAtMs: RESET_MS - MINUTE_MS });
    expect(start(board)).toEqual([]);
    const why = explainTask(board, "p/a", NOW_MS);
    expect(why).toMatchObject({ state: "waiting", code: "usage-limit", untilMs: RESET_MS - MINUTE_MS });
    expect(why.command).toBe("orchestrator retry p/a");
    expect(why.message).toContain("provider beta has used up its account's limit");
    expect(why.message).toContain("provider alpha has used up its account's limit");
    expect(standingOf(board.plan("p")).state).toBe("running");
    expect(board.nextWakeMs(NOW_MS)).toBe(RESET_MS - MINUTE_MS);
    expect(start(board, RESET_MS - MINUTE_MS)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ provider: "beta", ledger: { attempts: 3, retries: 0, waits: 2 } });
  });

  test("keys missing everywhere: a person is asked; a key that comes for either lets it go on there", () => {
    const { board, tasks } = boardWith({ a: CHAIN });
    start(board);
    failWith(board, "p/a", "auth", { message: "no key" });
    start(board);
    failWith(board, "p/a", "auth", { message: "refused" });
    expect(tasks["a"]).toMatchObject({
      state: "waiting",
      wait: { code: "auth" },
      provider: "beta",
      ruledOut: ["alpha"],
    });
    expect(tryNewKey(board, (_, provider) => provider === "gamma", NOW_MS)).toEqual([]);
    expect(tryNewKey(board, (_, provider) => provider === "alpha", NOW_MS)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ state: "ready", ruledOut: [] });
    expect(start(board)).toEqual(["p/a"]);
    expect(tasks["a"]?.provider).toBe("alpha");
  });

  test("the second used up and the first without a key: the second is waited for, and the first is not asked each minute", () => {
    const { board, tasks } = boardWith({ a: CHAIN });
    start(board);
    failWith(board, "p/a", "auth");
    start(board);
    failWith(board, "p/a", "usage-limit", { resetsAtMs: RESET_MS });
    for (let minute = 0; minute < 239; minute += 1) expect(start(board, NOW_MS + minute * MINUTE_MS)).toEqual([]);
    const why = explainTask(board, "p/a", NOW_MS + 2 * MINUTE_MS);
    expect(why).toMatchObject({ code: "usage-limit", untilMs: RESET_MS });
    expect(why.message).toContain("without alpha, which needs a person");
    controlTask(board, "p/a", "retry", NOW_MS + 239 * MINUTE_MS);
    expect(tasks["a"]).toMatchObject({ state: "ready", ruledOut: [] });
    expect(start(board, NOW_MS + 239 * MINUTE_MS)).toEqual(["p/a"]);
  });
});

describe("where the plan's budget has no room for the provider that it would go to", () => {
  /** Coders use so much money with each provider. */
  function boardOf(uses: Readonly<Record<string, number>>, tasks: Record<string, TaskOptions>, limit = 5) {
    const board = new Board(settingsOf());
    const records = addPlan(board, "p", tasks, { budget: { usd: limit, tokens: null, minutes: null } });
    const roles = Object.keys(uses).map((provider) => {
      const funds = { useKey: provider, provider, model: null, isFree: false, isPriced: true };
      return [fundsKey("coder", provider), funds] as const;
    });
    board.plan("p").budget.roles = new Map(roles);
    for (const [key, usd] of Object.entries(uses)) board.uses.note(key, { usd, tokens: null, minutes: null });
    return { board, tasks: records };
  }

  test("it waits for the one that is used up, by itself, says so, and starts there at the reset", () => {
    const { board, tasks } = boardOf({ alpha: 1, beta: 9 }, { a: CHAIN });
    start(board);
    failWith(board, "p/a", "usage-limit", { message: "used up", resetsAtMs: RESET_MS });
    expect(start(board)).toEqual([]);
    expect(standingOf(board.plan("p")).state).toBe("running");
    const told = explainTask(board, "p/a", NOW_MS);
    expect(told).toMatchObject({ code: "usage-limit", untilMs: RESET_MS, command: "orchestrator retry p/a" });
    expect(told.message).toContain("provider alpha has used up its account's limit");
    expect(told.message).toMatch(/no room for beta.*9\.00 USD.*\(orchestrator edit p --budget usd=9\)/);
    expect(board.nextWakeMs(NOW_MS)).toBe(RESET_MS);
    expect(start(board, RESET_MS)).toEqual(["p/a"]);
    expect(tasks["a"]).toMatchObject({ provider: "alpha", ledger: { attempts: 2, retries: 0 } });
  });

  test("more money sends it there at once", () => {
    const { board, tasks } = boardOf({ alpha: 1, beta: 9 }, { a: CHAIN });
    start(board);
    failWith(board, "p/a", "usage-limit", { resetsAtMs: RESET_MS });
    expect(start(board)).toEqual([]);
    changeBudget(board, "p", { usd: 9, tokens: null, minutes: null }, NOW_MS);
    expect(start(board)).toEqual(["p/a"]);
    expect(tasks["a"]?.provider).toBe("beta");
  });

  test("another one that is well and within it takes it; a dear task keeps no cheap one waiting", () => {
    const { board, tasks } = boardOf(
      { alpha: 1, beta: 9, gamma: 2 },
      { a: chain("alpha", "beta", "gamma"), b: { ...CHAIN, priority: 5 }, c: chainOf("cheap", "alpha", "beta") },
    );
    failWith(board, start(board)[0] as "p/a", "usage-limit", { resetsAtMs: RESET_MS });
    for (const id of ["a", "b", "c"]) {
      if (tasks[id]?.state === "running") failWith(board, `p/${id}`, "usage-limit", { resetsAtMs: RESET_MS });
    }
    expect(start(board).toSorted()).toEqual(["p/a", "p/c"]);
    expect([tasks["a"]?.provider, tasks["b"]?.state, tasks["c"]?.provider]).toEqual(["gamma", "ready", "beta"]);
  });

  test("money alone sends nobody elsewhere, and where none is within it a person is asked", () => {
    const one = boardOf({ alpha: 9, beta: 1 }, { a: CHAIN });
    expect(start(one.board)).toEqual([]);
    expect(one.tasks["a"]).toMatchObject({ state: "waiting", wait: { code: "budget" } });
    const none = boardOf({ alpha: 4, beta: 9 }, { a: CHAIN });
    start(none.board);
    none.board.plan("p").budget.charge({ usd: 2, tokens: 0, minutes: 0 });
    failWith(none.board, "p/a", "usage-limit", { resetsAtMs: RESET_MS });
    expect(start(none.board)).toEqual([]);
    expect(none.tasks["a"]).toMatchObject({ state: "waiting", wait: { code: "budget" } });
    expect(standingOf(none.board.plan("p")).state).toBe("needs-person");
    // Room for the one that is used up is enough to wait for it.
    changeBudget(none.board, "p", { usd: 6, tokens: null, minutes: null }, NOW_MS);
    expect(none.tasks["a"]?.state).toBe("ready");
    expect(start(none.board)).toEqual([]);
    expect(start(none.board, RESET_MS)).toEqual(["p/a"]);
  });
});

test("12: parked in a plan that is paused: the command is the one that lets it go on", () => {
  const { board } = boardWith({ a: {} });
  start(board);
  failWith(board, "p/a", "usage-limit", { resetsAtMs: RESET_MS });
  expect(explainTask(board, "p/a", NOW_MS)).toMatchObject({ command: "orchestrator retry p/a", untilMs: RESET_MS });
  board.plan("p").record.paused = true;
  expect(explainTask(board, "p/a", NOW_MS)).toMatchObject({ command: "orchestrator resume p", untilMs: RESET_MS });
});

describe("probes", () => {
  test("no reset told: after 5 minutes one later task probes the preferred provider, the others go on elsewhere", () => {
    const { board, tasks } = boardWith({
      a: CHAIN,
      b: { ...CHAIN, dependsOn: ["a"] },
      c: { ...CHAIN, dependsOn: ["a"] },
    });
    start(board);
    failWith(board, "p/a", "usage-limit");
    start(board);
    succeed(board, "p/a");
    const laterMs = NOW_MS + 5 * MINUTE_MS;
    expect(start(board, laterMs)).toEqual(["p/b", "p/c"]);
    expect([tasks["b"]?.provider, tasks["c"]?.provider]).toEqual(["alpha", "beta"]);
    expect(board.probeOf("alpha")?.record.id).toBe("b");
    expect(tasks["c"]?.message).toBe("goes to beta: alpha has used up its account's limit");
    // The probe that fails goes elsewhere too, and the next wait is longer.
    const usedUp = { type: "failed", cause: "usage-limit", message: "used up", remedy: null } as const;
    endAttempt(board, "p/b", { ...usedUp, retryAfterMs: null, resetsAtMs: null }, laterMs, 0.5);
    expect(board.provider("alpha").parkings).toBe(2);
    expect(start(board, laterMs)).toEqual(["p/b"]);
    expect(tasks["b"]?.provider).toBe("beta");
  });

  test("several that ran when the account was used up are one parking, and one that ends well just after ends none", () => {
    const { board, tasks } = boardWith({ a: {}, b: {}, c: {}, d: {} });
    start(board);
    for (const id of ["a", "b", "c"]) failWith(board, `p/${id}`, "usage-limit");
    succeed(board, "p/d");
    const untilMs = NOW_MS + 5 * MINUTE_MS;
    expect(board.provider("alpha")).toMatchObject({ parkings: 1, parkedUntilMs: untilMs, isResetUnknown: true });
    expect(tasks["c"]).toMatchObject({ state: "waiting", wait: { untilMs } });
    expect(start(board, untilMs - 1)).toEqual([]);
    expect(start(board, untilMs)).toHaveLength(1);
  });
});
