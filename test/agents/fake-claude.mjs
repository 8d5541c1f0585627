#!/usr/bin/env node
/**
 * Stands in for Claude Code's print mode, as far as the scheduler's tests need it: each turn is one line in
 * `$HOME/turns.ndjson`, then `$HOME/turn-N.sh` runs in the worktree where there is one (exit code 1: the turn fails).
 * Without `--print` it is as a person has it open: a line in `opened.ndjson`, then `$HOME/opened.sh`.
 * With `--input-format=stream-json` every line on stdin is a message; one that comes while the turn's script runs
 * belongs to that turn, as with the real one. The script finds the turn's prompt in TURN_PROMPT.
 * `$HOME/turn-N.json` is laid over its result event: how a turn ends that fails in a way of its own.
 * With `--json-schema` all of that is told and run as `answer` and `answers` instead of `turn` and `turns`, and
 * `$HOME/structured.json` is what it answers.
 * What a turn costs is `$HOME/turn-N.cost` or `$HOME/cost` ("USD TOKENS", told as the session's total so far); without
 * them its number in USD. A turn that costs more than `--max-budget-usd` ends as the real one's: it is told.
 */
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const home = process.env.HOME;
const option = (name) =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3) ?? null;
const sessionId = option("resume") ?? option("session-id");
const isStream = option("input-format") === "stream-json";
const word = option("json-schema") === null ? "turn" : "answer";
const print = (event) => process.stdout.write(`${JSON.stringify({ ...event, session_id: sessionId })}\n`);

const waiting = [];
let isEnded = false;
let wake = () => {};

function take(line) {
  const { message, uuid } = JSON.parse(line);
  waiting.push({ text: message.content, uuid });
  wake();
}

function acknowledge({ text, uuid }) {
  if (!isStream) return;
  const message = { role: "user", content: text };
  print({ type: "user", message, uuid, isReplay: true });
}

async function turn(first) {
  const file = join(home, `${word}s.ndjson`);
  const number = existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n").length + 1 : 1;
  const resumed = option("resume") !== null;
  appendFileSync(file, `${JSON.stringify({ number, sessionId, resumed, cwd: process.cwd(), prompt: first.text })}\n`);
  acknowledge(first);
  print({ type: "system", subtype: "init" });
  const script = join(home, `${word}-${number}.sh`);
  const scripted = join(home, `${word}-${number}.json`);
  const ending = existsSync(scripted) ? JSON.parse(readFileSync(scripted, "utf8")) : {};
  const exitCode = existsSync(script) ? await run(script, first.text) : ending.is_error === true ? 1 : 0;
  for (const late of waiting.splice(0)) {
    acknowledge(late);
    appendFileSync(join(home, "late.ndjson"), `${JSON.stringify({ number, text: late.text })}\n`);
  }
  const text = `answer ${number}`;
  const spoken = { id: `m${number}`, role: "assistant", model: "m", content: [{ type: "text", text }] };
  print({ type: "assistant", message: spoken });
  const { usd, tokens, isOver } = costOf(number);
  const is_error = exitCode !== 0 || isOver;
  const structured = join(home, "structured.json");
  const isForm = word === "answer" && existsSync(structured);
  print({
    ...(isForm ? { structured_output: JSON.parse(readFileSync(structured, "utf8")) } : {}),
    type: "result",
    ...(isOver ? { subtype: "error_max_budget_usd", errors: ["Reached maximum budget"] } : { subtype: "success" }),
    is_error,
    result: text,
    num_turns: 1,
    total_cost_usd: usd,
    modelUsage: tokens === 0 ? {} : { m: { inputTokens: tokens, outputTokens: 0 } },
    ...ending,
  });
  return isOver ? 1 : exitCode;
}

function costOf(number) {
  const file = [`${word}-${number}.cost`, "cost"].map((name) => join(home, name)).find((name) => existsSync(name));
  if (file === undefined) return { usd: number, tokens: 0, isOver: false };
  const book = join(home, `spent-${sessionId}.json`);
  const before = existsSync(book) ? JSON.parse(readFileSync(book, "utf8")) : { usd: 0, tokens: 0 };
  const [usd, tokens = 0] = readFileSync(file, "utf8").split(" ").map(Number);
  const total = { usd: before.usd + usd, tokens: before.tokens + tokens };
  writeFileSync(book, JSON.stringify(total));
  const bound = option("max-budget-usd");
  return { ...total, isOver: bound !== null && usd > Number(bound) };
}

async function run(script, prompt = "") {
  const env = { ...process.env, TURN_PROMPT: prompt };
  const child = spawn("/bin/sh", [script], { stdio: ["ignore", "ignore", "inherit"], env });
  return await new Promise((resolve) => child.on("exit", (code) => resolve(code ?? 1)));
}

if (!process.argv.includes("--print")) {
  // Opened by a person: nobody reads what it prints.
  const { ORCHESTRATOR_ATTEMPT: mark = null, FROM_CONFIG: configured = null } = process.env;
  const facts = { sessionId, cwd: process.cwd(), isTerminal: process.stdin.isTTY === true, mark, configured };
  appendFileSync(join(home, "opened.ndjson"), `${JSON.stringify(facts)}\n`);
  const script = join(home, "opened.sh");
  process.exitCode = existsSync(script) ? await run(script) : 0;
} else if (isStream) {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", take);
  lines.on("close", () => {
    isEnded = true;
    wake();
  });
  let exitCode = 0;
  for (;;) {
    const next = waiting.shift();
    if (next !== undefined) exitCode = await turn(next);
    else if (isEnded) break;
    else await new Promise((resolve) => (wake = resolve));
  }
  process.exitCode = exitCode;
} else {
  process.exitCode = await turn({ text: readFileSync(0, "utf8") });
}
