import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FailureCause } from "../../src/plan/failure-cause.ts";
import { capture, CAPTURE_NAMES, readCapture, readTurn, sessionOf, turnRequest } from "./codex-support.ts";

/** What each captured run is, FACTS of codex-cli 0.169. Those not named here succeeded. */
const CAUSES: Readonly<Record<string, FailureCause>> = {
  "error-200-not-sse": "transient",
  "error-400": "invalid-request",
  "error-400-context-length": "context-overflow",
  "error-400-invalid-prompt": "invalid-request",
  "error-401": "auth",
  "error-402": "billing",
  "error-403": "invalid-request",
  "error-403-othercode": "invalid-request",
  "error-403-plain": "invalid-request",
  "error-403-region": "invalid-request",
  "error-404": "invalid-request",
  "error-404-plain": "invalid-request",
  "error-413": "invalid-request",
  "error-429": "rate-limit",
  "error-429-body-hint": "rate-limit",
  "error-429-quota": "billing",
  "error-429-retry-after": "rate-limit",
  "error-429-retry-after-ms": "rate-limit",
  "error-429-usage-limit": "usage-limit",
  "error-500": "transient",
  "error-500-retry0": "transient",
  "error-502-html": "transient",
  "error-503": "transient",
  "error-529": "transient",
  "error-cut-retry0": "transient",
  "error-cut-stream": "transient",
  "error-dns": "crashed", // killed by the test while it waited
  "error-failed-context-length": "context-overflow",
  "error-failed-insufficient-quota": "billing",
  "error-failed-invalid-prompt": "invalid-request",
  "error-failed-overloaded": "transient",
  "error-failed-rate-limit": "rate-limit",
  "error-failed-server-error": "transient",
  "error-hang-3s": "crashed",
  "error-hang-stream-3s": "transient",
  "error-hang-stream-3s-retry1": "transient",
  "error-hang-stream-default": "crashed",
  "error-incomplete-content-filter": "invalid-request",
  "error-incomplete-max-output": "invalid-request",
  "error-refused": "crashed",
  "error-refused-no-unbounded": "transient",
  "exec-bad-config-type": "spawn-failed",
  "exec-cd-missing": "spawn-failed",
  "exec-codex-home-missing": "spawn-failed",
  "exec-empty-answer": "no-result",
  "exec-full-auto": "spawn-failed",
  "exec-missing-key": "auth",
  "exec-not-a-repo": "spawn-failed",
  "exec-output-schema-invalid-file": "spawn-failed",
  "exec-output-schema-missing-file": "spawn-failed",
  "exec-unknown-config-key-strict": "spawn-failed",
  "exec-unknown-flag": "spawn-failed",
  "exec-wire-api-chat": "spawn-failed",
  "mcp-no-command-required": "spawn-failed",
  "mcp-start-slow-45s-required-default": "transient",
  "process-npm-wrapper-sigkill": "crashed",
  "process-sigint": "crashed",
  "process-sigkill": "crashed",
  "process-sigterm": "crashed",
  "process-stdout-closed": "crashed",
  "prompt-invalid-utf8": "invalid-request",
  "prompt-none": "invalid-request",
  "prompt-over-1mib": "invalid-request",
  "prompt-stdin-left-open": "crashed",
  "resume-after-early-sigkill-0-killed": "crashed",
  "resume-after-early-sigkill-1-resumed": "no-result",
  "resume-after-sigkill-0-killed": "crashed",
  "resume-ephemeral": "no-result",
  "resume-other-codex-home": "no-result",
  "resume-sandbox-flag-after": "spawn-failed",
  "resume-unknown-id": "no-result",
  "resume-while-running": "transient",
  "sandbox-unavailable": "permission-denied",
};

describe("how a turn of Codex ended", () => {
  it.each(CAPTURE_NAMES)("%s is told as what it was", (name) => {
    const { end } = readCapture(name);
    expect(end.outcome === "failed" ? end.cause : "succeeded").toBe(CAUSES[name] ?? "succeeded");
    if (end.outcome === "failed") expect(end.message).toMatch(/^\S.{5,}$/);
  });

  it("causes that wait for a person come with a remedy", () => {
    for (const name of ["error-401", "exec-missing-key", "error-402", "sandbox-unavailable", "exec-unknown-flag"]) {
      const { end } = readCapture(name);
      expect(end.outcome === "failed" ? end.remedy : null, name).toMatch(/\S/);
    }
    expect(readCapture("error-401").end).toMatchObject({ remedy: expect.stringContaining("codex login") });
    expect(readCapture("exec-missing-key").end).toMatchObject({ remedy: expect.stringContaining("LAB_API_KEY") });
  });

  it("the provider's words are kept, also where they come as JSON", () => {
    expect(readCapture("error-400").end).toMatchObject({ message: "Invalid value" });
    expect(readCapture("exec-unknown-flag").end).toMatchObject({
      message: expect.stringContaining("unexpected argument '--nope'"),
    });
    expect(readCapture("exec-bad-config-type").end).toMatchObject({
      message: expect.stringContaining("in `model_providers.lab.request_max_retries`"),
    });
  });

  it("no key that a provider repeats, nor one in an address, is told on", () => {
    const text = "unexpected status 401 Unauthorized: Incorrect API key: sk-proj-abcdef123, url: https://u:secret@x/v1";
    const lines = [
      { type: "error", message: `Reconnecting... 1/5 (${text})` },
      { type: "turn.failed", error: { message: text } },
    ];
    const read = readTurn(turnRequest(), [lines.map((line) => JSON.stringify(line)).join("\n")], { exitCode: 1 });
    expect(JSON.stringify(read)).not.toMatch(/abcdef|secret/);
    expect(read.end).toMatchObject({ cause: "auth", message: expect.stringContaining("sk-…") });
  });

  it("R1: a rate limit that names its delay is waited for that long", () => {
    expect(readCapture("error-failed-rate-limit").end).toMatchObject({ retryAfterMs: 1500 });
    expect(readCapture("error-429").end).toMatchObject({ retryAfterMs: null });
  });

  it("R1: a usage limit ends when its words say, in local time", () => {
    const resetsAtMs = new Date(2026, 10, 21, 3, 6, 0).getTime();
    expect(readCapture("error-429-usage-limit").end).toMatchObject({ cause: "usage-limit", resetsAtMs });
  });

  it("exit code 0 alone is not success, and a turn that completed stays so whatever the exit code", () => {
    expect(readTurn(turnRequest(), [""], { exitCode: 0 }).end).toMatchObject({ outcome: "failed", cause: "crashed" });
    expect(readTurn(turnRequest(), [capture("exec-success").stdout], { exitCode: 101 }).end.outcome).toBe("succeeded");
  });

  it("an answer without words is none, unless the agent has reported", () => {
    const report = {
      type: "item.completed",
      item: {
        id: "item_0",
        type: "mcp_tool_call",
        server: "orchestrator-mcp",
        tool: "report_result",
        status: "completed",
      },
    };
    const [first, second, end] = capture("exec-empty-answer").stdout.trim().split("\n");
    const stdout = [first, second, JSON.stringify(report), end].join("\n");
    expect(readCapture("exec-empty-answer").end).toMatchObject({ cause: "no-result" });
    expect(readTurn(turnRequest(), [stdout]).end.outcome).toBe("succeeded");
  });

  it("a sandbox that let something through is not blamed for a command's own words", () => {
    const own = {
      id: "item_9",
      type: "command_execution",
      command: "x",
      aggregated_output: "bwrap: no\n",
      status: "failed",
    };
    const lines = capture("exec-command").stdout.trim().split("\n");
    const stdout = lines.toSpliced(-1, 0, JSON.stringify({ type: "item.completed", item: own })).join("\n");
    expect(readTurn(turnRequest(), [stdout]).end.outcome).toBe("succeeded");
  });

  it("words of tools on stderr are not taken for a failed start", () => {
    const stderr =
      "ERROR codex_core::tools::router: error=Failed to read file: No such file or directory (os error 2)\n";
    const stdout = capture("process-sigkill").stdout;
    expect(readTurn(turnRequest(), [stdout], { exitCode: 1, stderr }).end).toMatchObject({ cause: "crashed" });
  });
});

describe("what a turn of Codex tells", () => {
  it("B3: the thread, the texts, the last of which is the answer, and the tools as they run", () => {
    const { events, end } = readCapture("exec-command");
    expect(events).toEqual([
      { type: "session", sessionId: "01a1fbd6-fe4c-7be1-b969-490395c88f11" },
      { type: "text", text: "I will list." },
      { type: "tool-start", id: "item_1", name: "shell", summary: "ls -a; echo err >&2" },
      { type: "tool-end", id: "item_1", isError: false, summary: "exit code 0: err" },
      { type: "tool-start", id: "item_2", name: "shell", summary: "exit 3" },
      { type: "tool-end", id: "item_2", isError: true, summary: "exit code 3" },
      { type: "text", text: "Done." },
    ]);
    expect(end).toMatchObject({ outcome: "succeeded", finalText: "Done.", costUsd: null, structured: undefined });
    expect(end.sessionId).toBe("01a1fbd6-fe4c-7be1-b969-490395c88f11");
  });

  it("file changes, MCP calls, searches and subagents are tools, each started once and ended once", () => {
    for (const name of [
      "exec-file-change",
      "mcp-tool-results",
      "exec-web-search",
      "exec-subagent",
      "exec-parallel-commands",
    ]) {
      const { events } = readCapture(name);
      const starts = events.filter((event) => event.type === "tool-start").map(({ id }) => id);
      const ends = events.filter((event) => event.type === "tool-end").map(({ id }) => id);
      expect(starts.length, name).toBeGreaterThan(0);
      expect([...ends].sort(), name).toEqual([...starts].sort());
      expect(new Set(starts).size, name).toBe(starts.length);
    }
    expect(readCapture("mcp-approve-mode").events).toContainEqual(
      expect.objectContaining({ type: "tool-start", name: "lab.echo", summary: '{"text":"hi"}' }),
    );
  });

  it("an error that Codex retries is a retry, an item of type error a warning, and neither is the end", () => {
    const retried = readCapture("error-429-then-ok");
    expect(retried.events.filter(({ type }) => type === "retrying")).toHaveLength(2);
    expect(retried.end).toMatchObject({ outcome: "succeeded", finalText: "recovered" });
    const warned = readCapture("exec-unknown-config-key");
    expect(warned.events.filter(({ type }) => type === "warning")).toHaveLength(2);
  });

  it("what was denied is never silent", () => {
    expect(readCapture("mcp-approval-missing").end.permissionDenials).toEqual([
      "lab.echo: MCP tool call requires approval, but approval policy is never",
    ]);
    expect(readCapture("sandbox-commit-worktree-plain").end.permissionDenials).toEqual([
      expect.stringMatching(/^shell: .*index\.lock': Read-only file system/),
    ]);
    expect(readCapture("sandbox-apply-patch-outside").end.permissionDenials).toEqual([
      expect.stringMatching(/^apply_patch: patch rejected: writing outside of the project/),
    ]);
    expect(readCapture("sandbox-commit-escalated").end.permissionDenials).toEqual([
      expect.stringMatching(/^shell: approval policy is Never/),
    ]);
    expect(readCapture("exec-command").end.permissionDenials).toEqual([]);
  });

  it("an answer is parsed when a schema was asked for, and undefined when it does not fit JSON", () => {
    const outputSchema = { type: "object" };
    expect(readCapture("exec-output-schema", { outputSchema }).end.structured).toBeTypeOf("object");
    const notMet = readCapture("exec-output-schema-not-met", { outputSchema }).end;
    expect(notMet.structured).toBeUndefined();
    expect(notMet).toMatchObject({
      outcome: "failed",
      cause: "no-result",
      message: expect.stringContaining("not in the required form"),
    });
  });

  it("any cut of the stream gives the same events and the same end", () => {
    const names = CAPTURE_NAMES.filter((name) => capture(name).stdout !== "");
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.array(fc.nat(3000), { maxLength: 12 }), (name, cuts) => {
        const { stdout, exitCode, signal, stderr } = capture(name);
        const bounds = [0, ...cuts.map((cut) => cut % (stdout.length + 1)).sort((a, b) => a - b), stdout.length];
        const pieces = bounds.slice(1).map((bound, index) => stdout.slice(bounds[index], bound));
        const whole = readTurn(turnRequest(), [stdout], { exitCode, signal, stderr });
        expect(readTurn(turnRequest(), pieces, { exitCode, signal, stderr })).toEqual(whole);
      }),
    );
  });

  it("lines of another shape than expected are passed over or told, never fatal", () => {
    const odd = ["null", "[]", "3", "warning: x", "{", '{"type":"item.completed"}', '{"type":"turn.failed"}'];
    const items = ["command_execution", "file_change", "mcp_tool_call", "web_search", "todo_list", "new_kind", "error"];
    const lines = [...odd, ...items.map((type) => JSON.stringify({ type: "item.completed", item: { type } }))];
    const { end } = readTurn(turnRequest(), [`${lines.join("\n")}\n`], { exitCode: 1 });
    expect(end).toMatchObject({ outcome: "failed", sessionId: null });
  });
});

describe("S4: a continued thread", () => {
  const thread = "01a1fbdb-b278-75c2-bc5d-a8fedd7d0eed";

  it("tells the turn's own use: the CLI counts over the whole thread", () => {
    const first = readCapture("resume-0-first-turn").end;
    expect(first.usage).toEqual({ inputTokens: 100, outputTokens: 10, cachedInputTokens: 0 });
    const session = { id: thread, totals: first.totals ?? sessionOf(thread).totals };
    const second = readCapture("resume-1-second-turn", { session }).end;
    expect(second.usage).toEqual({ inputTokens: 100, outputTokens: 10, cachedInputTokens: 0 });
    expect(second.totals).toEqual({
      tokens: { inputTokens: 200, outputTokens: 20, cachedInputTokens: 0 },
      costUsd: null,
    });
  });

  it("keeps its counters over a failed turn, which tells none", () => {
    const session = sessionOf("01a1fbda-0258-7c42-b31a-b7ceb66abc7a", 700, 70, 7);
    const { end } = readCapture("error-429-quota", { session });
    expect(end).toMatchObject({ usage: null, sessionId: session.id, totals: session.totals });
  });

  it("is there still when its turn could not begin, unless Codex does not know it", () => {
    const session = sessionOf(thread, 10, 1);
    for (const name of ["resume-while-running", "exec-bad-config-type", "resume-sandbox-flag-after"]) {
      expect(readCapture(name, { session }).end, name).toMatchObject({ sessionId: thread, totals: session.totals });
    }
    expect(readCapture("resume-unknown-id", { session }).end).toMatchObject({ sessionId: null, totals: null });
  });

  it("is not promised before it is stored, which is when its first turn begins", () => {
    expect(readCapture("resume-after-early-sigkill-0-killed").end.sessionId).toBeNull();
    expect(readCapture("resume-after-sigkill-0-killed").end.sessionId).not.toBeNull();
  });

  it("that turns out to be another thread is a lost session, and not continued", () => {
    const asked = "01a1fbd8-0000-7000-8000-000000000000";
    const { end, events } = readCapture("resume-not-a-uuid", { session: sessionOf(asked, 50, 5) });
    expect(end).toMatchObject({ outcome: "failed", cause: "no-result", sessionId: null });
    expect(end).toMatchObject({ message: expect.stringContaining(asked) });
    expect(end.usage).toEqual({ inputTokens: 100, outputTokens: 10, cachedInputTokens: 0 });
    expect(events.some(({ type }) => type === "session")).toBe(false);
  });
});
