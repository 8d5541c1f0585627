/**
 * A scripted Anthropic Messages API on loopback, for driving the real Claude Code (as a satellite or as the parent)
 * without a network and without a model.
 *
 * It owns an HTTP server and a record of what was asked. A script (a function of the request) says what each answer
 * is; the server only puts it into the wire format, streamed or not, as the request wants. It never decides anything
 * itself: a script that throws answers 500 and the error is kept in `errors`, so that a test can see it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** One request of the CLI to `POST /v1/messages`, read as far as scripts and tests need it. */
export interface MessagesRequest {
  /** Counted from 1 over the endpoint's life. */
  readonly number: number;
  readonly headers: IncomingMessage["headers"];
  /** The body as it was sent. */
  readonly body: Readonly<Record<string, unknown>>;
  /** The whole body as JSON text, for "does the model see this" questions. */
  readonly text: string;
  readonly model: string;
  readonly isStreamed: boolean;
  /** All text of the system prompt. */
  readonly system: string;
  /** Names of the tools whose schemas the model sees. */
  readonly toolNames: readonly string[];
  /** Texts of all messages of role `user` in order; the prompt is the last text block of the first. */
  readonly userTexts: readonly string[];
  /** Results of tools so far, in order. */
  readonly toolResults: readonly { readonly toolUseId: string; readonly isError: boolean; readonly text: string }[];
  /** Session id as the CLI tells it (`x-claude-code-session-id`). */
  readonly sessionId: string | null;
}

export interface ToolCall {
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
  /** Default: `toolu_<request>_<index>`. */
  readonly id?: string;
}

/** What the endpoint does next. */
export type ScriptedAnswer =
  /** The model speaks and, maybe, calls tools. Neither text nor calls: an empty answer. */
  | {
      readonly text?: string;
      readonly thinking?: string;
      readonly toolCalls?: readonly ToolCall[];
      /** Default: `tool_use` with calls, else `end_turn`. */
      readonly stopReason?: string;
      readonly inputTokens?: number;
      readonly outputTokens?: number;
      /** End the connection within the stream, after the first block's text. */
      readonly isCut?: boolean;
      /** Spread the stream over about this time, so that the model is seen to be writing. */
      readonly durationMs?: number;
    }
  /** An HTTP error in the API's own form. */
  | {
      readonly status: number;
      /** For instance `rate_limit_error`. */
      readonly errorType?: string;
      readonly message?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Takes the request and never answers (until `close`): not even headers, or nothing after the first event. */
  | { readonly hang: "headers" | "stream" }
  /** Closes the connection without an answer. */
  | { readonly drop: true };

export type Script = (request: MessagesRequest) => ScriptedAnswer | Promise<ScriptedAnswer>;

export interface AnthropicEndpoint {
  /** For `ANTHROPIC_BASE_URL`. */
  readonly url: string;
  /** Every message request so far. */
  readonly requests: readonly MessagesRequest[];
  /** `METHOD path` of everything else that was asked (answered 404). */
  readonly otherRequests: readonly string[];
  /** What scripts threw. */
  readonly errors: readonly unknown[];
  /** Replaces the script for the requests to come. */
  setScript(script: Script): void;
  /** Resolves when at least `count` message requests have come; rejects after `timeoutMs` (30 000). */
  waitForRequests(count: number, timeoutMs?: number): Promise<void>;
  /** Cuts all connections and stops listening. */
  close(): Promise<void>;
}

/** Starts the endpoint on a free port of 127.0.0.1. */
export async function startAnthropicEndpoint(script: Script): Promise<AnthropicEndpoint> {
  const requests: MessagesRequest[] = [];
  const otherRequests: string[] = [];
  const errors: unknown[] = [];
  const waiters = new Set<() => void>();
  const sockets = new Set<Socket>();
  let current = script;

  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (incoming.url ?? "").split("?")[0];
    const bodyText = await readAll(incoming);
    if (incoming.method !== "POST" || path !== "/v1/messages") {
      otherRequests.push(`${incoming.method} ${path}`);
      sendError(response, 404, "not_found_error", "scripted endpoint: no such path");
      return;
    }
    const request = parseRequest(requests.length + 1, incoming, bodyText);
    requests.push(request);
    for (const wake of waiters) wake();
    await send(response, request, await current(request));
  };

  const server: Server = createServer((incoming, response) => {
    answer(incoming, response).catch((error: unknown) => {
      errors.push(error);
      if (!response.headersSent) sendError(response, 500, "api_error", `the script threw: ${String(error)}`);
      else response.destroy();
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  // A TCP server's address is always this form.
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    otherRequests,
    errors,
    setScript: (next) => {
      current = next;
    },
    waitForRequests: (count, timeoutMs = 30_000) =>
      new Promise((resolve, reject) => {
        const finish = (end: () => void): void => {
          clearTimeout(timer);
          waiters.delete(check);
          end();
        };
        const check = (): void => {
          if (requests.length >= count) finish(resolve);
        };
        const timer = setTimeout(
          () => finish(() => reject(new Error(`${requests.length} of ${count} requests came within ${timeoutMs} ms`))),
          timeoutMs,
        );
        waiters.add(check);
        check();
      }),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A script that gives `answers` one after another, and the last one again when more is asked. */
export function inOrder(...answers: readonly (ScriptedAnswer | Script)[]): Script {
  let next = 0;
  return (request) => {
    const answer = answers[Math.min(next, answers.length - 1)];
    next += 1;
    if (answer === undefined) throw new Error("an empty script");
    return typeof answer === "function" ? answer(request) : answer;
  };
}

/** The environment that sends Claude Code to this endpoint, with its own folder for state and nothing else going out. */
export function claudeEnvironment(url: string, home: string): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "/usr/bin:/bin",
    HOME: home,
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: "dummy-key-for-loopback",
    DISABLE_TELEMETRY: "1",
    DISABLE_AUTOUPDATER: "1",
    DISABLE_ERROR_REPORTING: "1",
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  };
}

async function readAll(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function parseRequest(number: number, incoming: IncomingMessage, bodyText: string): MessagesRequest {
  const body = asRecord(JSON.parse(bodyText));
  const messages = asArray(body["messages"]).map(asRecord);
  const userBlocks = messages.filter((message) => message["role"] === "user").flatMap((message) => blocksOf(message));
  const sessionId = incoming.headers["x-claude-code-session-id"];
  return {
    number,
    headers: incoming.headers,
    body,
    text: bodyText,
    model: String(body["model"]),
    isStreamed: body["stream"] === true,
    system: textOf(body["system"]),
    toolNames: asArray(body["tools"]).map((tool) => String(asRecord(tool)["name"])),
    userTexts: userBlocks.filter((block) => block["type"] === "text").map((block) => String(block["text"])),
    toolResults: userBlocks
      .filter((block) => block["type"] === "tool_result")
      .map((block) => ({
        toolUseId: String(block["tool_use_id"]),
        isError: block["is_error"] === true,
        text: textOf(block["content"]),
      })),
    sessionId: typeof sessionId === "string" ? sessionId : null,
  };
}

async function send(response: ServerResponse, request: MessagesRequest, answer: ScriptedAnswer): Promise<void> {
  if ("hang" in answer) {
    if (answer.hang === "stream") {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
      const message = {
        id: `msg_${request.number}`,
        type: "message",
        role: "assistant",
        model: request.model,
        content: [],
      };
      const usage = { input_tokens: 10, output_tokens: 1 };
      const start = { type: "message_start", message: { ...message, stop_reason: null, stop_sequence: null, usage } };
      response.write(`event: message_start\ndata: ${JSON.stringify(start)}\n\n`);
    }
    // Ends when the client or `close` cuts the connection.
    await new Promise<void>((resolve) => response.on("close", () => resolve()));
    return;
  }
  if ("drop" in answer) {
    response.socket?.destroy();
    return;
  }
  if ("status" in answer) {
    const errorType = answer.errorType ?? errorTypeOf(answer.status);
    sendError(response, answer.status, errorType, answer.message ?? `scripted ${answer.status}`, answer.headers);
    return;
  }
  const content = contentOf(answer, request.number);
  const message = {
    id: `msg_${request.number}`,
    type: "message",
    role: "assistant",
    model: request.model,
    content,
    stop_reason: answer.stopReason ?? ((answer.toolCalls?.length ?? 0) > 0 ? "tool_use" : "end_turn"),
    stop_sequence: null,
    usage: {
      input_tokens: answer.inputTokens ?? 10,
      output_tokens: answer.outputTokens ?? 5,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
    },
  };
  if (request.isStreamed) await streamMessage(response, message, answer.isCut ?? false, answer.durationMs ?? 0);
  else response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(message));
}

const SLOW_DELTAS = 10;

type Block =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "thinking"; readonly thinking: string; readonly signature: string }
  | { readonly type: "tool_use"; readonly id: string; readonly name: string; readonly input: ToolCall["input"] };

function contentOf(
  answer: Exclude<ScriptedAnswer, { status: number } | { hang: string } | { drop: true }>,
  number: number,
) {
  const blocks: Block[] = [];
  if (answer.thinking !== undefined)
    blocks.push({ type: "thinking", thinking: answer.thinking, signature: "scripted" });
  if (answer.text !== undefined) blocks.push({ type: "text", text: answer.text });
  for (const [index, call] of (answer.toolCalls ?? []).entries()) {
    blocks.push({ type: "tool_use", id: call.id ?? `toolu_${number}_${index}`, name: call.name, input: call.input });
  }
  return blocks;
}

interface Message {
  readonly content: readonly Block[];
  readonly stop_reason: string;
  readonly usage: Readonly<Record<string, number>>;
}

/** The events of https://docs.anthropic.com/en/api/messages-streaming, each block in one delta or, slowly, in ten. */
async function streamMessage(
  response: ServerResponse,
  message: Message,
  isCut: boolean,
  durationMs: number,
): Promise<void> {
  const pauseMs = durationMs / (SLOW_DELTAS * Math.max(1, message.content.length));
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const event = (type: string, fields: Readonly<Record<string, unknown>>): void => {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  };
  const usage = { ...message.usage, output_tokens: 1 };
  event("message_start", { message: { ...message, content: [], stop_reason: null, usage } });
  for (const [index, block] of message.content.entries()) {
    event("content_block_start", { index, content_block: emptied(block) });
    for (const delta of deltasOf(block, durationMs > 0 ? SLOW_DELTAS : 1)) {
      event("content_block_delta", { index, delta });
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    if (isCut) {
      // What was written must be on its way first, or the client sees a connection that never answered.
      setImmediate(() => response.socket?.destroy());
      return;
    }
    event("content_block_stop", { index });
  }
  event("message_delta", {
    delta: { stop_reason: message.stop_reason, stop_sequence: null },
    usage: { output_tokens: message.usage["output_tokens"] },
  });
  event("message_stop", {});
  response.end();
}

function emptied(block: Block): Readonly<Record<string, unknown>> {
  switch (block.type) {
    case "text":
      return { ...block, text: "" };
    case "thinking":
      return { ...block, thinking: "", signature: "" };
    case "tool_use":
      return { ...block, input: {} };
  }
}

function deltasOf(block: Block, pieces: number): readonly Readonly<Record<string, unknown>>[] {
  switch (block.type) {
    case "text":
      return inPieces(block.text, pieces).map((text) => ({ type: "text_delta", text }));
    case "thinking":
      return [
        { type: "thinking_delta", thinking: block.thinking },
        { type: "signature_delta", signature: block.signature },
      ];
    case "tool_use":
      return inPieces(JSON.stringify(block.input), pieces).map((partial_json) => ({
        type: "input_json_delta",
        partial_json,
      }));
  }
}

function inPieces(text: string, count: number): string[] {
  const size = Math.max(1, Math.ceil(text.length / count));
  return Array.from({ length: Math.max(1, Math.ceil(text.length / size)) }, (_, index) =>
    text.slice(index * size, (index + 1) * size),
  );
}

function sendError(
  response: ServerResponse,
  status: number,
  type: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response
    .writeHead(status, { "content-type": "application/json", ...headers })
    .end(JSON.stringify({ type: "error", error: { type, message } }));
}

/** The API's own names: https://docs.anthropic.com/en/api/errors */
function errorTypeOf(status: number): string {
  const names: Readonly<Record<number, string>> = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
  };
  return names[status] ?? "api_error";
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  return value as Readonly<Record<string, unknown>>;
}

function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function blocksOf(message: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] {
  const content = message["content"];
  return typeof content === "string" ? [{ type: "text", text: content }] : asArray(content).map(asRecord);
}

/** Text of a string, or of an array of text blocks. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  return asArray(content)
    .map((block) => {
      const text = asRecord(block)["text"];
      return typeof text === "string" ? text : "";
    })
    .join("\n");
}
