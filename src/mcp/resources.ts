/**
 * What an operator's host may read beside the tools: plans and tasks as `task_status` tells them, logs and diffs. Each
 * is the text of an operation that only reads; a resource never says what a tool would not.
 */
import type { Server } from "@modelcontextprotocol/sdk/server/index.js";
import {
  ErrorCode,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  McpError,
  ReadResourceRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { isFields } from "../engine/protocol.ts";
import type { OperationResult } from "../operations/operation.ts";

/** Calls an operation that only reads. Never rejects. */
export type Read = (name: string, input: object, signal: AbortSignal) => Promise<OperationResult>;

const PLAN = "orchestrator://plans/{plan}";
const TASK = `${PLAN}/tasks/{task}`;

const TEMPLATES = [
  { uriTemplate: PLAN, name: "plan", description: "How a plan and its tasks stand." },
  { uriTemplate: `${PLAN}/log`, name: "plan-log", description: "What happened in a plan, event by event." },
  { uriTemplate: TASK, name: "task", description: "One task in full: its attempts, its report, why it waits." },
  { uriTemplate: `${TASK}/log`, name: "task-log", description: "The conversation of a task's agent." },
  { uriTemplate: `${TASK}/diff`, name: "task-diff", description: "What a task changed." },
];

const LOG_LIMIT = 1000;

export function offerResources(server: Server, read: Read): void {
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: TEMPLATES.map((template) => ({ ...template, mimeType: "text/plain" })),
  }));
  server.setRequestHandler(ListResourcesRequestSchema, async (_request, { signal }) => {
    const status = await read("task_status", {}, signal);
    const plans = status.ok && Array.isArray(status.structured["plans"]) ? status.structured["plans"] : [];
    return {
      resources: plans.filter(isFields).map((plan) => ({
        uri: `orchestrator://plans/${String(plan["plan"])}`,
        name: String(plan["plan"]),
        description: `${String(plan["state"])}, into ${String(plan["target"])}`,
        mimeType: "text/plain",
      })),
    };
  });
  server.setRequestHandler(ReadResourceRequestSchema, async ({ params: { uri } }, { signal }) => {
    const asked = operationFor(uri);
    if (asked === null) {
      const known = TEMPLATES.map(({ uriTemplate }) => uriTemplate).join(", ");
      throw new McpError(ErrorCode.InvalidParams, `Unknown resource: ${uri.slice(0, 300)}. Here: ${known}.`);
    }
    const result = await read(asked.name, asked.input, signal);
    if (!result.ok) throw new McpError(ErrorCode.InvalidParams, `${result.code}: ${result.message}`);
    const mimeType = asked.name === "read_diff" ? "text/x-diff" : "text/plain";
    return { contents: [{ uri, mimeType, text: result.text }] };
  });
}

interface Asked {
  readonly name: string;
  readonly input: object;
}

/** Null for what is no resource of ours. What the names mean is the operation's to say. */
function operationFor(uri: string): Asked | null {
  const match = /^orchestrator:\/\/plans\/([^/?#]+)(?:\/tasks\/([^/?#]+))?(?:\/(log|diff))?$/.exec(uri);
  if (match === null) return null;
  const [, plan = "", task, kind] = match.map((part) => (part === undefined ? undefined : decoded(part)));
  if (task === undefined) {
    if (kind === "diff") return null;
    return kind === "log"
      ? { name: "read_log", input: { plan, limit: LOG_LIMIT } }
      : { name: "task_status", input: { plan, include: ["why"] } };
  }
  const key = `${plan}/${task}`;
  switch (kind) {
    case "log":
      return { name: "read_log", input: { task: key, turns: true, limit: LOG_LIMIT } };
    case "diff":
      return { name: "read_diff", input: { task: key } };
    default:
      return { name: "task_status", input: { task: key, include: ["why"] } };
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
