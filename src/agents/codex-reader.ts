/**
 * Reads the events of `codex exec --json` (0.169). A turn is over at `turn.completed` or `turn.failed` and at nothing
 * else: `error` is printed for Codex's own retries too, and an item of type `error` is a warning.
 */
import type { AgentEvent, ProcessEnd, TokenUsage, TurnEnd, TurnReader, TurnRequest } from "./backend.ts";
import {
  classifyAbruptEnd,
  classifyTurnFailure,
  SANDBOX_REMEDY,
  type CodexFailure,
  withoutSecrets,
} from "./codex-failure.ts";
import { describeItem, type CodexItem } from "./codex-items.ts";
import { oneLine } from "./fields.ts";
import { JsonLines } from "./json-lines.ts";

/** The tool by which a satellite reports; after it no last words are needed. */
const REPORT_TOOL = "report_result";

const NO_TOKENS: TokenUsage = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 };

type Ending =
  | { readonly type: "completed"; readonly total: TokenUsage | null }
  | { readonly type: "failed"; readonly text: string };

interface CodexEvent {
  readonly type?: unknown;
  readonly thread_id?: unknown;
  readonly message?: unknown;
  readonly error?: { readonly message?: unknown };
  readonly usage?: Readonly<Record<string, unknown>>;
  readonly item?: CodexItem;
}

/** The reader of one turn. Pure: the same bytes, however cut, give the same events and end. */
export function readCodexTurn(request: TurnRequest): TurnReader {
  return new CodexReader(request);
}

class CodexReader implements TurnReader {
  readonly #request: TurnRequest;
  readonly #stdout = new JsonLines();
  #stderrRest = "";
  #threadId: string | null = null;
  #turnStarted = false;
  #ending: Ending | null = null;
  #lastError: string | null = null;
  #finalText = "";
  #hasReported = false;
  /** Tools that were started and not yet ended, by id. */
  readonly #running = new Set<string>();
  readonly #denials: string[] = [];
  /** A command or an edit got through, so that the sandbox works. */
  #sandboxWorked = false;
  #sandboxFailure: string | null = null;

  constructor(request: TurnRequest) {
    this.#request = request;
  }

  readStdout(chunk: string): AgentEvent[] {
    return this.#readLines(this.#stdout.push(chunk));
  }

  readStderr(chunk: string): AgentEvent[] {
    const lines = (this.#stderrRest + chunk).split("\n");
    this.#stderrRest = lines.pop() ?? "";
    for (const line of lines) this.#readStderrLine(line);
    return [];
  }

  end(end: ProcessEnd, nowMs: number): TurnEnd {
    this.#readLines(this.#stdout.end());
    this.#readStderrLine(this.#stderrRest);
    const total = this.#ending?.type === "completed" ? this.#ending.total : null;
    const failure = this.#failure(end, nowMs);
    const sessionId = this.#continuableThread(failure);
    const facts = {
      sessionId,
      usage: total === null ? null : ownUse(total, this.#baseline()),
      costUsd: null,
      // `turn.failed` tells no usage: the counters stay, and what it used is counted with the next turn that completes.
      totals: sessionId === null ? null : { tokens: total ?? this.#baseline(), costUsd: null },
      finalText: this.#finalText,
      structured: this.#request.outputSchema === null ? undefined : parseJson(this.#finalText),
      permissionDenials: this.#denials,
    };
    return failure === null ? { outcome: "succeeded", ...facts } : { outcome: "failed", ...facts, ...failure };
  }

  /** A thread is stored once its turn has begun (seen); a failed start leaves an earlier one as it was. */
  #continuableThread(failure: CodexFailure | null): string | null {
    if (this.#isOtherThread()) return null;
    if (this.#turnStarted) return this.#threadId;
    return failure?.cause === "no-result" ? null : (this.#request.session?.id ?? null);
  }

  #failure(end: ProcessEnd, nowMs: number): CodexFailure | null {
    const ending = this.#ending;
    if (ending === null) {
      const { exitCode, signal, stderrTail } = end;
      const abrupt = {
        exitCode,
        signal,
        stderr: stderrTail,
        lastError: this.#lastError,
        turnStarted: this.#turnStarted,
      };
      return classifyAbruptEnd(abrupt, nowMs);
    }
    if (this.#isOtherThread()) {
      const asked = this.#request.session?.id ?? "";
      return failed("no-result", `Codex did not continue thread ${asked} but began ${this.#threadId ?? "another"}`);
    }
    if (ending.type === "failed") return classifyTurnFailure(ending.text, nowMs);
    if (this.#sandboxFailure !== null && !this.#sandboxWorked) {
      return { ...failed("permission-denied", this.#sandboxFailure), remedy: SANDBOX_REMEDY };
    }
    if (this.#finalText.trim() === "" && !this.#hasReported) {
      return failed("no-result", "Codex ended its turn without an answer");
    }
    // Codex hands the schema on to the API and does not look at what comes back (seen).
    if (this.#request.outputSchema !== null && parseJson(this.#finalText) === undefined) {
      return failed("no-result", `the answer is not in the required form: ${oneLine(this.#finalText, 200)}`);
    }
    return null;
  }

  #readLines(lines: ReturnType<JsonLines["push"]>): AgentEvent[] {
    return lines.flatMap((line): AgentEvent[] => {
      if ("text" in line) return [{ type: "warning", message: line.text }];
      return this.#readEvent(line.json as CodexEvent);
    });
  }

  #readEvent(event: CodexEvent): AgentEvent[] {
    switch (event.type) {
      case "thread.started":
        this.#threadId = typeof event.thread_id === "string" ? event.thread_id : null;
        return this.#sessionEvents();
      case "turn.started":
        this.#turnStarted = true;
        return [];
      case "turn.completed":
        this.#ending = { type: "completed", total: readUsage(event.usage) };
        return [];
      case "turn.failed":
        this.#ending = { type: "failed", text: textOf(event.error?.message) };
        return [];
      case "error":
        return this.#readError(textOf(event.message));
      case "item.started":
      case "item.updated":
      case "item.completed":
        return event.item === undefined ? [] : this.#readItem(event.item, event.type === "item.completed");
      default:
        return [];
    }
  }

  #sessionEvents(): AgentEvent[] {
    if (this.#threadId === null) return [];
    if (!this.#isOtherThread()) return [{ type: "session", sessionId: this.#threadId }];
    const asked = this.#request.session?.id ?? "";
    return [{ type: "warning", message: `Codex began a new thread instead of continuing ${asked}` }];
  }

  /** Codex tells of each retry by an `error`; the last error is told again by `turn.failed`. */
  #readError(message: string): AgentEvent[] {
    if (message.startsWith("Reconnecting..."))
      return [{ type: "retrying", message: withoutSecrets(message), delayMs: null }];
    this.#lastError = message;
    return [];
  }

  #readItem(item: CodexItem, isCompleted: boolean): AgentEvent[] {
    if (item.type === "error") return isCompleted ? [{ type: "warning", message: textOf(item.message) }] : [];
    if (item.type === "agent_message") {
      if (!isCompleted) return [];
      this.#finalText = textOf(item.text);
      return [{ type: "text", text: this.#finalText }];
    }
    if (item.type === "reasoning") return isCompleted ? [{ type: "thinking", text: textOf(item.text) }] : [];
    const tool = describeItem(item);
    if (tool === null) return [];
    const events: AgentEvent[] = [];
    if (!this.#running.has(tool.id)) {
      this.#running.add(tool.id);
      events.push({ type: "tool-start", id: tool.id, name: tool.name, summary: tool.summary });
    }
    if (!isCompleted) return events;
    this.#running.delete(tool.id);
    this.#noteResult(item, tool.denial);
    events.push({ type: "tool-end", id: tool.id, isError: tool.isError, summary: tool.result });
    return events;
  }

  #noteResult(item: CodexItem, denial: string | null): void {
    if (denial !== null) this.#denials.push(denial);
    if (item.type === "mcp_tool_call" && item.tool === REPORT_TOOL && item.status === "completed") {
      this.#hasReported = true;
    }
    const usesSandbox = item.type === "command_execution" || item.type === "file_change";
    if (usesSandbox && item.status === "completed") this.#sandboxWorked = true;
    const bubblewrap = /^bwrap: .*$/m.exec(textOf(item.aggregated_output))?.[0];
    if (item.type === "command_execution" && item.status === "failed" && bubblewrap !== undefined) {
      this.#sandboxFailure = bubblewrap;
    }
  }

  /** What a sandbox or the approval policy refuses before it runs is told on stderr only, with no item. */
  #readStderrLine(line: string): void {
    const refusal =
      /tools::router: error=((?:patch rejected|approval policy is Never|.*rejected by user approval).*)$/.exec(
        line,
      )?.[1];
    if (refusal !== undefined)
      this.#denials.push(`${refusal.startsWith("patch") ? "apply_patch" : "shell"}: ${refusal}`);
  }

  #isOtherThread(): boolean {
    const asked = this.#request.session?.id;
    return asked !== undefined && this.#threadId !== null && this.#threadId.toLowerCase() !== asked.toLowerCase();
  }

  /** What the thread had used before this turn. */
  #baseline(): TokenUsage {
    return this.#isOtherThread() ? NO_TOKENS : (this.#request.session?.totals.tokens ?? NO_TOKENS);
  }
}

function failed(cause: "no-result" | "permission-denied", message: string): CodexFailure {
  return { cause, message, remedy: null, retryAfterMs: null, resetsAtMs: null };
}

/** Usage is told for the whole thread, over all its processes (seen); a counter that fell began again. */
function ownUse(total: TokenUsage, before: TokenUsage): TokenUsage {
  const own = (now: number, then: number) => (now >= then ? now - then : now);
  return {
    inputTokens: own(total.inputTokens, before.inputTokens),
    outputTokens: own(total.outputTokens, before.outputTokens),
    cachedInputTokens: own(total.cachedInputTokens, before.cachedInputTokens),
  };
}

function readUsage(usage: Readonly<Record<string, unknown>> | undefined): TokenUsage | null {
  const count = (name: string) => {
    const value = usage?.[name];
    return typeof value === "number" && Number.isFinite(value) ? value : null;
  };
  const inputTokens = count("input_tokens");
  const outputTokens = count("output_tokens");
  if (inputTokens === null || outputTokens === null) return null;
  return { inputTokens, outputTokens, cachedInputTokens: count("cached_input_tokens") ?? 0 };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
