/**
 * One way to script all three agent CLIs: what the model sees is a `ModelTurn`, what it does is a `ModelAct`, whichever
 * CLI asks and whichever API it speaks. Each CLI edits files in its own way (a tool with a path, a patch, a tool with a
 * relative path), so a test that makes all three write a file has tried three ways.
 *
 * It owns an endpoint on loopback for one CLI and the record of what that CLI sent. Never reaches the network.
 */
import {
  startAnthropicEndpoint,
  type AnthropicEndpoint,
  type MessagesRequest,
  type ScriptedAnswer,
} from "../anthropic-endpoint.ts";
import { startChatEndpoint, textOf, type ChatEndpoint, type ChatReply, type ChatRequest } from "../chat-endpoint.ts";
import {
  answer,
  apiError,
  applyPatch,
  mcpCall,
  shell,
  startResponsesEndpoint,
  toolNames,
  toolSearch,
  type ModelAnswer,
  type ModelRequest,
  type ResponsesEndpoint,
} from "../responses-endpoint.ts";

export type CliName = "claude" | "codex" | "goose";
export const CLI_NAMES: readonly CliName[] = ["claude", "codex", "goose"];

/** What one request shows the model. */
export interface ModelTurn {
  /** Counted from 0 over the model's life. */
  readonly index: number;
  readonly model: string;
  /** The CLI's own id of the conversation. */
  readonly conversation: string;
  /** The user's last words: the prompt of this turn. */
  readonly prompt: string;
  /** What the calls of this turn gave, in order, exactly as the model sees it. */
  readonly results: readonly string[];
  /** Tools whose schemas the model sees. */
  readonly tools: readonly string[];
  /** The whole body as text: for what the model must not see at all. */
  readonly everything: string;
}

/** What the model does next. */
export type ModelAct =
  | { readonly say: string }
  /** Calls a tool of the server orchestrator-mcp. */
  | { readonly tool: string; readonly input: Readonly<Record<string, unknown>> }
  /** Makes a new file in its worktree, the way this CLI's models do it. */
  | { readonly write: string; readonly content: string }
  | { readonly shell: string }
  /** The final answer in the form that was asked for (an output schema). */
  | { readonly answer: unknown }
  /** Codex only: looks for deferred tools. */
  | { readonly search: string }
  /** The API fails. */
  | { readonly status: number; readonly message: string; readonly headers?: Readonly<Record<string, string>> }
  /** The API takes the request and never answers: not even headers, or nothing after the first of a stream. */
  | { readonly hang: "headers" | "stream" }
  /** Claude only: says it word by word, over about this time. */
  | { readonly say: string; readonly overMs: number };

export type ModelScript = (turn: ModelTurn) => ModelAct | Promise<ModelAct>;

export interface Model {
  readonly cli: CliName;
  readonly turns: readonly ModelTurn[];
  /** What scripts threw: a test that passes with one of these has tested nothing. */
  readonly errors: readonly unknown[];
  readonly baseUrl: string;
  setScript(script: ModelScript): void;
  /** Resolves with the first turn that fits, also one of the past. */
  waitForTurn(test: (turn: ModelTurn) => boolean): Promise<ModelTurn>;
  /** `config.toml` of Codex; the others are told by environment alone. */
  codexConfig(): string;
  close(): Promise<void>;
}

const TURN_DEADLINE_MS = 60_000;

/** The script's n-th act is done once n results of this turn are in; the last one repeats. Begins anew with each prompt. */
export function acts(...list: readonly ModelAct[]): ModelScript {
  return (turn) => list[Math.min(turn.results.length, list.length - 1)] ?? { say: "done" };
}

export async function startModel(cli: CliName): Promise<Model> {
  const turns: ModelTurn[] = [];
  const errors: unknown[] = [];
  const waiters = new Set<() => void>();
  let script: ModelScript = () => ({ say: "done" });
  const decide = async (turn: ModelTurn): Promise<ModelAct> => {
    turns.push(turn);
    for (const wake of waiters) wake();
    try {
      return await script(turn);
    } catch (thrown) {
      errors.push(thrown);
      return { status: 400, message: `the script threw: ${String(thrown)}` };
    }
  };
  const api = await START[cli](decide);
  return {
    cli,
    turns,
    errors,
    baseUrl: api.baseUrl,
    setScript: (next) => {
      script = next;
    },
    waitForTurn: (test) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const found = turns.find(test);
          if (found === undefined) return;
          clearTimeout(timer);
          waiters.delete(check);
          resolve(found);
        };
        const timer = setTimeout(() => {
          waiters.delete(check);
          reject(new Error(`${cli} never asked what was waited for; it asked ${turns.length} times`));
        }, TURN_DEADLINE_MS);
        waiters.add(check);
        check();
      }),
    codexConfig: () => api.codexConfig(),
    close: () => api.close(),
  };
}

interface Api {
  readonly baseUrl: string;
  codexConfig(): string;
  close(): Promise<void>;
}

type Decide = (turn: ModelTurn) => Promise<ModelAct>;

const START: Readonly<Record<CliName, (decide: Decide) => Promise<Api>>> = {
  claude: async (decide) => {
    let count = 0;
    const endpoint: AnthropicEndpoint = await startAnthropicEndpoint(async (request) => {
      const turn = claudeTurn(request, count++);
      return claudeAnswer(await decide(turn), request);
    });
    return { baseUrl: endpoint.url, codexConfig: () => "", close: () => endpoint.close() };
  },
  codex: async (decide) => {
    const endpoint: ResponsesEndpoint = await startResponsesEndpoint(async (request) =>
      codexAnswer(await decide(codexTurn(request))),
    );
    return { baseUrl: endpoint.baseUrl, codexConfig: () => endpoint.configToml(), close: () => endpoint.close() };
  },
  goose: async (decide) => {
    const endpoint: ChatEndpoint = await startChatEndpoint(async (request) =>
      gooseReply(await decide(gooseTurn(request))),
    );
    return { baseUrl: endpoint.url, codexConfig: () => "", close: () => endpoint.close() };
  },
};

const SERVER = "orchestrator-mcp";

type Fields = Readonly<Record<string, unknown>>;
interface Block {
  readonly type: string;
  readonly text?: string;
  readonly content?: unknown;
}

function claudeTurn(request: MessagesRequest, index: number): ModelTurn {
  const messages = request.body["messages"] as { role: string; content: string | Block[] }[];
  const users = messages.filter((message) => message.role === "user").map(({ content }) => blocksOf(content));
  const last = users.findLastIndex((blocks) => !blocks.some((block) => block.type === "tool_result"));
  const results = users
    .slice(last + 1)
    .flat()
    .filter((block) => block.type === "tool_result");
  return {
    index,
    model: request.model,
    conversation: request.sessionId ?? "",
    prompt: users[last]?.findLast((block) => block.type === "text")?.text ?? "",
    results: results.map((block) => blocksText(block.content)),
    tools: request.toolNames,
    everything: request.text,
  };
}

function blocksOf(content: string | Block[]): Block[] {
  return typeof content === "string" ? [{ type: "text", text: content }] : content;
}

function blocksText(content: unknown): string {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map((block: { text?: string }) => block.text ?? "").join("\n") : "";
}

function claudeAnswer(act: ModelAct, request: MessagesRequest): ScriptedAnswer {
  if ("say" in act) return { text: act.say, ...("overMs" in act ? { durationMs: act.overMs } : {}) };
  if ("status" in act) return act;
  if ("hang" in act) return act;
  if ("search" in act) throw new Error("Claude's tools of ours are never deferred");
  if ("answer" in act) return { toolCalls: [{ name: "StructuredOutput", input: act.answer as Fields }] };
  if ("tool" in act) return { toolCalls: [{ name: `mcp__${SERVER}__${act.tool}`, input: act.input }] };
  if ("shell" in act) return { toolCalls: [{ name: "Bash", input: { command: act.shell } }] };
  const path = `${worktreeIn(request.text)}/${act.write}`;
  return { toolCalls: [{ name: "Write", input: { file_path: path, content: act.content } }] };
}

/** Where a satellite was told to work: Claude's tools take absolute paths. */
function worktreeIn(text: string): string {
  const found = /Work only inside ([^\s,]+), on the branch/.exec(text)?.[1];
  if (found === undefined) throw new Error("the prompt does not say where to work");
  return found;
}

function codexTurn(request: ModelRequest): ModelTurn {
  return {
    index: request.index,
    model: String(request.body["model"]),
    conversation: request.threadId,
    prompt: request.prompt,
    results: request.results,
    tools: toolNames(request),
    everything: JSON.stringify(request.body),
  };
}

function codexAnswer(act: ModelAct): ModelAnswer {
  if ("say" in act) return answer(act.say);
  if ("status" in act) return apiError(act.status, { message: act.message, code: "scripted" }, act.headers);
  if ("hang" in act) return act.hang === "headers" ? { type: "hang" } : { type: "silent", items: [] };
  if ("answer" in act) return answer(JSON.stringify(act.answer));
  if ("search" in act) return answer(toolSearch(act.search));
  if ("tool" in act) return answer(mcpCall(SERVER, act.tool, act.input));
  if ("shell" in act) return answer(shell(act.shell));
  return answer(applyPatch(`*** Add File: ${act.write}\n${prefixed(act.content)}`));
}

function prefixed(content: string): string {
  return content
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => `+${line}`)
    .join("\n");
}

function gooseTurn(request: ChatRequest): ModelTurn {
  const { messages } = request;
  const last = messages.findLastIndex((message) => message.role === "user");
  return {
    index: request.index,
    model: request.model,
    conversation: String(request.headers["agent-session-id"] ?? ""),
    prompt: textOf(messages[last]),
    results: messages
      .slice(last + 1)
      .filter((message) => message.role === "tool")
      .map(textOf),
    tools: request.toolNames,
    everything: JSON.stringify(request.body),
  };
}

function gooseReply(act: ModelAct): ChatReply {
  if ("say" in act) return { say: act.say };
  if ("status" in act) {
    const body = { error: { message: act.message, type: "scripted", code: "scripted" } };
    return { status: act.status, body, ...(act.headers === undefined ? {} : { headers: act.headers }) };
  }
  if ("hang" in act) return act.hang === "headers" ? { hang: "headers" } : { stall: "Let me see." };
  if ("search" in act) throw new Error("Goose defers no tools");
  if ("answer" in act) return { say: `Here it is:\n\n\`\`\`json\n${JSON.stringify(act.answer, null, 2)}\n\`\`\`\n` };
  if ("tool" in act) return { say: "", tools: [{ name: `${SERVER}__${act.tool}`, arguments: act.input }] };
  if ("shell" in act) return { say: "", tools: [{ name: "shell", arguments: { command: act.shell } }] };
  return { say: "", tools: [{ name: "write", arguments: { path: act.write, content: act.content } }] };
}

/** The JSON object in what a tool gave: all that a Claude's or Codex's model sees of an answer of ours. */
export function jsonIn(result: string): Readonly<Record<string, unknown>> {
  const begin = result.indexOf("{");
  const end = result.lastIndexOf("}");
  if (begin === -1 || end === -1) throw new Error(`no JSON in: ${result}`);
  return JSON.parse(result.slice(begin, end + 1)) as Record<string, unknown>;
}
