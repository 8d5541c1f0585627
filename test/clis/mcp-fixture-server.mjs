// A stdio MCP server without any SDK, for tests of agent CLIs: the satellite tool `report_result` and `whoami`, which
// tells what the server was started with. Newline-delimited JSON-RPC.
import { createInterface } from "node:readline";

const anything = { type: "object", properties: {}, additionalProperties: true };
const tools = [
  { name: "whoami", description: "Tells how this server was started.", inputSchema: anything },
  { name: "report_result", description: "Reports the result of the task.", inputSchema: anything },
];

function call(name) {
  if (name === "whoami") {
    const { ORCHESTRATOR_ATTEMPT: mark = null, SCRIPTED_API_KEY: key = null } = process.env;
    return { mark, key, cwd: process.cwd(), args: process.argv.slice(2) };
  }
  return { accepted: true };
}

function answer({ method, params }) {
  if (method === "initialize") {
    return {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "fixture", version: "1" },
    };
  }
  if (method === "tools/list") return { tools };
  if (method === "tools/call") {
    const structuredContent = call(params.name);
    return { content: [{ type: "text", text: JSON.stringify(structuredContent) }], structuredContent };
  }
  return null;
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  if (request.id === undefined) return;
  const result = answer(request);
  const reply = result === null ? { error: { code: -32601, message: `no method ${request.method}` } } : { result };
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id: request.id, ...reply })}\n`);
});
