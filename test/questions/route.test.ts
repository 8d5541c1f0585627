import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { QUESTION_STAGES, type RouteStep } from "../../src/plan/question.ts";
import { latestEndMs, nextStep, samenessOf, type Known, type QuestionSettings } from "../../src/questions/route.ts";

const settings = (route: readonly RouteStep[]): QuestionSettings => ({
  holdMs: 50_000,
  route,
  parentQuietMs: 120_000,
  deadlinesMs: { parent: 10, orchestrator: 200, human: 3_000 },
});
const ALL = settings(["memory", "parent", "orchestrator", "human"]);
const EVERYBODY: Known = { remembered: null, isParentThere: true, hasOrchestrator: true };

describe("X4: the route of a question", () => {
  it("asks one after the other, each with its deadline, then nobody is left", () => {
    expect(nextStep(null, ALL, EVERYBODY, 1)).toEqual({ type: "ask", stage: "parent", untilMs: 11 });
    expect(nextStep("parent", ALL, EVERYBODY, 1)).toEqual({ type: "ask", stage: "orchestrator", untilMs: 201 });
    expect(nextStep("orchestrator", ALL, EVERYBODY, 1)).toEqual({ type: "ask", stage: "human", untilMs: 3_001 });
    expect(nextStep("human", ALL, EVERYBODY, 1)).toEqual({ type: "nobody" });
  });

  it("skips a parent that has not called for long, and an orchestrator that can't be asked", () => {
    expect(nextStep(null, ALL, { ...EVERYBODY, isParentThere: false }, 1)).toMatchObject({ stage: "orchestrator" });
    const alone = { ...EVERYBODY, isParentThere: false, hasOrchestrator: false };
    expect(nextStep(null, ALL, alone, 1)).toMatchObject({ stage: "human" });
    expect(nextStep(null, settings(["parent"]), alone, 1)).toEqual({ type: "nobody" });
  });

  it("answers from memory where memory stands in the route, and only there", () => {
    const known = { ...EVERYBODY, remembered: "spaces" };
    expect(nextStep(null, ALL, known, 1)).toEqual({ type: "answered", answer: "spaces" });
    expect(nextStep(null, settings(["human"]), known, 1)).toMatchObject({ stage: "human" });
    const late = settings(["parent", "memory"]);
    expect(nextStep(null, late, known, 1)).toMatchObject({ stage: "parent" });
    expect(nextStep("parent", late, known, 1)).toEqual({ type: "answered", answer: "spaces" });
  });

  it("ends whatever the route, and never later than was told", () => {
    const route = fc.shuffledSubarray<RouteStep>(["memory", "parent", "orchestrator", "human"], { minLength: 1 });
    fc.assert(
      fc.property(route, fc.boolean(), fc.boolean(), (steps, isParentThere, hasOrchestrator) => {
        const known = { remembered: null, isParentThere, hasOrchestrator };
        let nowMs = 1_000;
        let latest: number | null = null;
        let step = nextStep(null, settings(steps), known, nowMs);
        for (let count = 0; step.type === "ask"; count += 1) {
          expect(count).toBeLessThan(QUESTION_STAGES.length);
          const end = latestEndMs(step.stage, step.untilMs, settings(steps));
          if (latest !== null) expect(end).toBeLessThanOrEqual(latest);
          latest = end;
          nowMs = step.untilMs;
          step = nextStep(step.stage, settings(steps), known, nowMs);
        }
        expect(step).toEqual({ type: "nobody" });
        if (latest !== null) expect(nowMs).toBeLessThanOrEqual(latest);
      }),
    );
  });
});

describe("what is one question", () => {
  it("the same words, whatever case and spaces", () => {
    expect(samenessOf(" Tabs\tor \n spaces? ", [], null)).toBe(samenessOf("tabs OR spaces?", [], ""));
  });

  it("not the same words about something else, nor with other options", () => {
    expect(samenessOf("May I delete it?", [], "a.txt")).not.toBe(samenessOf("May I delete it?", [], "b.txt"));
    expect(samenessOf("Which?", ["a", "b"], null)).not.toBe(samenessOf("Which?", ["a", "c"], null));
    expect(samenessOf("a", ["b"], null)).not.toBe(samenessOf("a", [], "b"));
  });
});
