import type { AgentEvent, ProcessEnd, SessionTotals, TokenUsage, TurnEnd, TurnReader, TurnRequest } from "./backend.ts";
import { fieldsOf, listOf, numberOf, oneLine, stringOf, type Fields } from "./fields.ts";
import {
  authFailure,
  billingFailure,
  classifyOwnWords,
  classifyStartUp,
  plainWords,
  type GooseFailure,
} from "./goose-failures.ts";
import { findJson } from "./goose-structured.ts";
import { gooseSessionName } from "./goose-session.ts";
import { isGooseTool } from "./goose-tools.ts";
import { JsonLines, type OutputLine } from "./json-lines.ts";

/** Enough of what is printed besides JSON to find a start-up error in it. */
const MAX_PRINTED_LENGTH = 16 * 1024;
const NO_TOKENS: TokenUsage = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 };

/** Reads `--output-format stream-json` of Goose 1.52. */
export function readGooseTurn(request: TurnRequest): TurnReader {
  return new GooseReader(request);
}

/**
 * The run in prose: Goose prints one `message` event for each piece, streamed text as many with one id, and at the end
 * `complete` (or `error`, with exit code 1). Exit code 0 and `complete` are no success: most errors come as an
 * assistant message in Goose's own words. The structural difference is `metadata.inference`, which only a message of
 * the model has. So a turn succeeded when `complete` came and the last assistant message is the model's.
 */
class GooseReader implements TurnReader {
  readonly #request: TurnRequest;
  readonly #stdout = new JsonLines();
  readonly #stderr = new JsonLines();
  readonly #toolNames = new Map<string, string>();
  readonly #denials: string[] = [];
  #printed = "";
  #sessionId: string | null = null;
  /** The model's words of the message that is being, or was last, streamed. */
  #text = "";
  #textId: string | null = null;
  /** Where in `#text` the words begin that no event has told yet. */
  #toldLength = 0;
  /** What Goose said itself after the model's last message. */
  #failure: GooseFailure | null = null;
  #hasAnswer = false;
  #isCut = false;
  #errorText: string | null = null;
  #complete: Fields | null = null;

  constructor(request: TurnRequest) {
    this.#request = request;
  }

  readStdout(chunk: string): AgentEvent[] {
    return this.#stdout.push(chunk).flatMap((line) => this.#readLine(line));
  }

  readStderr(chunk: string): AgentEvent[] {
    return this.#stderr.push(chunk).flatMap((line) => this.#readStderrLine(line));
  }

  end(end: ProcessEnd): TurnEnd {
    for (const line of this.#stdout.end()) this.#readLine(line);
    for (const line of this.#stderr.end()) this.#readStderrLine(line);
    const totals = this.#totals();
    const before = this.#request.session?.totals ?? { tokens: NO_TOKENS, costUsd: null };
    const structured = this.#request.outputSchema === null ? null : (findJson(this.#text) ?? null);
    const isNew = totals !== null;
    const facts = {
      sessionId: this.#sessionId,
      usage: isNew ? difference(totals.tokens, before.tokens) : null,
      costUsd: isNew && totals.costUsd !== null ? Math.max(0, totals.costUsd - (before.costUsd ?? 0)) : null,
      totals: totals ?? this.#request.session?.totals ?? null,
      finalText: this.#text,
      structured,
      permissionDenials: this.#denials,
    };
    const failure = this.#decide(end, structured);
    if (failure === null) return { outcome: "succeeded", ...facts };
    return { outcome: "failed", ...facts, ...failure, resetsAtMs: null };
  }

  #decide(end: ProcessEnd, structured: unknown): GooseFailure | null {
    if (end.signal !== null) return crashed(`goose was ended by ${end.signal}`);
    // The error event repeats the words of a message that came before it and was classified.
    if (this.#errorText !== null) {
      if (this.#failure !== null && this.#failure.cause === "auth") return this.#failure;
      if (/interrupted/i.test(this.#errorText)) return crashed(this.#errorText);
      return classifyOwnWords(this.#errorText);
    }
    if (end.exitCode !== 0 || this.#complete === null) {
      const printed = `${this.#printed}\n${end.stderrTail}`;
      const known = classifyStartUp(printed, end.exitCode);
      if (known !== null) return known;
      const lastLine = printed.trim().split("\n").at(-1) ?? "";
      return crashed(
        `goose ended with exit code ${end.exitCode} and no end event${lastLine === "" ? "" : `: ${lastLine}`}`,
      );
    }
    if (this.#failure !== null) return this.#failure;
    if (!this.#hasAnswer) return noResult("goose ended without an answer of the model");
    if (this.#isCut) {
      const message = "the answer was cut at the model's output limit";
      return { cause: "turn-limit", message, remedy: null, retryAfterMs: null };
    }
    if (this.#request.outputSchema !== null && structured === null) return noResult("the answer holds no JSON");
    return null;
  }

  #readLine(line: OutputLine): AgentEvent[] {
    if ("json" in line) return this.#readEvent(fieldsOf(line.json));
    // At an interrupt Goose prints a question to the user, glued in front of the next event.
    const start = line.text.indexOf('{"type":"');
    if (start > 0) {
      const rest = parse(line.text.slice(start));
      if (rest !== null) return this.#readEvent(rest);
    }
    this.#print(line.text);
    return [];
  }

  #readStderrLine(line: OutputLine): AgentEvent[] {
    if (!("text" in line)) return [];
    this.#print(line.text);
    const isWarning = /^\s*(?:⚠|Warning:)/.test(line.text);
    return isWarning
      ? [{ type: "warning", message: oneLine(line.text.replace(/^\s*(?:⚠\s*|Warning:\s*)/, ""), 500) }]
      : [];
  }

  #print(text: string): void {
    if (this.#printed.length < MAX_PRINTED_LENGTH) this.#printed += `${text}\n`.slice(0, MAX_PRINTED_LENGTH);
  }

  #readEvent(event: Fields): AgentEvent[] {
    switch (event["type"]) {
      case "message":
        return [...this.#noteSession(), ...this.#readMessage(fieldsOf(event["message"]))];
      case "complete":
        this.#complete = event;
        return this.#tellText();
      case "error":
        this.#errorText = textOf(event["error"]);
        return this.#tellText();
      default:
        // Notifications: progress and log lines of tools.
        return [];
    }
  }

  /** Known to exist once Goose writes a message; a run that fails before it may have made none. */
  #noteSession(): AgentEvent[] {
    if (this.#sessionId !== null) return [];
    this.#sessionId = this.#request.session?.id ?? gooseSessionName(this.#request.attemptId);
    return [{ type: "session", sessionId: this.#sessionId }];
  }

  #readMessage(message: Fields): AgentEvent[] {
    const metadata = fieldsOf(message["metadata"]);
    const content = listOf(message["content"]).map(fieldsOf);
    if (message["role"] === "user") return content.flatMap((part) => this.#readToolResponse(part));
    if (metadata["inference"] === undefined) {
      return [...this.#tellText(), ...content.flatMap((part) => this.#readOwnWords(part))];
    }
    this.#failure = null;
    this.#hasAnswer = true;
    this.#isCut = metadata["outputTokenLimitReached"] === true;
    return content.flatMap((part) => this.#readModelPart(part, textOf(message["id"])));
  }

  #readModelPart(part: Fields, messageId: string): AgentEvent[] {
    switch (part["type"]) {
      case "text": {
        const told = this.#textId === messageId ? [] : this.#beginText(messageId);
        this.#text += textOf(part["text"]);
        return told;
      }
      case "thinking":
        return [...this.#tellText(), { type: "thinking", text: textOf(part["thinking"]) }];
      case "toolRequest":
        return [...this.#tellText(), this.#startTool(part)];
      default:
        return [];
    }
  }

  #beginText(messageId: string): AgentEvent[] {
    const told = this.#tellText();
    this.#text = "";
    this.#toldLength = 0;
    this.#textId = messageId;
    return told;
  }

  /** Words come in pieces of a few letters; what they say is told in one, when something else follows. */
  #tellText(): AgentEvent[] {
    const text = this.#text.slice(this.#toldLength);
    this.#toldLength = this.#text.length;
    return text === "" ? [] : [{ type: "text", text }];
  }

  #startTool(part: Fields): AgentEvent {
    const toolCall = fieldsOf(part["toolCall"]);
    const value = fieldsOf(toolCall["value"]);
    const id = textOf(part["id"]);
    const name = textOf(value["name"]) || (/Tool '([^']*)'/.exec(textOf(toolCall["error"]))?.[1] ?? "unknown");
    this.#toolNames.set(id, name);
    // Text after a tool is a new message, also where a provider gives all of them one id.
    this.#textId = null;
    const told = fieldsOf(value["arguments"]);
    const shown = told["command"] ?? told["path"] ?? (value["arguments"] === undefined ? "" : JSON.stringify(told));
    return {
      type: "tool-start",
      id,
      name,
      summary: oneLine(typeof shown === "string" ? shown : JSON.stringify(shown)),
    };
  }

  #readToolResponse(part: Fields): AgentEvent[] {
    if (part["type"] !== "toolResponse") return [];
    const id = textOf(part["id"]);
    const result = fieldsOf(part["toolResult"]);
    const value = fieldsOf(result["value"]);
    const parts = listOf(value["content"]).map(fieldsOf);
    const text = textOf(result["error"]) || parts.map((content) => textOf(content["text"])).join("\n");
    const isError = result["status"] === "error" || value["isError"] === true;
    const name = this.#toolNames.get(id) ?? "unknown";
    if (isError && isDenial(name, text)) this.#denials.push(`${name}: ${oneLine(text)}`);
    this.#textId = null;
    return [{ type: "tool-end", id, isError, summary: oneLine(text) }];
  }

  #readOwnWords(part: Fields): AgentEvent[] {
    switch (part["type"]) {
      case "text": {
        const words = textOf(part["text"]);
        this.#failure = classifyOwnWords(words);
        return [{ type: "warning", message: oneLine(plainWords(words), 500) }];
      }
      case "error": {
        const words = textOf(part["message"]);
        this.#failure = part["kind"] === "authentication" ? authFailure(words) : classifyOwnWords(words);
        return [{ type: "warning", message: oneLine(plainWords(words), 500) }];
      }
      case "systemNotification": {
        const words = textOf(part["msg"]);
        // The other kinds are remarks ("Compacting to continue conversation..."), after which the model goes on.
        if (part["notificationType"] === "creditsExhausted") this.#failure = billingFailure(words);
        return [{ type: "warning", message: oneLine(plainWords(words), 500) }];
      }
      default:
        return [];
    }
  }

  /** `complete` counts the whole session. */
  #totals(): SessionTotals | null {
    const complete = this.#complete;
    if (complete === null) return null;
    const tokens = {
      inputTokens: numberOf(complete["input_tokens"]) ?? 0,
      outputTokens: numberOf(complete["output_tokens"]) ?? 0,
      cachedInputTokens: numberOf(complete["cache_read_input_tokens"]) ?? 0,
    };
    return { tokens, costUsd: numberOf(complete["cost_usd"]) };
  }
}

function textOf(value: unknown): string {
  return stringOf(value) ?? "";
}

/** A tool that Goose has but the role has not, or one that a rule or hook of the user forbids; not an invented name. */
function isDenial(name: string, text: string): boolean {
  if (/has declined|denied by policy hook|blocked because policy hook/.test(text)) return true;
  return /was not advertised/.test(text) && isGooseTool(name);
}

function parse(text: string): Fields | null {
  try {
    return fieldsOf(JSON.parse(text));
  } catch {
    return null;
  }
}

function difference(now: TokenUsage, before: TokenUsage): TokenUsage {
  return {
    inputTokens: Math.max(0, now.inputTokens - before.inputTokens),
    outputTokens: Math.max(0, now.outputTokens - before.outputTokens),
    cachedInputTokens: Math.max(0, now.cachedInputTokens - before.cachedInputTokens),
  };
}

function crashed(message: string): GooseFailure {
  return { cause: "crashed", message: plainWords(message), remedy: null, retryAfterMs: null };
}

function noResult(message: string): GooseFailure {
  return { cause: "no-result", message, remedy: null, retryAfterMs: null };
}
