/** The far end of a session, scripted: answers operations from a table and lets a test make events happen. */
import type { EngineClient } from "../../src/engine/client.ts";
import { sessionOf, type EngineSession } from "../../src/cli/engine-session.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import { AppError } from "../../src/errors.ts";
import type { EventBody, StoredEvent } from "../../src/events/event.ts";
import { textOf } from "../../src/cli/styled.ts";

export type Answer = (input: Record<string, unknown>) => object;

export interface FakeEngine {
  readonly session: EngineSession;
  readonly client: EngineClient;
  readonly calls: { readonly name: string; readonly input: Record<string, unknown> }[];
  /** An event of plan `p`. */
  happen(body: EventBody, taskId?: string | null): void;
  /** What the client sees when the engine was stopped. */
  stop(): void;
}

export function fakeEngine(answers: Record<string, Answer>): FakeEngine {
  const calls: FakeEngine["calls"] = [];
  let listener: (event: { readonly seq: number }) => void = () => undefined;
  let seq = 0;
  let end: () => void = () => undefined;
  const client: EngineClient = {
    role: "operator",
    engineId: "engine",
    engineVersion: "0.0.0",
    isRestartPending: false,
    call: (name, input) => {
      const fields = input as Record<string, unknown>;
      calls.push({ name, input: fields });
      try {
        const structured = (answers[name] ?? missing(name))(fields) as Record<string, unknown>;
        return Promise.resolve({ ok: true, structured: { seq, ...structured }, text: "" });
      } catch (thrown) {
        if (!(thrown instanceof AppError)) throw thrown;
        const { code, message, details } = thrown;
        return Promise.resolve({ ok: false, code, message, details });
      }
    },
    subscribe: (_since, onEvent) => {
      listener = onEvent;
      return { ended: new Promise<void>((resolve) => (end = resolve)), close: () => end() };
    },
    close: () => undefined,
  };
  const repository = { commonDir: "/r/.git", mainWorktree: "/r", worktreeRoot: "/r", place: "/r" };
  return {
    client,
    calls,
    session: sessionOf(client, repository),
    happen: (body, taskId = null) => {
      seq += 1;
      const event: StoredEvent = { seq, atMs: 0, planId: "p", taskId, attemptId: null, body };
      listener(event);
    },
    stop: () => end(),
  };
}

function missing(name: string): Answer {
  return () => {
    throw new AppError("INTERNAL", `the test has no answer for ${name}`);
  };
}

export interface FakeTerminal extends Terminal {
  readonly printed: string[];
  readonly noted: string[];
  readonly json: unknown[];
  readonly raw: string[];
}

export function fakeTerminal(facts: Partial<Pick<Terminal, "isInteractive">> = {}): FakeTerminal {
  const [printed, noted, json, raw]: [string[], string[], unknown[], string[]] = [[], [], [], []];
  return {
    isInteractive: false,
    hasColor: false,
    canAsk: false,
    exitCodeOnClosedOutput: 0,
    ...facts,
    columns: () => 80,
    rows: () => 24,
    print: (...lines) => void printed.push(...lines.map((line) => (typeof line === "string" ? line : textOf(line)))),
    note: (...lines) => void noted.push(...lines.map((line) => (typeof line === "string" ? line : textOf(line)))),
    printJson: (value) => void json.push(value),
    writeRaw: (text) => void raw.push(text),
    ask: () => Promise.resolve(false),
    onResize: () => () => undefined,
    printed,
    noted,
    json,
    raw,
  };
}
