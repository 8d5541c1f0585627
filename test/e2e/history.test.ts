/**
 * S2: what was said to and by each agent is read back, whatever ended it: also after the engine was killed, by the
 * parent's tool and by the command line. The agent's far end is scripted (`fake-claude.mjs`).
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { Ground, type Repo } from "./engine-support.ts";
import { runCli } from "./run-cli.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
let claude: StandInClaude;

beforeEach(() => {
  ground = new Ground({ providers: StandInClaude.providers });
  repo = ground.main;
  claude = new StandInClaude(ground.home);
});
afterEach(() => ground.leave());

test("S2: an agent that is killed with its engine as soon as it runs has its prompt and its end read back", async () => {
  claude.hold(1);
  await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder" }]);
  await until("the agent works", () => claude.hasBegun(1));
  await repo.killEngine();
  repo.closeClients();
  expect(await repo.settled("p")).toBe("succeeded");
  const { history = [] } = await repo.task("p/a", ["history"]);
  const first = history.filter(({ attempt }) => attempt === 1);
  expect(first[0]).toMatchObject({ kind: "prompt" });
  expect(first[0]?.text).toContain("PROMPT-A");
  expect(first.at(-1)).toMatchObject({ kind: "note", text: "the engine ended while it ran" });
  const second = history.filter(({ attempt }) => attempt === 2);
  expect(second.map(({ kind }) => kind)).toEqual(["prompt", "text", "note"]);
  expect(second[0]?.text).toContain("You were interrupted");
  const { stdout } = await runCli(repo, ["logs", "p/a", "--turns"]);
  expect(stdout).toMatch(/attempt 1 \(claude\): failed[^]*PROMPT-A[^]*the engine ended[^]*attempt 2[^]*succeeded/);
});

test("11: a key that an agent prints is named instead of repeated in all that is stored and told of it", async () => {
  const secret = `sk-${process.pid}-${Math.random().toString(36).slice(2)}`;
  ground.configure({
    providers: { keyed: { kind: "command", env: { MY_API_KEY: secret, PORT: "80" } } },
    agents: { keyed: { provider: "keyed" } },
  });
  await repo.submit("p", [
    { id: "a", agent: "keyed", prompt: 'echo "auth: $MY_API_KEY, port $PORT"; echo "refused $MY_API_KEY" >&2; exit 1' },
  ]);
  expect(await repo.settled("p")).toBe("failed");
  const detail = await repo.task("p/a", ["history", "output"]);
  expect(JSON.stringify(detail.history)).toContain("auth: (MY_API_KEY), port 80");
  expect(detail.attempts[0]?.message).toContain("refused (MY_API_KEY)");
  const told = [
    detail,
    await repo.call("read_log", { limit: 1000 }),
    await repo.call("read_log", { task: "p/a", turns: true }),
  ];
  expect(JSON.stringify(told)).not.toContain(secret);
  await repo.call("stop_engine", {}).catch(() => undefined);
  await until("the engine has ended", () => !existsSync(join(repo.stateDir, "engine.json")));
  const files = readdirSync(repo.stateDir, { withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.filter(({ name }) => readFileSync(join(repo.stateDir, name)).includes(secret))).toEqual([]);
});

test("S2: what the orchestrator role was asked and answered is read back as the plan's conversation, also after a restart", async () => {
  ground.configure({
    providers: StandInClaude.providers,
    questions: { route: ["orchestrator", "human"], holdSeconds: 300 },
  });
  claude.costs(1, 5);
  claude.structured({ answers: [{ id: "q1", answer: "GREEN", why: "the plan says so" }] });
  await repo.submit("p", [{ id: "a", prompt: 'orchestrator ask "WHICH-COLOUR?" > colour' }]);
  expect(await repo.settled("p")).toBe("succeeded");
  await repo.killEngine();
  repo.closeClients();
  const { code, stdout } = await runCli(repo, ["logs", "p", "--turns"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /turn 1 \(claude\): answered, 5 tokens in [^]*\[prompt\][^]*WHICH-COLOUR\?[^]*\[text\][^]*GREEN[^]*\[note\]/,
  );
  const { turns } = await repo.call("read_log", { plan: "p", turns: true, before: 3, limit: 1 });
  expect(turns).toMatchObject([{ id: 2, kind: "text" }]);
  await repo.submit("quiet", [{ id: "a", prompt: "true" }]);
  expect((await runCli(repo, ["logs", "quiet", "--turns"])).stdout).toContain("PLAN/TASK");
  expect(await runCli(repo, ["logs", "quiet", "--turns", "--json"])).toMatchObject({ code: 0, stdout: "" });
  expect(await runCli(repo, ["logs", "--turns"])).toMatchObject({ code: 2 });
});
