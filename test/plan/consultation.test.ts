import { describe, expect, it } from "vitest";
import { consultationPrompt, readConsultation, type ConsultationFacts } from "../../src/plan/consultation.ts";

function facts(count: number): ConsultationFacts {
  return {
    goal: "The goal.",
    target: "main",
    tasks: Array.from({ length: count }, (_, index) => ({
      id: `t${index}`,
      title: `Task ${index}`,
      prompt: `Do part ${index}. ${"Very carefully. ".repeat(500)}`,
      state: index % 2 === 0 ? "succeeded" : "pending",
      dependsOn: index === 0 ? [] : [`t${index - 1}`],
      summary: index % 2 === 0 ? `Reported ${index}. ${"In detail. ".repeat(500)}` : null,
    })),
    earlier: Array.from({ length: count }, (_, index) => ({
      task: `t${index}`,
      question: `Earlier ${index}?`,
      answer: "Yes. ".repeat(500),
      by: "human",
    })),
    questions: [{ id: "q9", task: `t${count - 2}`, text: "/which\nport?", options: ["80", "443"], context: "for TLS" }],
    continuesSession: false,
  };
}

describe("X4: what the orchestrator role is asked", () => {
  it("of a long plan it is told what matters to the askers, in a prompt that fits", () => {
    const prompt = consultationPrompt(facts(3_000));
    expect(prompt.length).toBeLessThan(40_000);
    expect(prompt).toMatch(/^- t2998 \(/m);
    expect(prompt).toContain("what it was told: Do part 2998.");
    for (const around of ["- t2997 (", "- t2999 ("]) expect(prompt).toContain(around);
    expect(prompt).toMatch(/… and \d+ more tasks that are not shown/);
    expect(prompt).toContain("Earlier 2999?");
    expect(prompt).toContain("<<<question\n/which\nport?\nquestion>>>");
    expect(prompt).toContain('"80", "443"');
    expect(prompt).toMatch(/^[A-Z]/);
  });

  it("in a conversation that goes on it is not told the goal again, but how the plan stands now", () => {
    const prompt = consultationPrompt({ ...facts(3), continuesSession: true });
    expect(prompt).not.toContain("The goal.");
    expect(prompt).toContain("- t1 (pending");
  });

  it("takes answers that fit, with or without an answer, and says what is wrong with others", () => {
    const known = { id: "q9", answer: null, why: "The plan does not say." };
    expect(readConsultation({ answers: [known, { ...known, id: "q1" }] }, ["q9"])).toEqual({
      ok: true,
      answers: [known],
    });
    for (const bad of [
      null,
      "443",
      [],
      {},
      { answers: [{ id: "q9" }] },
      { answers: [] },
      { answers: [{ ...known, id: "x" }] },
    ]) {
      expect(readConsultation(bad, ["q9"])).toMatchObject({ ok: false, problem: expect.stringMatching(/./) as string });
    }
  });
});
