import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { buildPackage, type PackageUnderTest } from "../engine/package-under-test.ts";
import { openScene, type Scene } from "../engine/scene.ts";
import { until } from "../support/until.js";

let built: PackageUnderTest;
let scene: Scene;
const clients: Client[] = [];
beforeAll(async () => {
  built = await buildPackage();
});
afterAll(() => built.remove());
beforeEach(() => {
  scene = openScene(built);
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await scene.leave();
});

/** A host: the SDK's own client over the pipe's standard input and output. */
async function openHost(env: Record<string, string> = {}): Promise<Client> {
  const client = new Client({ name: "sdk-host", version: "1" }, { capabilities: { roots: {} } });
  clients.push(client);
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [built.pipeProgram],
    cwd: scene.repository,
    env: { PATH: process.env["PATH"] ?? "", ...env },
  });
  await client.connect(transport);
  return client;
}

test("M1, M2: an MCP client has the operator's tools, with what hosts read of them", async () => {
  const client = await openHost();
  expect(client.getServerVersion()).toMatchObject({ name: "orchestrator-mcp", version: "1.2.3" });
  expect(client.getInstructions()).toContain("Turns a goal into a plan");
  const { tools } = await client.listTools();
  const names = tools.map((tool) => tool.name);
  expect(names).toContain("change");
  expect(names).not.toContain("ask_orchestrator");
  const echo = tools.find((tool) => tool.name === "echo");
  expect(echo).toMatchObject({
    title: "echo",
    annotations: { readOnlyHint: true },
    _meta: { "anthropic/alwaysLoad": true },
    inputSchema: { type: "object" },
    outputSchema: { type: "object", required: ["value"] },
  });
  expect(tools.find((tool) => tool.name === "change")?.annotations?.readOnlyHint).toBe(false);
});

test("M3: a satellite has the satellite's tools and instructions, and no other", async () => {
  const client = await openHost({ ORCHESTRATOR_ATTEMPT: "engine/attempt" });
  const { tools } = await client.listTools();
  expect(tools.map((tool) => tool.name)).toEqual(["ask_orchestrator"]);
  expect(client.getInstructions()).toContain("You are one agent of a larger plan");
  // What the instructions name is what there is: this app has no report_result.
  expect(client.getInstructions()).toMatch(/^- ask_orchestrator: /m);
  expect(client.getInstructions()).not.toMatch(/report_result|create_plan/);
  await expect(client.callTool({ name: "change", arguments: {} })).rejects.toThrow(
    /Unknown tool: change.*ask_orchestrator/s,
  );
  expect(scene.journal("change")).toHaveLength(0);
  const result = await client.callTool({ name: "ask_orchestrator", arguments: { question: "?" } });
  expect(result.structuredContent).toEqual({ value: { parked: { question: "?" } } });
});

test("a result says the same twice: as structure that fits the tool's schema, and as text", async () => {
  const client = await openHost();
  await client.listTools();
  // The SDK's client checks the structure against the schema that was listed.
  const result = await client.callTool({ name: "echo", arguments: { a: [1, "ü"] } });
  expect(result.structuredContent).toEqual({ value: { a: [1, "ü"] } });
  expect(result.content).toEqual([{ type: "text", text: 'text: {"a":[1,"ü"]}' }]);
  expect(result.isError).toBeUndefined();
});

test("a failure is an isError result with text that says what to do, and without structure", async () => {
  const client = await openHost();
  await client.listTools();
  const result = await client.callTool({ name: "fail", arguments: {} });
  expect(result).toMatchObject({
    isError: true,
    content: [{ type: "text", text: "TASK_NOT_FOUND: No task x. Call task_status to see them." }],
  });
  expect(result).not.toHaveProperty("structuredContent");
});

test("a bug is an isError result with an id that is in the log, and tells nothing else", async () => {
  const client = await openHost();
  const { content } = await client.callTool({ name: "throw", arguments: {} });
  const [{ text } = { text: "" }] = content as { text: string }[];
  expect(text).not.toContain("a bug in the fake app");
  expect(scene.log()).toContain(`[${/error (\w+):/.exec(text)?.[1] ?? "none"}]`);
});

test("a misspelt tool is named with the nearest one", async () => {
  const client = await openHost();
  await expect(client.callTool({ name: "chnage", arguments: {} })).rejects.toThrow(/Did you mean change\?/);
});

test("progress is told, before the result, to a client that asked for it and to no other", async () => {
  // Not the SDK's client: it drops what comes in one piece with the result.
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.call(1, "steps", {}, { progressToken: "token" });
  pipe.call(2, "steps");
  await Promise.all([pipe.answer(1), pipe.answer(2)]);
  const heard = pipe.messages.filter((message) => message["method"] === "notifications/progress");
  expect(heard.map((message) => message["params"])).toEqual(
    [1, 2, 3].map((step) => ({ progressToken: "token", progress: step, message: `step ${step}` })),
  );
  expect(pipe.messages.findLastIndex((message) => heard.includes(message))).toBeLessThan(
    pipe.messages.findIndex((message) => message["id"] === 1),
  );
});

test("a call that the client cancels is aborted in the engine", async () => {
  const client = await openHost();
  const abort = new AbortController();
  const call = client.callTool({ name: "wait", arguments: {} }, undefined, { signal: abort.signal });
  const failure = expect(call).rejects.toThrow();
  await until("it waits", () => scene.journal("waiting").length === 1);
  abort.abort("enough");
  await failure;
  await until("it is aborted", () => scene.journal("aborted").length === 1);
});

test("calls run side by side", async () => {
  const client = await openHost();
  const abort = new AbortController();
  const waiting = client
    .callTool({ name: "wait", arguments: {} }, undefined, { signal: abort.signal })
    .catch(() => "cancelled");
  await until("it waits", () => scene.journal("waiting").length === 1);
  await client.callTool({ name: "echo", arguments: {} });
  abort.abort();
  expect(await waiting).toBe("cancelled");
});

test("an unknown method gets an error at once, and a satellite has neither resources nor prompts", async () => {
  const client = await openHost();
  for (const method of ["server/discover", "tasks/list", "completion/complete", "resources/subscribe"]) {
    await expect(client.request({ method, params: {} }, z.object({}))).rejects.toMatchObject({ code: -32601 });
  }
  const satellite = await openHost({ ORCHESTRATOR_ATTEMPT: "engine/attempt" });
  expect(satellite.getServerCapabilities()).not.toHaveProperty("prompts");
  for (const method of ["resources/list", "resources/templates/list", "resources/read", "prompts/list"]) {
    await expect(satellite.request({ method, params: {} }, z.object({}))).rejects.toMatchObject({ code: -32601 });
  }
});

test("prompts carry what the person asked for, and say what is missing", async () => {
  const client = await openHost();
  const { prompts } = await client.listPrompts();
  expect(prompts.map(({ name }) => name)).toEqual(["plan", "orchestrate", "review"]);
  const { messages } = await client.getPrompt({ name: "plan", arguments: { goal: "Add rate limiting" } });
  expect(JSON.stringify(messages)).toMatch(/Add rate limiting.*create_plan with dryRun/s);
  await expect(client.getPrompt({ name: "plan", arguments: {} })).rejects.toThrow(/needs `goal`/);
  await expect(client.getPrompt({ name: "pln" })).rejects.toThrow(/Did you mean plan\?/);
  await expect(client.readResource({ uri: "orchestrator://nothing" })).rejects.toThrow(
    /Unknown resource.*plans\/\{plan\}/,
  );
});

test("the call carries who asks: the client's own name, and a key", async () => {
  const client = await openHost();
  const { structuredContent } = await client.callTool({ name: "who", arguments: {} });
  expect(structuredContent).toMatchObject({
    value: {
      caller: { role: "operator", cwd: scene.repository, clientName: "sdk-host" },
      requestKey: expect.stringMatching(/^[0-9a-f-]{36}:1$/),
    },
  });
});

test("the client hears nothing of an engine that was killed in its call", async () => {
  scene.set({ hang: true });
  const client = await openHost();
  const call = client.callTool({ name: "change_then_hang", arguments: { n: 1 } });
  await until("it is done but not answered", () => scene.journal("change").length === 1);
  scene.set({});
  process.kill(scene.livingEngines()[0] ?? 0, "SIGKILL");
  expect((await call).structuredContent).toMatchObject({ value: { done: 1 } });
  expect(scene.journal("change")).toHaveLength(1);
});

test("M2: mcp.json registers the server under a name that no host has taken", () => {
  const text = readFileSync(new URL("../../mcp.json", import.meta.url), "utf8");
  expect(JSON.parse(text)).toEqual({
    mcpServers: { "orchestrator-mcp": { command: "npx", args: ["-y", "orchestrator-mcp"], alwaysLoad: true } },
  });
});
