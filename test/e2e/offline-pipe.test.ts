/** The pipe where no engine can be had: what it lists is made by the build, and must be what an engine would list. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { toolListings } from "../../src/operations/tool-listings.ts";
import { DIST, Ground, type Fields } from "./engine-support.ts";

let ground: Ground | null = null;

afterEach(async () => {
  await ground?.leave();
  ground = null;
});

const INITIALIZE = {
  method: "initialize",
  params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } },
};

/** What a server answers to `requests` (ids from 1), started by `args` in `cwd`. */
async function ask(args: readonly string[], cwd: string, requests: readonly Fields[]): Promise<Fields[]> {
  const child = spawn(process.execPath, args, {
    cwd,
    env: ground?.environment ?? {},
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers: Fields[] = [];
  for (const [index, request] of [INITIALIZE, ...requests].entries()) {
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: index, ...request })}\n`);
  }
  for await (const line of createInterface({ input: child.stdout })) {
    answers.push(JSON.parse(line) as Fields);
    if (answers.length === requests.length + 1) child.stdin.end();
  }
  const byId = new Map(answers.map((answer) => [answer["id"], answer]));
  return requests.map((_, index) => byId.get(index + 1) ?? {});
}

function namesIn(answer: Fields | undefined): string[] {
  const result = answer?.["result"] as { tools?: { name: string }[] } | undefined;
  return (result?.tools ?? []).map(({ name }) => name);
}

const PIPE = join(DIST, "engine", "pipe-main.cjs");
const COMMAND = join(DIST, "cli", "main.js");

test("the listings that the build wrote down are those of the operations", () => {
  const written: unknown = JSON.parse(readFileSync(join(DIST, "engine", "tool-listings.json"), "utf8"));
  expect(written).toEqual(JSON.parse(JSON.stringify(toolListings())));
});

test("outside a repository a host sees the same tools as inside, and each says what is missing", async () => {
  ground = new Ground();
  const list = { method: "tools/list" };
  const [inside] = await ask([PIPE], ground.main.path, [list]);
  const [outside, call] = await ask([PIPE], ground.folder, [
    list,
    { method: "tools/call", params: { name: "task_status", arguments: {} } },
  ]);
  expect(namesIn(outside)).toContain("create_plan");
  expect(outside?.["result"]).toEqual(inside?.["result"]);
  expect(JSON.stringify(call)).toMatch(/"isError":true/);
  expect(JSON.stringify(call)).toContain("NOT_A_REPOSITORY");
});

test("`orchestrator mcp` is the same server, and takes the same words", async () => {
  ground = new Ground();
  const [listed] = await ask([COMMAND, "mcp", "--repo", ground.main.path], ground.folder, [{ method: "tools/list" }]);
  expect(namesIn(listed)).toContain("create_plan");
});
