import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { TurnFailed } from "../../src/agents/backend.ts";
import { captureNames, gooseRequest, readAll, readCapture } from "./goose-requests.ts";

function failureOf(name: string, changes: Parameters<typeof gooseRequest>[0] = {}): TurnFailed {
  const { end } = readAll(readCapture(name), gooseRequest(changes));
  if (end.outcome !== "failed") throw new Error(`${name} was read as a success`);
  return end;
}

const firstTotals = { tokens: { inputTokens: 100, outputTokens: 10, cachedInputTokens: 0 }, costUsd: 0.00035 };

describe("Goose's output", () => {
  it("B4: a turn that the model ended succeeds, with its words, session and use", () => {
    const { events, end } = readAll(readCapture("success"));
    expect(events[0]).toEqual({ type: "session", sessionId: "orchestrator-a1" });
    expect(end).toMatchObject({
      outcome: "succeeded",
      sessionId: "orchestrator-a1",
      finalText: "All done: OK",
      usage: firstTotals.tokens,
      totals: firstTotals,
      permissionDenials: [],
      structured: null,
    });
  });

  it("B4: a continued turn tells its own use, not the whole session's", () => {
    const { end } = readAll(readCapture("resumed"), gooseRequest({ session: { id: "mine", totals: firstTotals } }));
    expect(end).toMatchObject({ outcome: "succeeded", sessionId: "mine", usage: firstTotals.tokens });
    expect(end.costUsd).toBeCloseTo(0.00035);
    expect(end.totals?.tokens.inputTokens).toBe(200);
  });

  it("tells cached tokens apart", () => {
    expect(readAll(readCapture("cached-tokens")).end.usage).toEqual({
      inputTokens: 100,
      outputTokens: 7,
      cachedInputTokens: 40,
    });
  });

  it("shows tools as they start and end, and gives only the last words as the final text", () => {
    const { events, end } = readAll(readCapture("tool-use"));
    expect(end.finalText).toBe("All done: OK");
    const start = events.find((event) => event.type === "tool-start");
    expect(start).toMatchObject({ name: "shell", summary: "echo hi; echo err >&2; exit 3" });
    expect(events.find((event) => event.type === "tool-end")).toMatchObject({ isError: true });
    // Streamed in pieces of a few letters, told as what was said.
    expect(events.filter((event) => event.type === "text").map((event) => event.text)).toEqual([
      "Let me look.",
      "All done: OK",
    ]);
  });

  it("a provider that gives all its messages one id does not glue them together", () => {
    const capture = readCapture("tool-use");
    const stdout = capture.stdout.replaceAll(/chatcmpl-\d+/g, "chatcmpl-same");
    expect(readAll({ ...capture, stdout }).end.finalText).toBe("All done: OK");
  });

  it("shows thinking apart from words", () => {
    const { events, end } = readAll(readCapture("thinking"));
    expect(events).toContainEqual({ type: "thinking", text: "hmm, so" });
    expect(end.finalText).toBe("finished");
  });

  it("a tool that the role has not is in the report as denied", () => {
    const { end } = readAll(readCapture("tool-not-offered"));
    expect(end.outcome).toBe("succeeded");
    expect(end.permissionDenials).toEqual([expect.stringContaining("write: ")]);
  });

  it("a name that the model made up is no denial", () => {
    const capture = readCapture("tool-not-offered");
    const stdout = capture.stdout.replaceAll("'write'", "'teleport'").replaceAll('"name":"write"', '"name":"teleport"');
    expect(readAll({ ...capture, stdout }).end.permissionDenials).toEqual([]);
  });

  it("a server that did not start is a warning, not silence", () => {
    const { events, end } = readAll(readCapture("mcp-start-failure"));
    expect(end.outcome).toBe("succeeded");
    const warning = events.find((event) => event.type === "warning");
    expect(warning?.message).toContain("Failed to start extension 'orchestrator-mcp'");
  });

  it("D1: a structured answer is parsed from the last words", () => {
    const { end } = readAll(readCapture("json-answer"), gooseRequest({ outputSchema: { type: "object" } }));
    expect(end).toMatchObject({ outcome: "succeeded", structured: { tasks: [1] } });
    expect(failureOf("success", { outputSchema: { type: "object" } })).toMatchObject({ cause: "no-result" });
  });
});

describe("R1: why a Goose turn failed, from what the real program printed", () => {
  const causes: Record<string, TurnFailed["cause"]> = {
    "output-limit": "turn-limit",
    "max-turns": "turn-limit",
    "error-400": "invalid-request",
    "error-401": "auth",
    "error-402": "billing",
    "error-403": "auth",
    "error-404": "invalid-request",
    "error-408": "transient",
    "error-409": "transient",
    "error-413": "context-overflow",
    "error-422": "invalid-request",
    "error-429": "rate-limit",
    "error-429-quota": "billing",
    "error-429-usage-limit": "usage-limit",
    "error-500": "transient",
    "error-502-html": "transient",
    "error-503": "transient",
    "error-529": "transient",
    "error-context": "context-overflow",
    "error-refused": "transient",
    "error-cut-before": "transient",
    "error-cut-after": "transient",
    "error-hang": "transient",
    "error-stall": "transient",
    "error-empty": "no-result",
    "error-after-tool": "transient",
    interrupted: "crashed",
    terminated: "crashed",
    "approval-needed": "permission-denied",
    "resume-unknown": "no-result",
    "unknown-provider": "spawn-failed",
    "no-provider": "auth",
    "no-key": "auth",
    "bad-flag": "spawn-failed",
  };
  const successes = [
    "success",
    "resumed",
    "tool-use",
    "mcp-call",
    "thinking",
    "cached-tokens",
    "tool-not-offered",
    "mcp-start-failure",
    "json-answer",
  ];

  it.each(Object.entries(causes))("%s: %s", (name, cause) => {
    const failure = failureOf(name);
    expect(failure.cause).toBe(cause);
    expect(failure.message).not.toMatch(/\n|Please (?:retry|resend)|Ran into this error: /);
    expect(failure.message).not.toBe("");
  });

  it("each capture is a success or has its cause here", () => {
    expect(captureNames.toSorted()).toEqual([...Object.keys(causes), ...successes].toSorted());
  });

  it("what waits for a person says what to do", () => {
    for (const [name, cause] of Object.entries(causes)) {
      const isForPeople = ["auth", "billing", "permission-denied", "spawn-failed", "invalid-request"].includes(cause);
      expect(failureOf(name).remedy === null, name).toBe(!isForPeople);
    }
    expect(failureOf("no-key").remedy).toContain("ANTHROPIC_API_KEY");
  });

  it("the time that the provider asks for is told", () => {
    expect(failureOf("error-429").retryAfterMs).toBe(80_000);
    expect(failureOf("error-429-quota").retryAfterMs).toBeNull();
  });

  it("a session is known once Goose wrote in it, and not where it never came to be", () => {
    expect(failureOf("error-401").sessionId).toBe("orchestrator-a1");
    expect(failureOf("terminated").sessionId).toBe("orchestrator-a1");
    expect(failureOf("no-provider").sessionId).toBeNull();
    expect(failureOf("resume-unknown", { session: { id: "gone", totals: firstTotals } }).sessionId).toBeNull();
  });

  it("words of the model are never taken for an error of Goose", () => {
    const capture = readCapture("success");
    const stdout = capture.stdout.replaceAll(/"text":"[^"]*"/g, '"text":"Network error: Rate limit exceeded (429)"');
    expect(readAll({ ...capture, stdout }).end.outcome).toBe("succeeded");
  });

  it("what was streamed before the connection broke is kept", () => {
    expect(failureOf("error-cut-after").finalText).toBe("partial words");
  });

  it("an interrupt is known although Goose prints a question in front of the event", () => {
    expect(readCapture("interrupted").stdout).toContain('do?{"type":"error"');
    expect(failureOf("interrupted").message).toBe("Headless run interrupted");
  });

  it("what a server printed is not taken for Goose's own error", () => {
    const stderr = "keyring: Authentication is required\nNo provider configured\n";
    const capture = { stdout: "", stderr, exitCode: 101, signal: null };
    expect(readAll(capture).end).toMatchObject({ outcome: "failed", cause: "crashed" });
  });

  it("exit code 0 without the end event is no success", () => {
    const capture = readCapture("success");
    const stdout = capture.stdout.slice(0, capture.stdout.indexOf('{"type":"complete"'));
    expect(readAll({ ...capture, stdout }).end).toMatchObject({ outcome: "failed", cause: "crashed", usage: null });
    expect(readAll({ ...capture, stdout: "" }).end).toMatchObject({ outcome: "failed", cause: "crashed" });
  });

  it("an exit code other than 0 is no success, whatever was printed", () => {
    expect(readAll({ ...readCapture("success"), exitCode: 101 }).end).toMatchObject({ cause: "crashed" });
  });

  it("without an end event a continued session keeps the counters it had", () => {
    const session = { id: "mine", totals: firstTotals };
    expect(failureOf("terminated", { session }).totals).toEqual(firstTotals);
  });
});

describe("B6: any cut of the stream reads alike", () => {
  it.each(captureNames)("%s", (name) => {
    const capture = readCapture(name);
    const whole = readAll(capture);
    const cuts = fc.array(fc.nat({ max: capture.stdout.length }), { maxLength: 40 });
    fc.assert(
      fc.property(cuts, (positions) => {
        expect(readAll(capture, gooseRequest(), positions)).toEqual(whole);
      }),
      { numRuns: 25 },
    );
  });

  it("never throws on what is not Goose's output", () => {
    const line = fc.oneof(
      fc.string(),
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc.jsonValue().map((message) => JSON.stringify({ type: "message", message })),
      fc
        .record({ role: fc.constant("assistant"), metadata: fc.jsonValue(), content: fc.jsonValue() })
        .map((message) => JSON.stringify({ type: "message", message })),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        readAll({ stdout: lines.join("\n"), stderr: lines.join("\n"), exitCode: 0, signal: null });
      }),
    );
  });
});
