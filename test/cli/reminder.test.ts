import { expect, test } from "vitest";
import { reminderOf, type PlansNow } from "../../src/cli/reminder.ts";

const NOTHING: PlansNow = { summary: "There are no plans.", next: "create_plan", questions: [], plans: [] };
const QUESTION = { id: "q1", task: "api/limiter", question: "Sliding\nor fixed window?\u001b[2J", options: [] };
const ASKED: PlansNow = {
  summary: "1 plan runs.",
  next: 'answer_question {"id":"q1"}',
  questions: [QUESTION],
  plans: [{}],
};

test("a session that begins is told how plans stand, and nothing where there are none", () => {
  expect(reminderOf("start", NOTHING, false)).toBeNull();
  const said = reminderOf("start", ASKED, false) ?? "";
  expect(said).toContain("1 plan runs.");
  expect(said).toContain("question q1 from api/limiter: Sliding or fixed window?\n");
  expect(said).toContain('Next: answer_question {"id":"q1"}');
});

test("a turn that ends with unanswered questions goes on once, with them as the reason", () => {
  expect(reminderOf("stop", { ...ASKED, questions: [] }, false)).toBeNull();
  const said = JSON.parse(reminderOf("stop", ASKED, false) ?? "") as { decision: string; reason: string };
  expect(said.decision).toBe("block");
  expect(said.reason).toContain("An agent waits for an answer");
  expect(said.reason).toContain("question q1 from api/limiter: Sliding or fixed window?\n");
  expect(said.reason).not.toContain("\u001b");
});

test("a turn that goes on by a hook's word already is let end", () => {
  expect(reminderOf("stop", ASKED, true)).toBeNull();
});

test("many and long questions stay short", () => {
  const questions = Array.from({ length: 40 }, (_, index) => ({
    ...QUESTION,
    id: `q${index}`,
    question: "x".repeat(9000),
  }));
  for (const event of ["start", "stop"] as const) {
    const said = reminderOf(event, { ...ASKED, questions }, false) ?? "";
    expect(said.length).toBeLessThan(4000);
    expect(said).toContain("and 35 more: task_status");
  }
});
