/** Budgets: what a plan may use up, what is set aside before a start, and what is booked at an end. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bookedWith, DEFAULT_USE, fundsKey, PlanBudget, type Amounts, type RoleFunds } from "../../src/plan/budget.ts";
import { changeBudget, reconsiderBudget } from "../../src/plan/change-budget.ts";
import { explainTask, standingOf } from "../../src/plan/explain.ts";
import { endAttempt } from "../../src/plan/outcomes.ts";
import { costOfTokens, priceOf } from "../../src/plan/prices.ts";
import type { Budget, PlanRecord, TaskKey } from "../../src/plan/records.ts";
import { KEPT_USES, UseTable } from "../../src/plan/use-table.ts";
import { addPlan, Board, failWith, NOW_MS, settingsOf, start, succeed } from "./boards.ts";

const NO_BUDGET: Budget = { usd: null, tokens: null, minutes: null };
const usd = (amount: number): Amounts => ({ usd: amount, tokens: 0, minutes: 0 });

function boardWith(budget: Partial<Budget>, tasks: readonly string[], more: Partial<PlanRecord> = {}): Board {
  const board = new Board(settingsOf());
  const options = Object.fromEntries(tasks.map((id) => [id, {}]));
  addPlan(board, "p", options, { budget: { ...NO_BUDGET, ...budget }, ...more });
  return board;
}

/** Coders have used so much so far. */
function coderUses(board: Board, ...amounts: readonly number[]): void {
  for (const amount of amounts) board.uses.note("coder", { usd: amount, tokens: null, minutes: null });
}

/** The end of an attempt that told what it cost; null: nobody told. */
function endAt(board: Board, key: TaskKey, amount: number | null): void {
  const { budget } = board.plan("p");
  const id = key.slice(2);
  budget.charge(bookedWith({ usd: amount, tokens: null, minutes: null }, budget.reservedFor(id)));
  succeed(board, key);
}

const why = (board: Board, key: TaskKey): ReturnType<typeof explainTask> => explainTask(board, key, NOW_MS);

describe("before a start", () => {
  test("only so many start as their expected use fits beside each other", () => {
    const board = boardWith({ usd: 5 }, ["a", "b", "c"]);
    coderUses(board, 1.5, 2.5);
    expect(start(board)).toEqual(["p/a", "p/b"]);
    expect(board.plan("p").budget.reserved.usd).toBe(4);
    // It fits once the others turn out to use less: nobody is asked for that.
    expect(board.node("p/c").record.state).toBe("ready");
    expect(why(board, "p/c")).toMatchObject({ state: "waiting", code: "budget", command: null });
    expect(why(board, "p/c").message).toMatch(/expected to use 2\.00 USD.*4\.00 set aside/);
    expect(standingOf(board.plan("p")).state).toBe("running");
  });

  test("what would go over even alone waits for a person, and says what it needs and what clears it", () => {
    const board = boardWith({ usd: 5 }, ["a", "b", "c"]);
    coderUses(board, 2);
    start(board);
    endAt(board, "p/a", 2.5);
    expect(start(board)).toEqual([]);
    endAt(board, "p/b", 2.5);
    expect(start(board)).toEqual([]);
    expect(board.node("p/c").record).toMatchObject({ state: "waiting", wait: { code: "budget" } });
    expect(why(board, "p/c")).toMatchObject({ code: "budget", command: "orchestrator edit p --budget usd=7" });
    expect(why(board, "p/c").message).toMatch(/budget of 5\.00 USD 5\.00 are used/);
    // Exit code 4.
    expect(standingOf(board.plan("p")).state).toBe("needs-person");
  });

  test("where nothing is known one starts alone with what is left, however little that is", () => {
    const board = boardWith({ usd: 0.1 }, ["a", "b"]);
    expect(start(board)).toEqual(["p/a"]);
    expect(board.plan("p").budget.reserved.usd).toBe(0.1);
    const large = boardWith({ usd: 2.5 }, ["a", "b", "c"]);
    expect(start(large)).toEqual(["p/a", "p/b"]);
    expect(large.plan("p").budget.reserved.usd).toBe(2 * DEFAULT_USE.usd);
  });

  test("a budget that is used up to the cent has no room, in whatever order its cents were summed", () => {
    for (const amounts of [[0.1, 0.7], [0.7, 0.1], [0.8]]) {
      const board = boardWith({ usd: 0.8 }, ["a"]);
      const { budget } = board.plan("p");
      for (const amount of amounts) budget.charge(usd(amount));
      // 0.1 + 0.7 is a little less than 0.8.
      expect(start(board)).toEqual([]);
      expect(why(board, "p/a")).toMatchObject({ code: "budget", command: "orchestrator edit p --budget usd=1.8" });
    }
  });

  test("each unit bounds by itself", () => {
    for (const unit of ["tokens", "minutes"] as const) {
      const board = boardWith({ [unit]: 10 }, ["a", "b"]);
      board.uses.note("coder", { usd: 100, tokens: 6, minutes: 6 });
      expect(start(board)).toEqual(["p/a"]);
      expect(why(board, "p/b").message).toContain(`expected to use 6 ${unit}`);
    }
  });

  test("no attempt is expected to run longer than its own deadline", () => {
    const board = new Board(settingsOf());
    addPlan(
      board,
      "p",
      { a: { timeoutMinutes: 2 }, b: { timeoutMinutes: 2 } },
      { budget: { ...NO_BUDGET, minutes: 4 } },
    );
    expect(start(board)).toEqual(["p/a", "p/b"]);
  });

  test("an expensive role does not keep a cheap one of the same provider from starting", () => {
    const board = new Board(settingsOf());
    const tasks = { dear: { agent: "dear", priority: 9 }, cheap: { agent: "cheap" } };
    addPlan(board, "p", tasks, { budget: { ...NO_BUDGET, usd: 5 } });
    board.uses.note("dear", { usd: 9, tokens: null, minutes: null });
    board.uses.note("cheap", { usd: 1, tokens: null, minutes: null });
    expect(start(board)).toEqual(["p/cheap"]);
    expect(board.node("p/dear").record.wait?.code).toBe("budget");
  });

  test("commands cost time only, also where the money is used up", () => {
    const roles = new Map<string, RoleFunds>([
      [fundsKey("coder", "alpha"), { useKey: "c", provider: "alpha", model: null, isFree: true, isPriced: false }],
    ]);
    const budget = new PlanBudget({ budget: { usd: 1, tokens: 1, minutes: 5 } }, { roles, spent: usd(3) });
    const uses = new UseTable();
    const verdict = budget.verdict({ role: "coder", provider: "alpha", timeoutMinutes: 60 }, uses);
    expect(verdict).toMatchObject({ type: "fits", need: { usd: 0, tokens: 0, minutes: 5 } });
    uses.note("c", { usd: 0, tokens: 0, minutes: 6 });
    expect(budget.verdict({ role: "coder", provider: "alpha", timeoutMinutes: 60 }, uses)).toMatchObject({
      type: "over",
      units: ["minutes"],
    });
  });

  test("a model whose price nobody knows starts nothing under a budget in money", () => {
    const funds = { useKey: "c", provider: "codex", model: "gpt-9", isFree: false, isPriced: false };
    const board = boardWith({ usd: 5 }, ["a"]);
    board.plan("p").budget.roles = new Map([[fundsKey("coder", "alpha"), funds]]);
    expect(start(board)).toEqual([]);
    expect(why(board, "p/a")).toMatchObject({
      code: "budget",
      message: expect.stringContaining("gpt-9 on codex costs"),
      command: expect.stringContaining("orchestrator config set providers.codex.prices"),
    });
    board.plan("p").budget.roles = new Map([[fundsKey("coder", "alpha"), { ...funds, isPriced: true }]]);
    reconsiderBudget(board, board.plan("p"), NOW_MS);
    expect(start(board)).toEqual(["p/a"]);
  });
});

describe("at an end", () => {
  test("what was told is booked, and the rest of what was set aside is given back", () => {
    const board = boardWith({ usd: 5 }, ["a", "b", "c"]);
    coderUses(board, 2);
    start(board);
    endAt(board, "p/a", 0.5);
    const { budget } = board.plan("p");
    expect([budget.spent.usd, budget.reserved.usd]).toEqual([0.5, 2]);
    expect(start(board)).toEqual(["p/c"]);
  });

  test("what was never told is booked as what was set aside for it", () => {
    const board = boardWith({ usd: 5 }, ["a", "b", "c"]);
    coderUses(board, 2);
    start(board);
    endAt(board, "p/a", null);
    expect(board.plan("p").budget.spent.usd).toBe(2);
    expect(start(board)).toEqual([]);
  });

  test("whatever its end was, nothing stays set aside", () => {
    const board = boardWith({ usd: 5 }, ["a"]);
    start(board);
    failWith(board, "p/a", "auth");
    expect(board.plan("p").budget.reserved).toEqual({ usd: 0, tokens: 0, minutes: 0 });
  });

  test("an agent that was ended at the bound goes on in its session when there is room, and waits when there is none", () => {
    const board = boardWith({ usd: 5 }, ["a"]);
    coderUses(board, 2);
    start(board);
    board.plan("p").budget.charge(usd(4));
    failWith(board, "p/a", "budget");
    expect(start(board)).toEqual([]);
    const { record } = board.node("p/a");
    expect(record).toMatchObject({ state: "waiting", wait: { code: "budget" }, nextTurn: { kind: "again" } });
    expect(record.ledger).toMatchObject({ retries: 0, continuations: 0 });
    changeBudget(board, "p", { ...NO_BUDGET, usd: 6 }, NOW_MS);
    expect(start(board)).toEqual(["p/a"]);
  });
});

describe("a budget that changes", () => {
  test("who waits for it goes on at once where there is room, and nobody else does", () => {
    const board = boardWith({ usd: 1 }, ["a", "b", "c"]);
    coderUses(board, 2);
    expect(start(board)).toEqual([]);
    expect(standingOf(board.plan("p")).counts.waiting).toBe(3);
    changeBudget(board, "p", { ...NO_BUDGET, usd: 4 }, NOW_MS);
    expect(start(board)).toEqual(["p/a", "p/b"]);
    changeBudget(board, "p", NO_BUDGET, NOW_MS);
    expect(start(board)).toEqual(["p/c"]);
  });

  test("retry alone changes nothing: it says the same again", () => {
    const board = boardWith({ usd: 1 }, ["a"]);
    coderUses(board, 2);
    start(board);
    board.goOn(board.node("p/a"));
    expect(start(board)).toEqual([]);
    expect(board.node("p/a").record.wait?.code).toBe("budget");
  });

  test("one plan's budget is nothing to another's", () => {
    const board = boardWith({ usd: 1 }, ["a"]);
    addPlan(board, "q", { a: {} });
    coderUses(board, 2);
    expect(start(board)).toEqual(["q/a"]);
  });
});

test("whatever happens, none starts while used, set aside and expected are together over the budget", () => {
  type Happening = { readonly cost: number | null } | "crash" | "raise";
  const cost = fc.option(fc.double({ min: 0, max: 5, noNaN: true }), { nil: null });
  const happening: fc.Arbitrary<Happening> = fc.oneof(
    { weight: 8, arbitrary: cost.map((amount) => ({ cost: amount })) },
    { weight: 1, arbitrary: fc.constant("crash" as const) },
    { weight: 1, arbitrary: fc.constant("raise" as const) },
  );
  const happenings = fc.array(happening, { maxLength: 40 });
  const learned = fc.array(fc.double({ min: 0.01, max: 4, noNaN: true }), { maxLength: 5 });
  fc.assert(
    fc.property(fc.double({ min: 0.5, max: 20, noNaN: true }), happenings, learned, (firstLimit, course, before) => {
      let limit = firstLimit;
      let board = boardWith(
        { usd: limit },
        Array.from({ length: 30 }, (_, index) => `t${index}`),
      );
      coderUses(board, ...before);
      // The test's own book: what ended, and what was set aside for each that runs.
      let spent = 0;
      const setAside = new Map<TaskKey, number>();
      const look = (): void => {
        for (const key of start(board) as TaskKey[]) {
          expect(setAside.has(key)).toBe(false);
          setAside.set(key, board.plan("p").budget.reservedFor(key.slice(2)).usd);
        }
        expect(board.plan("p").budget.spent.usd).toBeCloseTo(spent, 6);
      };
      for (const what of course) {
        const { budget } = board.plan("p");
        const roomBefore = limit - spent - [...setAside.values()].reduce((sum, one) => sum + one, 0);
        const known = new Set(setAside.keys());
        look();
        const begun = [...setAside].filter(([key]) => !known.has(key)).reduce((sum, [, amount]) => sum + amount, 0);
        expect(begun).toBeLessThanOrEqual(Math.max(0, roomBefore) + limit * 1e-6);
        if (what === "raise") {
          limit += 2;
          changeBudget(board, "p", { ...NO_BUDGET, usd: limit }, NOW_MS);
        } else if (what === "crash") {
          // Rows that were open stay booked with what was set aside; tasks that ran begin again.
          spent += [...setAside.values()].reduce((sum, one) => sum + one, 0);
          setAside.clear();
          board = reopened(board, spent);
        } else {
          const [next] = setAside.keys();
          if (next === undefined) continue;
          spent += what.cost ?? setAside.get(next) ?? 0;
          setAside.delete(next);
          endAt(board, next, what.cost);
          if (what.cost !== null) coderUses(board, what.cost);
          expect(budget.reservedFor(next.slice(2)).usd).toBe(0);
          reconsiderBudget(board, board.plan("p"), NOW_MS);
        }
      }
      // Whoever may still start does, or says that it can't: nobody is left ready while nothing runs.
      look();
      if (setAside.size === 0) expect(standingOf(board.plan("p")).counts.ready).toBe(0);
    }),
    { numRuns: 300 },
  );
});

/** What the next engine makes of the store. */
function reopened(board: Board, spent: number): Board {
  const { record, nodes } = board.plan("p");
  const next = new Board(settingsOf());
  const tasks = [...nodes.values()].map((node) => structuredClone(node.record));
  const lengths = new Map(tasks.map((task) => [task.id, 1]));
  next.addPlan(structuredClone(record), tasks, lengths, { spent: usd(spent) });
  for (const { id, state } of tasks) {
    if (state === "running") endAttempt(next, `p/${id}`, { type: "interrupted" }, NOW_MS, 0.5);
  }
  return next;
}

test("a role is expected to use the mean of its latest attempts", () => {
  const uses = new UseTable();
  expect(uses.expected("a")).toEqual({ usd: null, tokens: null, minutes: null, count: 0 });
  for (let index = 0; index < 3 * KEPT_USES; index += 1) {
    uses.note("a", { usd: index < 2 * KEPT_USES ? 100 : 2, tokens: null, minutes: 1 });
  }
  expect(uses.expected("a")).toEqual({ usd: 2, tokens: null, minutes: 1, count: KEPT_USES });
});

test("a price is that of the model's name, else of the longest beginning; tokens from a cache have their own", () => {
  const price = (input: number): { input: number; output: number; cachedInput: number | null } => ({
    input,
    output: 10,
    cachedInput: null,
  });
  const prices = { "gpt-5": price(1), "gpt-*": price(2), "gpt-5.1*": price(3), "*": price(4) };
  const of = (model: string | null): number | undefined => priceOf(prices, model)?.input;
  expect([of("gpt-5"), of("gpt-4"), of("gpt-5.1-codex"), of("o9"), of(null)]).toEqual([1, 2, 3, 4, 4]);
  expect(priceOf({ "gpt-5": price(1) }, null)).toBeNull();
  expect(priceOf({ "gpt-*": price(1) }, "constructor")).toBeNull();
  expect(priceOf({}, "constructor")).toBeNull();
  const used = { inputTokens: 1_000_000, cachedInputTokens: 400_000, outputTokens: 100_000 };
  expect(costOfTokens(used, { input: 2, output: 10, cachedInput: 0.5 })).toBeCloseTo(1.2 + 0.2 + 1);
  expect(costOfTokens(used, { input: 2, output: 10, cachedInput: null })).toBeCloseTo(3);
});
