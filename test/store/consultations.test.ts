import { expect, test } from "vitest";
import { sampleAttempt, storeWithTasks } from "./support.ts";

const TOKENS = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 1 };

test("what the orchestrator role costs counts in its plan, and its last session is found", () => {
  const store = storeWithTasks();
  store.attempts.insert(sampleAttempt("one", "p", "a", { costUsd: 0.5, tokens: TOKENS }));
  const row = {
    id: "c1",
    planId: "p",
    provider: "claude",
    kind: "claude",
    questionIds: ["q1", "q2"],
    prompt: "Which?",
    pid: null,
    processStart: null,
    sessionId: null,
    totals: null,
    startedAtMs: 1,
    endedAtMs: null,
    outcome: null,
    message: null,
    answer: null,
    costUsd: null,
    tokens: null,
    booked: { usd: 0, tokens: 0, minutes: 0 },
  };
  store.consultations.insert(row);
  expect(store.consultations.listOpen()).toEqual([row]);
  const end = { endedAtMs: 2, outcome: "answered", sessionId: "s", costUsd: 0.25, tokens: TOKENS } as const;
  store.consultations.update("c1", end);
  expect(store.consultations.listOpen()).toEqual([]);
  expect(store.consultations.lastOwnEnd("p")).toEqual({ ...row, ...end });
  expect(store.attempts.usageOf("p")).toEqual({
    costUsd: 0.75,
    tokens: { inputTokens: 20, outputTokens: 10, cachedInputTokens: 2 },
  });
});
