#!/usr/bin/env node
/**
 * A tiny stdio MCP server without any SDK, for the real CLIs: one tool, `whoami`, tells the environment variables that
 * the caller names, the arguments and the cwd. What is unknown (`server/discover` too) is answered with an error at
 * once, for Goose waits for that answer for more than two minutes.
 */
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin });

lines.on("line", (line) => {
  if (line.trim() === "") return;
  const message = JSON.parse(line);
  if (message.id === undefined) return;
  const answer = handle(message);
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id: message.id, ...answer })}\n`);
});
lines.on("close", () => process.exit(0));

function handle(message) {
  switch (message.method) {
    case "initialize":
      return {
        result: {
          protocolVersion: message.params.protocolVersion,
          capabilities: { tools: {} },
          serverInfo: { name: "fixture", version: "1" },
        },
      };
    case "ping":
      return { result: {} };
    case "tools/list":
      return {
        result: {
          tools: [
            {
              name: "whoami",
              description: "Tells what the server sees of itself.",
              inputSchema: { type: "object", properties: { names: { type: "array", items: { type: "string" } } } },
            },
          ],
        },
      };
    case "tools/call": {
      const names = message.params.arguments?.names ?? [];
      const env = Object.fromEntries(names.map((name) => [name, process.env[name] ?? null]));
      const told = { env, args: process.argv.slice(2), cwd: process.cwd() };
      return { result: { content: [{ type: "text", text: JSON.stringify(told) }] } };
    }
    default:
      return { error: { code: -32601, message: `unknown method: ${message.method}` } };
  }
}
