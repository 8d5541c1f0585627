/**
 * A scripted OpenAI Responses API on loopback: what `codex` (as a satellite or as the parent) believes to be the model.
 *
 * It owns one HTTP server. The script is a function of the request, so that an answer depends on what the CLI sent and
 * not on how often it asked: a request that is retried gets the same answer. Every request is recorded. It never
 * reaches the network and never sees a real key. Shapes as sent by codex-cli 0.169.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** One entry of a request's `input`, as far as scripts look at it. */
export interface InputItem {
  readonly type: string;
  readonly role?: string;
  readonly content?: unknown;
  readonly call_id?: string;
  readonly output?: unknown;
  readonly tools?: unknown;
}

/** One request for a model response. */
export interface ModelRequest {
  /** Counted from 0 over the endpoint's life, retries included. */
  readonly index: number;
  readonly receivedAtMs: number;
  readonly headers: IncomingHttpHeaders;
  /** The whole body, parsed. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly input: readonly InputItem[];
  /** Codex's own id of the conversation (header `thread-id`). */
  readonly threadId: string;
  /** The last message of the user: the prompt of this turn. */
  readonly prompt: string;
  /** What this turn's calls gave, in order, as text. Its length tells how far the turn is: see `steps`. */
  readonly results: readonly string[];
  /** All text of the developer's messages: base instructions, permissions, `developer_instructions`. */
  readonly developerText: string;
}

/** What the model says or calls in one response. */
export type OutputItem = Readonly<Record<string, unknown>>;

export type ModelAnswer =
  /** A complete response. */
  | { readonly type: "output"; readonly items: readonly OutputItem[]; readonly usage?: Usage }
  /** An HTTP error instead of a response. An object is sent as JSON. */
  | {
      readonly type: "status";
      readonly status: number;
      readonly body: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** `response.failed` in the stream. */
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  /** `response.incomplete` after the items. */
  | { readonly type: "incomplete"; readonly reason: string; readonly items: readonly OutputItem[] }
  /** The connection is cut after the items. */
  | { readonly type: "cut"; readonly items: readonly OutputItem[] }
  /** Headers and the items, then silence until the client goes or the endpoint closes. */
  | { readonly type: "silent"; readonly items: readonly OutputItem[] }
  /** Not even headers, until the client goes or the endpoint closes. */
  | { readonly type: "hang" };

export interface Usage {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
}

export type ModelScript = (request: ModelRequest) => ModelAnswer | Promise<ModelAnswer>;

export interface ResponsesEndpoint {
  /** `http://127.0.0.1:<port>/v1`, for `base_url`. */
  readonly baseUrl: string;
  readonly requests: readonly ModelRequest[];
  /** Replaces the script from the next request on. */
  setScript(script: ModelScript): void;
  /** A `config.toml` that makes this endpoint the model provider. Key variable: `SCRIPTED_API_KEY`. */
  configToml(options?: ConfigTomlOptions): string;
  /** Ends all connections and the server. */
  close(): Promise<void>;
}

export interface ConfigTomlOptions {
  /** Of codex's built-in catalogue, else `apply_patch` is not offered. Default `gpt-5.5`. */
  readonly model?: string;
  /** Codex's own retries of a request and of a stream. Default 0, so that failures are quick. */
  readonly retries?: number;
  readonly streamIdleTimeoutMs?: number;
  /** More TOML, put at the end. */
  readonly more?: string;
}

/** Starts an endpoint on a free port of loopback. Close it when done. */
export async function startResponsesEndpoint(script: ModelScript): Promise<ResponsesEndpoint> {
  let current = script;
  const requests: ModelRequest[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => {
      // A script that throws must be seen by the test, not retried by the CLI as a server error.
      sendJson(response, 400, { error: { message: `script failed: ${String(error)}`, code: "invalid_prompt" } }, {});
    });
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  // The built-in provider asks for a WebSocket first; custom providers never do.
  server.on("upgrade", (_incoming, socket) => socket.end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(incoming);
    if (incoming.method !== "POST" || !(incoming.url ?? "").startsWith("/v1/responses")) {
      sendJson(response, 404, { error: { message: "not found" } }, {});
      return;
    }
    const request = readRequest(requests.length, incoming.headers, body);
    requests.push(request);
    await sendAnswer(response, await current(request));
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return {
    baseUrl,
    requests,
    setScript: (next) => {
      current = next;
    },
    configToml: (options = {}) => configToml(baseUrl, options),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** The model says `text`. */
export function message(text: string): OutputItem {
  return { type: "message", role: "assistant", content: [{ type: "output_text", text, annotations: [] }] };
}

/** The model calls a function, of a namespace where one is given. */
function functionCall(name: string, input: unknown, namespace?: string): OutputItem {
  const item = { type: "function_call", call_id: nextCallId(), name, arguments: JSON.stringify(input) };
  return namespace === undefined ? item : { ...item, namespace };
}

/** The model runs a shell command (`exec_command`). */
export function shell(command: string): OutputItem {
  return functionCall("exec_command", { cmd: command, yield_time_ms: 30_000 });
}

/** The model edits files (`apply_patch`, a free-form tool). `hunks`: the lines between Begin and End Patch. */
export function applyPatch(hunks: string): OutputItem {
  const input = `*** Begin Patch\n${hunks.trim()}\n*** End Patch\n`;
  return { type: "custom_tool_call", call_id: nextCallId(), name: "apply_patch", input };
}

/** The model calls a tool of an MCP server. Codex replaces what is not `[A-Za-z0-9_]` in both names by `_`. */
export function mcpCall(server: string, tool: string, input: unknown): OutputItem {
  const safe = (name: string) => name.replaceAll(/[^A-Za-z0-9_]/g, "_");
  return functionCall(safe(tool), input, `mcp__${safe(server)}`);
}

/**
 * The model looks for tools that are deferred, as those of MCP servers are with catalogue models. The result is the
 * found tools as JSON. Deferred tools can be called without it, too.
 */
export function toolSearch(query: string): OutputItem {
  return { type: "tool_search_call", call_id: nextCallId(), execution: "client", arguments: { query } };
}

/** Names (or kinds, where they have none) of the tools that a request offers outright; deferred ones are not among them. */
export function toolNames(request: ModelRequest | undefined): string[] {
  const tools = request?.body["tools"];
  if (!Array.isArray(tools)) return [];
  return (tools as { name?: string; type: string }[]).map(({ name, type }) => name ?? type);
}

/** A whole response of these items; a string is said. */
export function answer(...items: readonly (OutputItem | string)[]): ModelAnswer {
  return { type: "output", items: items.map((item) => (typeof item === "string" ? message(item) : item)) };
}

/** An error as OpenAI sends it. */
export function apiError(
  status: number,
  error: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {},
): ModelAnswer {
  return { type: "status", status, body: { error }, headers };
}

/**
 * A script of consecutive answers within each turn: the n-th is given once n results of calls are in (each answer but
 * the last holds exactly one call). Starts again with each prompt, and is unmoved by retries.
 */
export function steps(...answers: readonly ModelAnswer[]): ModelScript {
  return (request) => answers[Math.min(request.results.length, answers.length - 1)] ?? answer("done");
}

let calls = 0;

function nextCallId(): string {
  calls += 1;
  return `call_${calls}`;
}

function readRequest(index: number, headers: IncomingHttpHeaders, text: string): ModelRequest {
  const body = JSON.parse(text) as Record<string, unknown>;
  const input = Array.isArray(body["input"]) ? (body["input"] as InputItem[]) : [];
  const lastUser = input.findLastIndex((item) => item.type === "message" && item.role === "user");
  return {
    index,
    receivedAtMs: Date.now(),
    headers,
    body,
    input,
    threadId: String(headers["thread-id"] ?? ""),
    prompt: textOf(input[lastUser]?.content),
    results: input
      .slice(lastUser + 1)
      .filter((item) => item.type.endsWith("_output"))
      .map((item) => textOf(item.output ?? JSON.stringify(item.tools))),
    developerText: input
      .filter((item) => item.type === "message" && item.role === "developer")
      .map((item) => textOf(item.content))
      .join("\n"),
  };
}

/** Text of a content list, of a plain string, or of anything else as JSON. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return content === undefined ? "" : JSON.stringify(content);
  return content.map((part: { text?: unknown }) => (typeof part.text === "string" ? part.text : "")).join("\n");
}

async function sendAnswer(response: ServerResponse, reply: ModelAnswer): Promise<void> {
  switch (reply.type) {
    case "hang":
      return;
    case "status":
      sendJson(response, reply.status, reply.body, reply.headers ?? {});
      return;
    case "failed": {
      const id = startStream(response);
      const error = { code: reply.code, message: reply.message };
      sendEvent(response, { type: "response.failed", response: { id, status: "failed", error } });
      response.end();
      return;
    }
    case "output":
    case "incomplete":
    case "cut":
    case "silent": {
      const id = startStream(response);
      for (const item of reply.items) sendEvent(response, { type: "response.output_item.done", item });
      if (reply.type === "silent") return;
      if (reply.type === "cut") {
        // What was written must leave before the socket goes, or the items would be lost with it.
        await new Promise<void>((resolve) => response.write(": cut\n\n", () => resolve()));
        response.destroy();
        return;
      }
      sendEvent(response, endOfResponse(id, reply));
      response.end();
      return;
    }
  }
}

function endOfResponse(id: string, reply: Extract<ModelAnswer, { type: "output" | "incomplete" }>): OutputItem {
  if (reply.type === "incomplete") {
    return { type: "response.incomplete", response: { id, incomplete_details: { reason: reply.reason } } };
  }
  const usage = reply.usage ?? { inputTokens: 100, cachedInputTokens: 0, outputTokens: 10 };
  return {
    type: "response.completed",
    response: {
      id,
      usage: {
        input_tokens: usage.inputTokens,
        input_tokens_details: { cached_tokens: usage.cachedInputTokens },
        output_tokens: usage.outputTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: usage.inputTokens + usage.outputTokens,
      },
    },
  };
}

let responses = 0;

function startStream(response: ServerResponse): string {
  responses += 1;
  const id = `resp_${responses}`;
  response.writeHead(200, { "content-type": "text/event-stream" });
  sendEvent(response, { type: "response.created", response: { id } });
  return id;
}

function sendEvent(response: ServerResponse, event: OutputItem): void {
  response.write(`event: ${String(event["type"])}\ndata: ${JSON.stringify(event)}\n\n`);
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): void {
  if (response.headersSent) return;
  const text = typeof body === "string" ? body : JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(text);
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function configToml(baseUrl: string, options: ConfigTomlOptions): string {
  const retries = options.retries ?? 0;
  const idle = options.streamIdleTimeoutMs;
  return `model_provider = "scripted"
model = "${options.model ?? "gpt-5.5"}"

[model_providers.scripted]
name = "scripted"
base_url = "${baseUrl}"
wire_api = "responses"
env_key = "SCRIPTED_API_KEY"
request_max_retries = ${retries}
stream_max_retries = ${retries}
${idle === undefined ? "" : `stream_idle_timeout_ms = ${idle}\n`}
${options.more ?? ""}
`;
}
