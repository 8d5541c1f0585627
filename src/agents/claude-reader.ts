import type { AgentEvent, ProcessEnd, SessionTotals, TokenUsage, TurnEnd, TurnReader, TurnRequest } from "./backend.ts";
import { classifyClaudeEnd } from "./claude-failure.ts";
import { mcpToolPrefix } from "./claude-turn.ts";
import { fieldsOf, listOf, numberOf, oneLine, stringOf, type Fields } from "./fields.ts";
import { JsonLines, type OutputLine } from "./json-lines.ts";

/** What tells most about a call, for the tools whose input has one telling field. */
const TELLING_FIELDS = ["command", "file_path", "pattern", "url", "query", "description", "prompt"];

/**
 * Reads `--output-format=stream-json` of Claude Code 2.1.329. Unknown types and fields are passed over, and the order of
 * keys means nothing. A process can print several results (a task in the background that ends starts another turn): the
 * last one counts, and only when no turn began after it.
 */
export class ClaudeReader implements TurnReader {
  readonly #request: TurnRequest;
  readonly #reportTool: string | null;
  readonly #stdout = new JsonLines();
  readonly #stderr = new JsonLines();
  readonly #denials = new Map<string, string>();
  readonly #openReports = new Set<string>();
  #sessionId: string | null = null;
  #hasStarted = false;
  #hasModelSpoken = false;
  #hasReported = false;
  #isTurnOpen = false;
  #result: Fields | null = null;
  #apiError: Fields | null = null;
  #rateLimit: Fields = {};
  #lastText = "";
  #answer = "";
  #structured: unknown = null;
  #cumulative: SessionTotals | null = null;

  constructor(request: TurnRequest) {
    this.#request = request;
    this.#reportTool = request.mcpServer === null ? null : `${mcpToolPrefix(request.mcpServer)}__report_result`;
  }

  readStdout(chunk: string): AgentEvent[] {
    return this.#stdout.push(chunk).flatMap((line) => this.#readLine(line));
  }

  readStderr(chunk: string): AgentEvent[] {
    return this.#stderr.push(chunk).map(warningOf);
  }

  end(end: ProcessEnd, nowMs: number): TurnEnd {
    for (const line of this.#stdout.end()) this.#readLine(line);
    const failure = classifyClaudeEnd(
      {
        result: this.#isTurnOpen ? null : this.#result,
        apiError: this.#apiError,
        rateLimit: this.#rateLimit,
        hasStarted: this.#hasStarted,
        hasModelSpoken: this.#hasModelSpoken,
        hasAnswer: this.#answer.trim() !== "",
        hasReported: this.#hasReported,
        needsStructured: this.#request.outputSchema !== null,
        hasStructured: this.#structured !== null,
        hasCostFence: this.#request.maxCostUsd !== null,
      },
      end,
      nowMs,
    );
    const use = ownUse(this.#cumulative, this.#request.session?.totals ?? null);
    const facts = {
      sessionId: failure?.canContinue === false ? null : this.#sessionId,
      usage: use.own?.tokens ?? null,
      costUsd: use.own?.costUsd ?? null,
      totals: use.totals,
      finalText: failure === null && this.#answer.trim() !== "" ? this.#answer : this.#lastText,
      structured: this.#structured,
      permissionDenials: [...this.#denials.values()],
    };
    if (failure === null) return { ...facts, outcome: "succeeded" };
    const { cause, message, remedy, resetsAtMs } = failure;
    // How long a provider asked to wait is nowhere in the CLI's output (seen with retry-after 3600).
    return { ...facts, outcome: "failed", cause, message, remedy, retryAfterMs: null, resetsAtMs };
  }

  #readLine(line: OutputLine): AgentEvent[] {
    if (!("json" in line)) return [warningOf(line)];
    const event = fieldsOf(line.json);
    switch (event["type"]) {
      case "system":
        return this.#readSystem(event);
      case "assistant":
        return this.#readAssistant(event);
      case "user":
        return this.#readUser(event);
      case "rate_limit_event":
        this.#rateLimit = fieldsOf(event["rate_limit_info"]);
        return [];
      case "result":
        this.#readResult(event);
        return [{ type: "turn-over" }];
      default:
        return [];
    }
  }

  #readSystem(event: Fields): AgentEvent[] {
    switch (event["subtype"]) {
      case "init":
        return this.#readInit(event);
      case "api_retry":
        return [{ type: "retrying", message: retryMessage(event), delayMs: numberOf(event["retry_delay_ms"]) }];
      case "permission_denied": {
        const name = stringOf(event["tool_name"]) ?? "a tool";
        const what = stringOf(event["message"]) ?? "";
        this.#deny(stringOf(event["tool_use_id"]), `${name}: ${oneLine(what)}`);
        return [{ type: "warning", message: `${name} was denied: ${oneLine(what)}` }];
      }
      case "informational":
      case "notification":
      case "model_fallback":
      case "model_refusal_no_fallback": {
        const content = stringOf(event["content"]) ?? stringOf(event["message"]) ?? "";
        return content.trim() === "" ? [] : [{ type: "warning", message: oneLine(content, 500) }];
      }
      default:
        return [];
    }
  }

  /** Comes at the start of every turn of the process. */
  #readInit(event: Fields): AgentEvent[] {
    this.#hasStarted = true;
    this.#isTurnOpen = true;
    this.#apiError = null;
    const events: AgentEvent[] = [];
    const sessionId = stringOf(event["session_id"]);
    if (sessionId !== null && sessionId !== this.#sessionId) {
      this.#sessionId = sessionId;
      events.push({ type: "session", sessionId });
    }
    for (const server of listOf(event["mcp_servers"]).map(fieldsOf)) {
      const status = stringOf(server["status"]);
      if (status === null || status === "connected") continue;
      // The run goes on without it and ends with exit code 0.
      events.push({ type: "warning", message: `MCP server ${stringOf(server["name"]) ?? ""}: ${status}` });
    }
    return events;
  }

  /** One event for each content block. */
  #readAssistant(event: Fields): AgentEvent[] {
    const message = fieldsOf(event["message"]);
    const blocks = listOf(message["content"]).map(fieldsOf);
    const isOwn = stringOf(event["parent_tool_use_id"]) === null;
    if (event["is_api_error_message"] === true || message["model"] === "<synthetic>") {
      if (isOwn && event["is_api_error_message"] === true) this.#apiError = event;
      return blocks.map((block) => ({ type: "warning", message: oneLine(stringOf(block["text"]) ?? "", 500) }));
    }
    this.#hasModelSpoken = true;
    if (isOwn) this.#isTurnOpen = true;
    return blocks.flatMap((block) => this.#readBlock(block, isOwn));
  }

  #readBlock(block: Fields, isOwn: boolean): AgentEvent[] {
    switch (block["type"]) {
      case "text": {
        const text = stringOf(block["text"]) ?? "";
        if (text === "") return [];
        if (isOwn) this.#lastText = text;
        return [{ type: "text", text }];
      }
      case "thinking": {
        const text = stringOf(block["thinking"]) ?? "";
        return text === "" ? [] : [{ type: "thinking", text }];
      }
      case "tool_use": {
        const id = stringOf(block["id"]) ?? "";
        const name = stringOf(block["name"]) ?? "";
        if (name === this.#reportTool) this.#openReports.add(id);
        return [{ type: "tool-start", id, name, summary: inputSummary(block["input"]) }];
      }
      default:
        return [];
    }
  }

  /** Results of tools; texts among them are what the CLI itself put in. */
  #readUser(event: Fields): AgentEvent[] {
    if (event["isReplay"] === true) return [{ type: "heard", id: stringOf(event["uuid"]) ?? "" }];
    const results = listOf(fieldsOf(event["message"])["content"]).map(fieldsOf);
    return results
      .filter((block) => block["type"] === "tool_result")
      .map((block) => {
        const id = stringOf(block["tool_use_id"]) ?? "";
        const isError = block["is_error"] === true;
        if (this.#openReports.delete(id) && !isError) this.#hasReported = true;
        return { type: "tool-end", id, isError, summary: oneLine(contentText(block["content"])) };
      });
  }

  #readResult(event: Fields): void {
    this.#result = event;
    this.#isTurnOpen = false;
    for (const denial of listOf(event["permission_denials"]).map(fieldsOf)) {
      const name = stringOf(denial["tool_name"]) ?? "a tool";
      this.#deny(stringOf(denial["tool_use_id"]), `${name}: ${inputSummary(denial["tool_input"])}`);
    }
    if (event["is_error"] !== true) {
      const text = stringOf(event["result"]) ?? "";
      if (text.trim() !== "") this.#answer = text;
      if (event["structured_output"] !== undefined) this.#structured = event["structured_output"];
    }
    // A start that failed (unknown session) prints zeros of a session that it never opened.
    if (this.#hasStarted) this.#cumulative = totalsOf(event);
  }

  /** The result names each call again, with its input: that says more than the CLI's sentence did. */
  #deny(id: string | null, what: string): void {
    this.#denials.set(id ?? `unnamed ${this.#denials.size}`, what);
  }
}

/**
 * `total_cost_usd` and `modelUsage` are of the whole session so far, over all its processes; what is less than before
 * was counted from zero again (a process that could not read what the session had cost).
 */
function ownUse(
  cumulative: SessionTotals | null,
  before: SessionTotals | null,
): { own: SessionTotals | null; totals: SessionTotals | null } {
  if (cumulative === null) return { own: null, totals: before };
  if (before === null) return { own: cumulative, totals: cumulative };
  const own = combine(cumulative, before, -1);
  const values = [own.tokens.inputTokens, own.tokens.outputTokens, own.tokens.cachedInputTokens, own.costUsd ?? 0];
  // Sums of cents differ in their last binary digit.
  if (values.every((value) => value >= -1e-9)) return { own, totals: cumulative };
  return { own: cumulative, totals: combine(cumulative, before, 1) };
}

function combine(left: SessionTotals, right: SessionTotals, sign: 1 | -1): SessionTotals {
  return {
    tokens: {
      inputTokens: left.tokens.inputTokens + sign * right.tokens.inputTokens,
      outputTokens: left.tokens.outputTokens + sign * right.tokens.outputTokens,
      cachedInputTokens: left.tokens.cachedInputTokens + sign * right.tokens.cachedInputTokens,
    },
    costUsd: left.costUsd === null ? null : left.costUsd + sign * (right.costUsd ?? 0),
  };
}

/** `inputTokens` is all that went in, `cachedInputTokens` the part of it that was read from the cache. */
function totalsOf(result: Fields): SessionTotals {
  const models = Object.values(fieldsOf(result["modelUsage"])).map(fieldsOf);
  const sum = (field: string): number => models.reduce((total, model) => total + (numberOf(model[field]) ?? 0), 0);
  const cached = sum("cacheReadInputTokens");
  const tokens: TokenUsage = {
    inputTokens: sum("inputTokens") + sum("cacheCreationInputTokens") + cached,
    outputTokens: sum("outputTokens"),
    cachedInputTokens: cached,
  };
  return { tokens, costUsd: numberOf(result["total_cost_usd"]) };
}

function retryMessage(event: Fields): string {
  const status = numberOf(event["error_status"]);
  const error = stringOf(event["error"]) ?? "failed";
  const attempt = `try ${numberOf(event["attempt"]) ?? "?"} of ${numberOf(event["max_retries"]) ?? "?"}`;
  return `the model API: ${error}${status === null ? "" : ` (HTTP ${status})`}, ${attempt}`;
}

function inputSummary(input: unknown): string {
  const fields = fieldsOf(input);
  for (const name of TELLING_FIELDS) {
    const value = stringOf(fields[name]);
    if (value !== null) return oneLine(value);
  }
  return oneLine(JSON.stringify(input) ?? "");
}

function contentText(content: unknown): string {
  if (typeof content === "string") return content;
  return listOf(content)
    .map((block) => stringOf(fieldsOf(block)["text"]) ?? "")
    .join(" ");
}

function warningOf(line: OutputLine): AgentEvent {
  return { type: "warning", message: oneLine("json" in line ? JSON.stringify(line.json) : line.text, 500) };
}
