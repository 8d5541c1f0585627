/**
 * The MCP server: one for each connected host, over a channel of messages (the engine's socket, or in the pipe itself
 * where there is no engine). It owns what MCP is: the handshake, the list of tools for the caller's role, results as
 * text and structure, progress, cancelling. It knows the operations by their listing only, and holds no state that
 * outlives the connection, so a pipe may replay its handshake on a new one at any time.
 *
 * The SDK is imported in this folder and nowhere else.
 */
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import {
  CallToolRequestSchema,
  CancelledNotificationSchema,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
  type CallToolRequest,
  type CallToolResult,
  type JSONRPCMessage,
  type Tool,
} from "@modelcontextprotocol/sdk/types.js";
import type { ToolListing } from "../engine/engine-host.ts";
import { isFields, REQUEST_KEY_META } from "../engine/protocol.ts";
import { messageOf } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";
import type { Caller, OperationCall, OperationResult } from "../operations/operation.ts";
import { showQuestions, type CallOperation } from "./elicit.ts";
import { instructionsFor } from "./instructions.ts";
import { offerPrompts } from "./prompts.ts";
import { offerResources } from "./resources.ts";

/** The key under which hosts register us; `orchestrator` is taken by a built-in server of Goose. */
const SERVER_NAME = "orchestrator-mcp";

/** What the server offers to a model. */
export interface McpBackend {
  tools(): readonly ToolListing[];
  /** Never rejects. */
  call(name: string, input: unknown, call: OperationCall): Promise<OperationResult>;
}

/** Messages both ways, whole and in order. */
export interface MessageChannel {
  send(message: object): void;
  /** The other end does not read: what may be dropped is dropped. */
  isCongested(): boolean;
  close(): void;
  listen(listener: { readonly onMessage: (message: unknown) => void; readonly onClose: () => void }): void;
}

export interface McpServing {
  readonly backend: McpBackend;
  readonly caller: Caller;
  readonly version: string;
  readonly channel: MessageChannel;
  /** What the SDK complains of; nobody else is told. */
  readonly onError: (thrown: unknown) => void;
}

export type ServeMcp = (serving: McpServing) => void;

/** Serves until the channel closes; calls under way are then aborted. */
export function serveMcp(serving: McpServing): void {
  const { caller, version, onError } = serving;
  const isOperator = caller.role === "operator";
  const server = new Server(
    { name: SERVER_NAME, title: "Orchestrator", version },
    // listChanged: told by the pipe when another version of the engine took over. A satellite has its tools, no more.
    {
      capabilities: { tools: { listChanged: true }, ...(isOperator ? { resources: {}, prompts: {} } : {}) },
      instructions: instructionsFor(
        caller.role,
        toolsFor(serving).map((tool) => tool.name),
      ),
    },
  );
  server.onerror = onError;
  const aborts = abortOnCancel(server);
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: toolsFor(serving).map(describeTool) }));
  server.setRequestHandler(CallToolRequestSchema, async (request, extra) => {
    const signal = aborts.begin(extra.requestId, extra.signal);
    try {
      return await callTool(serving, server, request, signal);
    } finally {
      aborts.end(extra.requestId);
    }
  });
  if (isOperator) {
    offerResources(server, (name, input, signal) =>
      serving.backend.call(name, input, { caller, requestKey: null, signal, progress: () => undefined }),
    );
    offerPrompts(server);
    const closed = new AbortController();
    server.onclose = () => closed.abort();
    server.oninitialized = () => {
      const parent = nameClient(caller, server.getClientVersion()?.name);
      const call: CallOperation = (name, input, options) =>
        serving.backend.call(name, input, { caller: parent, progress: () => undefined, ...options });
      void showQuestions(server, call, closed.signal).catch(onError);
    };
  }
  void server.connect(transportOver(serving.channel, (id) => aborts.isCancelled(id))).catch(onError);
}

async function callTool(
  { backend, caller, channel, onError }: McpServing,
  server: Server,
  request: CallToolRequest,
  signal: AbortSignal,
): Promise<CallToolResult> {
  const { name, arguments: input, _meta: meta } = request.params;
  const offered = toolsFor({ backend, caller }).map((tool) => tool.name);
  if (!offered.includes(name)) throw unknownTool(name, offered);
  const progressToken = meta?.progressToken;
  let steps = 0;
  const result = await backend.call(name, input ?? {}, {
    caller: nameClient(caller, server.getClientVersion()?.name),
    requestKey: typeof meta?.[REQUEST_KEY_META] === "string" ? meta[REQUEST_KEY_META] : null,
    signal,
    progress: (message) => {
      if (progressToken === undefined || signal.aborted || channel.isCongested()) return;
      steps += 1;
      const params = { progressToken, progress: steps, message };
      void server.notification({ method: "notifications/progress", params }).catch(onError);
    },
  });
  return toToolResult(result);
}

/** A failure carries no structure: it would have to fit the tool's output schema, which tells of success. */
function toToolResult(result: OperationResult): CallToolResult {
  if (result.ok) return { content: [{ type: "text", text: result.text }], structuredContent: result.structured };
  const details = Object.keys(result.details).length === 0 ? "" : JSON.stringify(result.details);
  const shown = details !== "" && details.length <= MAX_DETAILS ? `\n${details}` : "";
  return { content: [{ type: "text", text: `${result.code}: ${result.message}${shown}` }], isError: true };
}

/** A model reads all of an error; beyond this the message alone must do. */
const MAX_DETAILS = 2000;

function toolsFor({ backend, caller }: Pick<McpServing, "backend" | "caller">): ToolListing[] {
  return backend.tools().filter((tool) => tool.audience === caller.role);
}

function describeTool(tool: ToolListing): Tool {
  const outputSchema = withoutDialect(tool.outputSchema);
  return {
    name: tool.name,
    title: tool.title,
    description: tool.description,
    inputSchema: { ...withoutDialect(tool.inputSchema), type: "object" },
    // MCP knows objects only here.
    ...(outputSchema["type"] === "object" ? { outputSchema: { ...outputSchema, type: "object" } } : {}),
    annotations: { title: tool.title, readOnlyHint: tool.isReading, openWorldHint: false },
    // Claude Code shows a model the names of tools only, unless they ask to be there from the start.
    _meta: { "anthropic/alwaysLoad": true },
  };
}

/** `$schema` says nothing to a host, and costs each model request its length. */
function withoutDialect(schema: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { $schema: _, ...rest } = schema;
  return rest;
}

function unknownTool(name: string, offered: readonly string[]): McpError {
  const near = nearestName(name, offered);
  const hint = near === null ? "" : ` Did you mean ${near}?`;
  return new McpError(ErrorCode.InvalidParams, `Unknown tool: ${name}.${hint} Here: ${offered.join(", ")}.`);
}

/** The name that the client gave of itself in MCP's handshake; only an operator's is of use. */
function nameClient(caller: Caller, clientName: string | undefined): Caller {
  if (caller.role !== "operator") return caller;
  return { ...caller, isParent: true, clientName: clientName ?? caller.clientName };
}

/**
 * In place of the SDK's own cancelling, which overlooks request id 0 (`if (!requestId) return`, 1.32), and 0 is the first
 * id of several clients. As MCP has it, a cancelled request is not answered.
 */
function abortOnCancel(server: Server): {
  begin(id: string | number, sdkSignal: AbortSignal): AbortSignal;
  end(id: string | number): void;
  /** Whether an answer to this id is unwanted; asked once, when it is about to be sent. */
  isCancelled(id: unknown): boolean;
} {
  const underWay = new Map<string | number, AbortController>();
  const cancelled = new Set<unknown>();
  server.setNotificationHandler(CancelledNotificationSchema, ({ params }) => {
    const call = params.requestId === undefined ? undefined : underWay.get(params.requestId);
    if (call === undefined) return;
    cancelled.add(params.requestId);
    call.abort(params.reason);
  });
  return {
    isCancelled: (id) => cancelled.delete(id),
    begin: (id, sdkSignal) => {
      const controller = new AbortController();
      underWay.set(id, controller);
      return AbortSignal.any([controller.signal, sdkSignal]);
    },
    end: (id) => underWay.delete(id),
  };
}

function transportOver(channel: MessageChannel, isCancelled: (id: unknown) => boolean): Transport {
  const transport: Transport = {
    start: () => {
      channel.listen({
        onMessage: (message) => {
          if (isJsonRpc(message)) transport.onmessage?.(message);
          else channel.send(invalidRequest(message));
        },
        onClose: () => transport.onclose?.(),
      });
      return Promise.resolve();
    },
    send: (message) => {
      const isAnswer = "id" in message && !("method" in message);
      if (!(isAnswer && isCancelled(message.id))) channel.send(message);
      return Promise.resolve();
    },
    close: () => {
      channel.close();
      return Promise.resolve();
    },
  };
  return transport;
}

/** Loose on purpose: the SDK checks the rest, but what it knows no kind of it would leave unanswered. */
function isJsonRpc(message: unknown): message is JSONRPCMessage {
  if (!isFields(message) || message["jsonrpc"] !== "2.0") return false;
  const { id, method, params } = message;
  const hasId = typeof id === "string" || (typeof id === "number" && Number.isInteger(id));
  if (params !== undefined && !isFields(params)) return false;
  if (typeof method === "string") return hasId || !("id" in message);
  return hasId && (isFields(message["result"]) || isFields(message["error"]));
}

function invalidRequest(message: unknown): object {
  const id = isFields(message) ? message["id"] : null;
  const isUsable = typeof id === "string" || typeof id === "number";
  const error = { code: ErrorCode.InvalidRequest, message: "Not a JSON-RPC 2.0 message as MCP has it." };
  return { jsonrpc: "2.0", id: isUsable ? id : null, error };
}

/** For `onError` where there is no log: standard error, which hosts keep. */
export function describeError(thrown: unknown): string {
  return `orchestrator-mcp: ${messageOf(thrown)}`;
}
