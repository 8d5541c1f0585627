/** The MCP server inside the pipe, where there is no engine to ask: every tool is listed, and each says what is missing. */
import type { OperationResult } from "../operations/operation.ts";
import type { ToolListing } from "../engine/engine-host.ts";
import { describeError, serveMcp, type MessageChannel } from "./server.ts";

export interface OfflineServing {
  readonly tools: readonly ToolListing[];
  readonly version: string;
  readonly cwd: string;
  readonly channel: MessageChannel;
  /** Why there is no engine: what every call answers. */
  readonly problem: Extract<OperationResult, { ok: false }>;
}

export function serveOffline({ tools, version, cwd, channel, problem }: OfflineServing): void {
  serveMcp({
    backend: { tools: () => tools, call: () => Promise.resolve(problem) },
    // Without an engine nobody is known to be a satellite; nothing can be done here by either.
    caller: { role: "operator", cwd, clientName: null },
    version,
    channel,
    onError: (thrown) => console.error(describeError(thrown)),
  });
}
