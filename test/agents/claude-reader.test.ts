import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AgentEvent, ProcessEnd, TurnEnd, TurnRequest } from "../../src/agents/backend.ts";
import { claudeBackend } from "../../src/agents/claude.ts";
import type { FailureCause } from "../../src/plan/failure-cause.ts";
import { cut, turnRequest } from "./turn-request.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 4, 0);

function capture(name: string): string {
  return readFileSync(new URL(`captures/claude/${name}`, import.meta.url), "utf8");
}

function read(
  chunks: readonly string[],
  end: Partial<ProcessEnd> = {},
  request: Partial<TurnRequest> = {},
): { events: AgentEvent[]; end: TurnEnd } {
  const reader = claudeBackend.readTurn(turnRequest(request));
  const events = chunks.flatMap((chunk) => reader.readStdout(chunk));
  return { events, end: reader.end({ exitCode: 0, signal: null, stderrTail: "", ...end }, NOW_MS) };
}

/** The end of a captured run, as a failure. */
function failureOf(name: string, end: Partial<ProcessEnd> = {}, request: Partial<TurnRequest> = {}) {
  const turn = read([capture(name)], { exitCode: 1, ...end }, request).end;
  if (turn.outcome !== "failed") throw new Error(`${name} was read as succeeded: ${turn.finalText}`);
  return turn;
}

describe("what a turn did is told as it happens", () => {
  test("session, text, tools and their results", () => {
    const { events, end } = read([capture("stream-tool-use.ndjson")]);
    expect(events[0]).toEqual({ type: "session", sessionId: expect.stringMatching(/^[0-9a-f-]{36}$/) });
    expect(events.map((event) => event.type)).toEqual([
      "session",
      "text",
      "tool-start",
      "tool-end",
      "text",
      "turn-over",
    ]);
    expect(events[2]).toMatchObject({ name: "Bash", summary: "echo hi" });
    expect(events[3]).toMatchObject({ isError: false, summary: "hi" });
    expect(end).toMatchObject({
      outcome: "succeeded",
      finalText: "done",
      usage: { inputTokens: 20, outputTokens: 10, cachedInputTokens: 0 },
      permissionDenials: [],
    });
    expect(end.sessionId).not.toBeNull();
    expect(end.costUsd).toBeCloseTo(0.00028);
  });

  test("partial messages make output but no event twice", () => {
    const { events } = read([capture("stream-partial-messages.ndjson")]);
    expect(events.map((event) => event.type)).toEqual([
      "session",
      "text",
      "tool-start",
      "tool-end",
      "text",
      "turn-over",
    ]);
  });

  test("what it is told in the middle of a turn is heard under its id, in that turn", () => {
    const { events } = read([capture("input-message-injected-mid-run.ndjson")]);
    const types = events.map((event) => event.type).filter((type) => type !== "warning");
    expect(types).toEqual(["session", "heard", "tool-start", "tool-end", "heard", "text", "turn-over"]);
    expect(events.filter((event) => event.type === "heard")[1]).toEqual({
      type: "heard",
      id: "eca88b81-07d0-41be-a0e8-096359115697",
    });
  });

  test("the CLI's own retries are told, with their delay", () => {
    const { events } = read([capture("error-529-twice-then-ok.ndjson")]);
    const retries = events.filter((event) => event.type === "retrying");
    expect(retries).toHaveLength(2);
    expect(retries[0]).toMatchObject({ message: expect.stringContaining("529"), delayMs: expect.any(Number) });
  });

  test("an MCP server that did not start is a warning, since the run goes on without it", () => {
    const { events, end } = read([capture("mcp-server-fails-to-start.ndjson")]);
    expect(events).toContainEqual({ type: "warning", message: "MCP server lab: failed" });
    expect(end.outcome).toBe("succeeded");
  });

  test("denied tools are reported once each, with what they wanted", () => {
    const { events, end } = read([capture("permission-denied-default.ndjson")]);
    expect(end.outcome).toBe("succeeded");
    expect(end.permissionDenials).toEqual([
      "Bash: touch made.txt",
      "Write: /repo/w.txt",
      "Write: /outside/outside.txt",
      "WebFetch: http://127.0.0.1:9/",
    ]);
    expect(events.filter((event) => event.type === "warning")).toHaveLength(4);
  });

  test("a subagent's words are shown but are not the last words", () => {
    const { events, end } = read([capture("subagent.ndjson")]);
    expect(events.filter((event) => event.type === "tool-start").map((event) => event.name)).toEqual(["Agent", "Bash"]);
    expect(end.finalText).toMatch(/^OK:/);
  });

  test("what is not JSON and what comes over stderr are warnings", () => {
    const reader = claudeBackend.readTurn(turnRequest());
    expect(reader.readStdout("something odd\n")).toEqual([{ type: "warning", message: "something odd" }]);
    expect(reader.readStderr("half ")).toEqual([]);
    expect(reader.readStderr("a line\n")).toEqual([{ type: "warning", message: "half a line" }]);
  });
});

describe("an end is judged by the result, not by the exit code", () => {
  test("of several results the last one counts", () => {
    const { end } = read([capture("background-task-two-results.ndjson")]);
    expect(end).toMatchObject({ outcome: "succeeded", finalText: expect.stringMatching(/^turn3/) });
    expect(end.usage).toEqual({ inputTokens: 30, outputTokens: 15, cachedInputTokens: 0 });
  });

  test("a turn that began after the last result and did not end is a crash", () => {
    const lines = capture("background-task-two-results.ndjson").trimEnd().split("\n");
    const { end } = read([lines.slice(0, -1).join("\n")], { exitCode: 143 });
    expect(end).toMatchObject({ outcome: "failed", cause: "crashed", message: expect.stringContaining("SIGTERM") });
  });

  test("SIGINT ends it with exit code 0 and no result: crashed, and the session can go on", () => {
    const lines = capture("stream-tool-use.ndjson").split("\n").slice(0, 3).join("\n");
    const { end } = read([lines], { exitCode: 0 });
    expect(end).toMatchObject({ outcome: "failed", cause: "crashed", sessionId: expect.any(String) });
  });

  test.each([
    [{ exitCode: null, signal: "SIGKILL" }, "SIGKILL"],
    [{ exitCode: 143, signal: null }, "SIGTERM"],
    [{ exitCode: 129, signal: null }, "SIGHUP"],
  ])("a signal (%o) is a crash", (end, name) => {
    expect(read([], end).end).toMatchObject({ cause: "crashed", message: expect.stringContaining(name) });
  });

  test("an interrupted tool is a crash although a result was printed", () => {
    const lines = capture("input-interrupt-during-tool.ndjson").split("\n");
    const upToFirstResult = lines.slice(0, lines.findIndex((line) => line.includes('"type":"result"')) + 1);
    expect(read([upToFirstResult.join("\n")]).end).toMatchObject({ outcome: "failed", cause: "crashed" });
  });

  test("a process that we end after its result has succeeded", () => {
    const { end } = read([capture("stream-tool-use.ndjson")], { exitCode: null, signal: "SIGTERM" });
    expect(end.outcome).toBe("succeeded");
  });
});

describe("R1: every kind of failure is told apart", () => {
  const CAUSES: readonly (readonly [string, FailureCause])[] = [
    ["error-400.ndjson", "invalid-request"],
    ["error-400-credit-balance.ndjson", "billing"],
    ["error-400-disabled-organization.ndjson", "auth"],
    ["error-400-prompt-too-long.ndjson", "context-overflow"],
    ["error-401.ndjson", "auth"],
    ["error-402.ndjson", "billing"],
    ["error-403.ndjson", "auth"],
    ["error-404-model.ndjson", "invalid-request"],
    ["error-413.ndjson", "context-overflow"],
    ["error-429.ndjson", "rate-limit"],
    ["error-429-retry-after-3600.ndjson", "rate-limit"],
    ["error-429-not-usage-limit.ndjson", "rate-limit"],
    ["error-429-usage-limit.ndjson", "usage-limit"],
    ["error-429-spend-limit.ndjson", "billing"],
    ["error-500.ndjson", "transient"],
    ["error-529.ndjson", "transient"],
    ["error-connection-refused.ndjson", "transient"],
    ["error-context-window.ndjson", "context-overflow"],
    ["error-hang-api-timeout-5s-max-retries-1.ndjson", "transient"],
    ["error-max-output-tokens.ndjson", "invalid-request"],
    ["error-no-credentials.ndjson", "auth"],
    ["error-refusal.ndjson", "invalid-request"],
    ["input-interrupt-during-model-request.ndjson", "crashed"],
    ["max-budget.ndjson", "billing"],
    ["max-turns.ndjson", "turn-limit"],
    ["resume-unknown-id.ndjson", "no-result"],
    ["structured-output-retries-exhausted.ndjson", "no-result"],
  ];

  test.each(CAUSES)("%s is %s", (name, cause) => {
    const turn = failureOf(name);
    expect(turn.cause).toBe(cause);
    expect(turn.message).not.toBe("");
    expect(turn.message).not.toContain("\n");
  });

  test.each([
    "error-529-fallback-model.ndjson",
    "error-529-twice-then-ok.ndjson",
    "error-429-retry-after-45-then-ok.ndjson",
    "error-stream-cut-once.ndjson",
    "error-stream-cut-always.ndjson",
    "error-stream-stall.ndjson",
    "error-unknown-tool.ndjson",
    "error-bad-tool-input.ndjson",
    "mcp-tool-use.ndjson",
    "mcp-tool-blocking-150s.ndjson",
    "permission-denied-dontAsk.ndjson",
  ])("%s recovered, so it succeeded", (name) => {
    expect(read([capture(name)]).end).toMatchObject({ outcome: "succeeded" });
  });

  test("exit code 0 with an empty answer is no result", () => {
    expect(failureOf("error-empty-response.ndjson", { exitCode: 0 }).cause).toBe("no-result");
  });

  test("an empty answer after our own report_result is a result", () => {
    const lines = capture("error-empty-response.ndjson").trimEnd().split("\n");
    const call = (isError: boolean): string =>
      [
        lines[0],
        JSON.stringify({
          type: "assistant",
          parent_tool_use_id: null,
          message: {
            content: [{ type: "tool_use", id: "t1", name: "mcp__orchestrator-mcp__report_result", input: {} }],
          },
        }),
        JSON.stringify({
          type: "user",
          message: { content: [{ type: "tool_result", tool_use_id: "t1", is_error: isError, content: "ok" }] },
        }),
        lines.at(-1),
      ].join("\n");
    const mcpServer = { name: "orchestrator-mcp", command: "/x", args: [], env: {} };
    expect(read([call(false)], {}, { mcpServer }).end.outcome).toBe("succeeded");
    expect(read([call(true)], {}, { mcpServer }).end).toMatchObject({ cause: "no-result" });
    expect(read([call(false)], {}, { mcpServer: null }).end).toMatchObject({ cause: "no-result" });
  });

  test("a slash command or a user's own hook that kept the prompt from the model is no success", () => {
    const lines = capture("stream-tool-use.ndjson").trimEnd().split("\n");
    const result: Record<string, unknown> = JSON.parse(lines.at(-1) ?? "");
    const withText = (text: string): string => `${lines[0]}\n${JSON.stringify({ ...result, result: text })}`;
    expect(read([withText("cleared")]).end).toMatchObject({ cause: "no-result" });
    expect(read([withText("UserPromptSubmit operation blocked by hook: no")]).end).toMatchObject({
      cause: "permission-denied",
      remedy: expect.stringContaining("settings.json"),
    });
  });

  test("the usage limit says when it ends, by field, else by its words", () => {
    const turn = failureOf("error-429-usage-limit.ndjson");
    const told = /"resetsAt":(\d+)/.exec(capture("error-429-usage-limit.ndjson"))?.[1];
    expect(turn.resetsAtMs).toBe(Number(told) * 1000);
    const older = (text: string): TurnEnd => {
      const lines = capture("error-429.ndjson").trimEnd().split("\n");
      const result: Record<string, unknown> = JSON.parse(lines.at(-1) ?? "");
      return read([`${lines[0]}\n${JSON.stringify({ ...result, result: text })}`], { exitCode: 1 }).end;
    };
    expect(older("You've hit your session limit · resets 6:02am (UTC)")).toMatchObject({
      cause: "usage-limit",
      resetsAtMs: Date.UTC(2026, 10, 21, 6, 2),
    });
    expect(older("Claude AI usage limit reached|1795300000")).toMatchObject({
      cause: "usage-limit",
      resetsAtMs: 1_795_300_000_000,
    });
    expect(older("You've hit your limit · resets Mon 3pm")).toMatchObject({ cause: "usage-limit", resetsAtMs: null });
    expect(older("API Error: limit reached (not your usage limit) · resets 6am (UTC)")).toMatchObject({
      cause: "rate-limit",
    });
    expect(older("API Error: Request rejected (429) · concurrency limit reached")).toMatchObject({
      cause: "rate-limit",
    });
  });

  test("remedies name what a person can do", () => {
    expect(failureOf("error-404-model.ndjson").remedy).toContain("agents.<role>.model");
    expect(failureOf("error-no-credentials.ndjson").remedy).toMatch(/\/login.*ANTHROPIC_API_KEY/);
    expect(failureOf("error-401.ndjson").remedy).toContain("/login");
    expect(failureOf("error-529.ndjson").remedy).toBeNull();
  });

  test("a conversation that is gone or too long is not offered again", () => {
    expect(failureOf("resume-unknown-id.ndjson").sessionId).toBeNull();
    expect(failureOf("error-400-prompt-too-long.ndjson").sessionId).toBeNull();
    expect(failureOf("error-500.ndjson").sessionId).not.toBeNull();
  });

  test.each([
    ["error: unknown option '--nope'", "spawn-failed"],
    ["--dangerously-skip-permissions cannot be used with root/sudo privileges", "spawn-failed"],
    ["Error: Session ID 2c0e1ae9-5bf4-47e4-8c7f-3c81c5bc303d is already in use.", "crashed"],
    ["No conversation found with session ID: d12e62e6", "no-result"],
    ["Not logged in · Please run /login", "auth"],
  ])("a start that was refused with %j on stderr is %s", (stderrTail, cause) => {
    const { end } = read([], { exitCode: 1, stderrTail: `${stderrTail}\n` });
    expect(end).toMatchObject({ outcome: "failed", cause, sessionId: null });
    expect(end.outcome === "failed" && end.message).toContain(stderrTail.slice(0, 40));
  });
});

describe("A structured answer", () => {
  const outputSchema = { type: "object" };

  test("comes parsed", () => {
    const { end } = read([capture("structured-output.ndjson")], {}, { outputSchema });
    expect(end).toMatchObject({ outcome: "succeeded", structured: { name: "bob", n: 3 } });
  });

  test("that never came is no result although the CLI exits 0", () => {
    const turn = failureOf("structured-output-never-given.ndjson", { exitCode: 0 }, { outputSchema });
    expect(turn.cause).toBe("no-result");
    expect(turn.finalText).toBe("I refuse");
  });
});

describe("The CLI counts over the whole session; a turn's own use is the difference", () => {
  const whole = { tokens: { inputTokens: 20, outputTokens: 10, cachedInputTokens: 0 }, costUsd: 0.00028 };

  test("what the session had used before is taken off", () => {
    const totals = { tokens: { inputTokens: 15, outputTokens: 4, cachedInputTokens: 0 }, costUsd: 0.0002 };
    const { end } = read([capture("stream-tool-use.ndjson")], {}, { session: { id: "x", totals } });
    expect(end.usage).toEqual({ inputTokens: 5, outputTokens: 6, cachedInputTokens: 0 });
    expect(end.costUsd).toBeCloseTo(0.00008);
    expect(end.totals?.tokens).toEqual(whole.tokens);
  });

  test("a counter that began anew is added", () => {
    const totals = { tokens: { inputTokens: 1000, outputTokens: 400, cachedInputTokens: 0 }, costUsd: 1 };
    const { end } = read([capture("stream-tool-use.ndjson")], {}, { session: { id: "x", totals } });
    expect(end.usage).toEqual(whole.tokens);
    expect(end.totals).toMatchObject({ tokens: { inputTokens: 1020, outputTokens: 410 }, costUsd: 1.00028 });
  });

  test("a turn without a result leaves the totals as they were", () => {
    const { end } = read(["{}\n"], { signal: "SIGKILL", exitCode: null }, { session: { id: "x", totals: whole } });
    expect(end).toMatchObject({ usage: null, costUsd: null, totals: whole });
  });
});

test("any cut of the stream gives the same events and the same end", () => {
  const names = [
    "stream-tool-use.ndjson",
    "subagent.ndjson",
    "error-529-fallback-model.ndjson",
    "permission-denied-default.ndjson",
    "background-task-two-results.ndjson",
    "error-429-usage-limit.ndjson",
  ];
  const texts = names.map((name) => `note é 漢 😀\n${capture(name)}`);
  const wholes = texts.map((text) => read([text]));
  fc.assert(
    fc.property(fc.nat(names.length - 1), fc.array(fc.nat(), { maxLength: 40 }), (index, places) => {
      expect(read(cut(texts[index] ?? "", places))).toEqual(wholes[index]);
    }),
    { numRuns: 200 },
  );
});
