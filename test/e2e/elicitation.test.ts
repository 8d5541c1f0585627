/** Agents' questions shown to the user of an interactive client by MCP elicitation (DESIGN 8): only where the config says so. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema, type ElicitRequest, type ElicitResult } from "@modelcontextprotocol/sdk/types.js";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { DIST, Ground, type Repo } from "./engine-support.ts";
import { until } from "../support/until.js";

type Shown = ElicitRequest["params"] & { signal: AbortSignal };

let ground: Ground;
let repo: Repo;
const hosts: Client[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.close()));
  await ground.leave();
});

function begin(elicit: string | null): void {
  ground = new Ground({ questions: { route: ["parent", "human"], elicit } });
  repo = ground.main;
}

/** An interactive client whose user answers what is shown. */
async function openHost(answer: (shown: Shown) => Promise<ElicitResult>): Promise<Shown[]> {
  const host = new Client({ name: "an-editor", version: "1" }, { capabilities: { elicitation: {} } });
  hosts.push(host);
  const shown: Shown[] = [];
  host.setRequestHandler(ElicitRequestSchema, async ({ params }, { signal }) => {
    const question = { ...params, signal };
    shown.push(question);
    return await answer(question);
  });
  const env = Object.fromEntries(Object.entries(ground.environment).map(([name, value]) => [name, value ?? ""]));
  const args = [join(DIST, "engine", "pipe-main.cjs")];
  await host.connect(new StdioClientTransport({ command: process.execPath, args, cwd: repo.path, env }));
  // It stays quiet from here on: that it is there to be asked is not for its calls.
  await host.listTools();
  return shown;
}

const ASK = 'orchestrator ask "Which port?" --option 80 --option 8080 --context "for the proxy" > port.txt';

test("X4: the user of the client that the config names is shown a question, and the answer is the agent's", async () => {
  begin("an-editor");
  const shown = await openHost(() => Promise.resolve({ action: "accept", content: { answer: "8080" } }));
  await repo.submit("proxy", [{ id: "port", prompt: ASK }]);
  expect(await repo.settled("proxy")).toBe("succeeded");
  expect(repo.read("port.txt")).toBe("8080\n");
  expect(shown).toHaveLength(1);
  expect(shown[0]?.message).toMatch(
    /proxy\/port asks \(q1\): Which port\?\n\nfor the proxy\n\nIts options: 80 \| 8080/,
  );
  const { questions } = await repo.call("list_questions", { id: "q1" });
  expect(questions).toMatchObject([{ state: "answered", answeredBy: "parent" }]);
});

test("what somebody else answered meanwhile is taken back, and what the user declines waits for another answer", async () => {
  begin("an-editor");
  const shown = await openHost(async ({ message, signal }) => {
    if (message.includes("Declined?")) return { action: "decline" };
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    return { action: "cancel" };
  });
  await repo.submit("two", [
    { id: "taken", prompt: 'orchestrator ask "Taken back?" > taken.txt' },
    { id: "declined", prompt: 'orchestrator ask "Declined?" > declined.txt', dependsOn: ["taken"] },
  ]);
  await until("the first is shown", () => shown.length === 1);
  await repo.call("answer_question", { id: "q1", answer: "by another" });
  await until("it is taken back", () => shown[0]?.signal.aborted === true);
  await until("the second is shown", () => shown.length === 2);
  await repo.untilState("two/taken", "succeeded");
  await repo.call("answer_question", { id: "q2", answer: "later" });
  expect(await repo.settled("two")).toBe("succeeded");
  expect([repo.read("taken.txt"), repo.read("declined.txt")]).toEqual(["by another\n", "later\n"]);
  expect(shown).toHaveLength(2);
});

test("a client that the config does not name is never asked", async () => {
  begin(null);
  const shown = await openHost(() => Promise.resolve({ action: "cancel" }));
  await repo.submit("proxy", [{ id: "port", prompt: ASK }]);
  await until("the question is open", async () => {
    const { questions } = (await repo.call("list_questions", {})) as { questions: unknown[] };
    return questions.length === 1;
  });
  await repo.call("answer_question", { id: "q1", answer: "80" });
  expect(await repo.settled("proxy")).toBe("succeeded");
  expect(shown).toEqual([]);
});
