/**
 * A scripted model on loopback that speaks OpenAI's chat completions (streaming), so that the real agent CLIs can be
 * driven with no network and no key: `GET …/models` and `POST …/chat/completions`. What it answers is the test's
 * function of the request; every request is recorded. It never reaches out and never writes a file.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** One call of a tool by the model. */
export interface ChatToolCall {
  readonly name: string;
  /** Sent as JSON text, as a model does. A string is sent as it is, also when it is no JSON. */
  readonly arguments: Readonly<Record<string, unknown>> | string;
}

export interface ChatUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details?: { readonly cached_tokens: number };
}

/** What the model answers. Fields of `say` may be combined: thinking, then text, then tool calls. */
export type ChatReply =
  | {
      readonly say: string;
      readonly thinking?: string;
      readonly tools?: readonly ChatToolCall[];
      /** Default: `tool_calls` with tools, else `stop`. */
      readonly finishReason?: string;
      /** Default 100 in, 10 out. */
      readonly usage?: ChatUsage;
    }
  /** An HTTP answer as it is; `body` as JSON unless it is a string. */
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body: unknown }
  /** Nothing comes: `headers` neither status nor body, `first-chunk` only the status. Ends with `close()`. */
  | { readonly hang: "headers" | "first-chunk" }
  /** The connection breaks after `say` was streamed (an empty one: before anything of the body). */
  | { readonly cut: string }
  /** `say` is streamed and then nothing more comes, on an open connection. */
  | { readonly stall: string };

export interface ChatMessage {
  readonly role: string;
  /** As sent: text, or parts. See `textOf`. */
  readonly content?: unknown;
  readonly tool_calls?: readonly { readonly id: string; readonly function: { name: string; arguments: string } }[];
  readonly tool_call_id?: string;
}

/** A recorded completion request. */
export interface ChatRequest {
  /** Counted from 0 over the endpoint's life. */
  readonly index: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  /** Names of the tools that were offered. */
  readonly toolNames: readonly string[];
  /** The whole body. */
  readonly body: Readonly<Record<string, unknown>>;
}

export type ChatScript = (request: ChatRequest) => ChatReply | Promise<ChatReply>;

export interface ChatEndpoint {
  /** `http://127.0.0.1:PORT`, with no path. */
  readonly url: string;
  readonly port: number;
  /** Completion requests, in the order of their arrival. */
  readonly requests: readonly ChatRequest[];
  /** Method and path of every request, `GET /v1/models` too. */
  readonly seen: readonly string[];
  /** Answers from now on with another script, and forgets what was recorded. */
  restart(script: ChatScript): void;
  /** Breaks open connections and closes. */
  close(): Promise<void>;
}

/** Starts an endpoint on a free loopback port. A script that throws is answered with a 500 that tells the message. */
export async function startChatEndpoint(script: ChatScript): Promise<ChatEndpoint> {
  const requests: ChatRequest[] = [];
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  let current = script;
  const server = createServer((incoming, response) => {
    seen.push(`${incoming.method} ${incoming.url}`);
    void answer(incoming, response, requests, (request) => current(request)).catch((thrown: unknown) => {
      if (!response.headersSent) sendJson(response, 500, {}, { error: { message: String(thrown) } });
      else response.destroy();
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    seen,
    restart(next) {
      current = next;
      requests.length = 0;
      seen.length = 0;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((closed) => server.close(() => closed()));
    },
  };
}

/** A script that gives `replies` one after the other and repeats the last. */
export function inTurn(...replies: readonly ChatReply[]): ChatScript {
  let next = 0;
  return () => {
    const reply = replies[Math.min(next, replies.length - 1)];
    next += 1;
    if (reply === undefined) throw new Error("a script needs at least one reply");
    return reply;
  };
}

/** The text of a message: its string, or the text parts of its content one after the other. */
export function textOf(message: ChatMessage | undefined): string {
  const content = message?.content;
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part: { text?: unknown }) => (typeof part.text === "string" ? part.text : "")).join("");
}

/** The texts of the messages of one role, oldest first. */
export function textsOf(request: ChatRequest | undefined, role: string): string[] {
  return (request?.messages ?? []).filter((message) => message.role === role).map(textOf);
}

/** The text of the newest tool result in the request; empty when there is none. */
export function lastToolResult(request: ChatRequest | undefined): string {
  return textsOf(request, "tool").at(-1) ?? "";
}

async function answer(
  incoming: IncomingMessage,
  response: ServerResponse,
  requests: ChatRequest[],
  script: ChatScript,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const path = incoming.url ?? "";
  if (incoming.method === "GET" && path.endsWith("/models")) {
    const model = { id: "scripted", object: "model", owned_by: "test" };
    sendJson(response, 200, {}, { object: "list", data: [model] });
    return;
  }
  if (incoming.method !== "POST" || !path.endsWith("/chat/completions")) {
    sendJson(response, 404, {}, { error: { message: `no such path: ${incoming.method} ${path}` } });
    return;
  }
  const body = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>;
  const tools = (body["tools"] ?? []) as { function: { name: string } }[];
  const request: ChatRequest = {
    index: requests.length,
    path,
    headers: incoming.headers,
    model: String(body["model"]),
    messages: body["messages"] as ChatMessage[],
    toolNames: tools.map((tool) => tool.function.name),
    body,
  };
  requests.push(request);
  send(response, request, await script(request));
}

function send(response: ServerResponse, request: ChatRequest, reply: ChatReply): void {
  if ("status" in reply) {
    sendJson(response, reply.status, reply.headers ?? {}, reply.body);
    return;
  }
  if ("hang" in reply && reply.hang === "headers") return;
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
  if ("hang" in reply) return;
  const text = "cut" in reply ? reply.cut : "stall" in reply ? reply.stall : reply.say;
  const stream = new CompletionStream(response, request);
  if ("say" in reply && reply.thinking !== undefined) stream.delta({ reasoning_content: reply.thinking });
  stream.text(text);
  if ("stall" in reply) return;
  if ("cut" in reply) {
    // The bytes must leave before the connection breaks, else the client never sees the first part.
    response.write(": the end\n\n", () => response.destroy());
    return;
  }
  stream.finish(reply.tools ?? [], reply.finishReason, reply.usage);
}

/** Writes server-sent events as OpenAI does, the text in a few pieces. */
class CompletionStream {
  readonly #response: ServerResponse;
  readonly #request: ChatRequest;

  constructor(response: ServerResponse, request: ChatRequest) {
    this.#response = response;
    this.#request = request;
  }

  delta(delta: unknown, finishReason: string | null = null): void {
    this.#event({ choices: [{ index: 0, delta, finish_reason: finishReason }] });
  }

  text(text: string): void {
    const pieceLength = Math.max(1, Math.ceil(text.length / 3));
    for (let start = 0; start < text.length; start += pieceLength) {
      this.delta({ role: "assistant", content: text.slice(start, start + pieceLength) });
    }
  }

  finish(tools: readonly ChatToolCall[], finishReason: string | undefined, usage: ChatUsage | undefined): void {
    for (const [index, tool] of tools.entries()) {
      const text = typeof tool.arguments === "string" ? tool.arguments : JSON.stringify(tool.arguments);
      const id = `call_${this.#request.index}_${index}`;
      this.delta({ tool_calls: [{ index, id, type: "function", function: { name: tool.name, arguments: text } }] });
    }
    this.delta({}, finishReason ?? (tools.length > 0 ? "tool_calls" : "stop"));
    const used = usage ?? { prompt_tokens: 100, completion_tokens: 10 };
    this.#event({ choices: [], usage: { ...used, total_tokens: used.prompt_tokens + used.completion_tokens } });
    this.#response.end("data: [DONE]\n\n");
  }

  #event(fields: Record<string, unknown>): void {
    const event = { id: `chatcmpl-${this.#request.index}`, object: "chat.completion.chunk", created: 1 };
    this.#response.write(`data: ${JSON.stringify({ ...event, model: this.#request.model, ...fields })}\n\n`);
  }
}

function sendJson(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: unknown,
): void {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(text);
}
