/** `orchestrator open`, in a terminal of its own (util-linux `script`) and without one. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { DIST, Ground, type Fields, type Repo } from "./engine-support.ts";
import { until } from "../support/until.js";

const CLI = join(DIST, "cli", "main.js");

let ground: Ground;
let repo: Repo;

beforeEach(() => {
  ground = new Ground({
    questions: { route: ["human"] },
    workflows: { judged: { steps: [{ agent: "coder" }, { agent: "reviewer" }] } },
    providers: { claude: { kind: "claude", command: StandInClaude.program, env: { FROM_CONFIG: "set" } } },
  });
  repo = ground.main;
});

afterEach(async () => {
  await ground.leave();
});

function script(name: string, text: string): void {
  writeFileSync(join(ground.home, name), text);
}

function lines(name: string): Fields[] {
  const file = join(ground.home, name);
  if (!existsSync(file)) return [];
  // Whole lines: one may be written at this moment.
  const whole = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return whole.map((line) => JSON.parse(line) as Fields);
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly text: string }>;
}

function running(file: string, args: readonly string[]): Running {
  const env = { ...ground.environment, SHELL: "/bin/sh", TERM: "dumb" };
  const child = spawn(file, args, { cwd: repo.path, env, stdio: ["pipe", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ended = new Promise<{ code: number | null; text: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, text })),
  );
  return { child, ended };
}

/** Elsewhere `script` has other options. */
const testWithTerminal = test.skipIf(process.platform !== "linux");

/** In a terminal of its own. */
function inTerminal(...args: readonly string[]): Running {
  const words = [process.execPath, CLI, ...args].map((word) => `'${word}'`).join(" ");
  return running("script", ["-qec", words, "/dev/null"]);
}

async function withoutTerminal(...args: readonly string[]): Promise<{ code: number | null; text: string }> {
  const { child, ended } = running(process.execPath, [CLI, ...args]);
  child.stdin?.end();
  return await ended;
}

async function submitRunning(): Promise<void> {
  script("turn-1.sh", 'echo one > one.txt; touch "$HOME/begun"; sleep 60');
  await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder" }]);
  await until(
    "the agent works",
    () => existsSync(join(ground.home, "begun")),
    () => repo.log(),
  );
}

testWithTerminal(
  "a running agent is ended in order, its conversation opens in its worktree, and goes on when the person leaves",
  async () => {
    await submitRunning();
    script("opened.sh", "echo two > by-hand.txt");
    const { code, text } = await inTerminal("open", "p/a").ended;
    expect({ code, text }).toMatchObject({ code: 0 });
    const [first] = lines("turns.ndjson");
    expect(lines("opened.ndjson")).toEqual([
      { sessionId: first?.["sessionId"], cwd: first?.["cwd"], isTerminal: true, mark: null, configured: "set" },
    ]);
    expect(text).toContain("goes on; its agent is told that you were here");
    expect(await repo.settled("p")).toBe("succeeded");
    const [, second] = lines("turns.ndjson");
    expect(second).toMatchObject({ resumed: true, sessionId: first?.["sessionId"] });
    expect(String(second?.["prompt"])).toContain("A person worked in your worktree");
    expect([repo.read("one.txt"), repo.read("by-hand.txt")]).toEqual(["one\n", "two\n"]);
  },
);

testWithTerminal("killed while it is open: the task stays paused, and `why` names the command", async () => {
  await submitRunning();
  script("opened.sh", 'touch "$HOME/open"; sleep 60');
  const terminal = inTerminal("open", "p/a");
  await until("it is open", () => existsSync(join(ground.home, "open")));
  terminal.child.kill("SIGKILL");
  await terminal.ended;
  await repo.untilState("p/a", "waiting:paused");
  const { why } = await repo.task("p/a");
  expect(why).toMatchObject({ code: "paused", command: "orchestrator resume p/a" });
  expect(why?.message).toContain("a person has it open, or had");
  // It can be opened again, and left paused.
  script("opened.sh", "true");
  const again = await inTerminal("open", "p/a", "--keep-paused").ended;
  expect(again).toMatchObject({ code: 0 });
  expect(await repo.states("p")).toEqual({ a: "waiting:paused" });
  await repo.control("resume", { task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
});

test("without a terminal nothing is paused, and the command is told; --print pauses and prints it", async () => {
  await submitRunning();
  const refused = await withoutTerminal("open", "p/a");
  expect(refused.code).toBe(2);
  expect(refused.text).toContain("--resume=");
  expect(await repo.states("p")).toEqual({ a: "running" });
  const printed = await withoutTerminal("open", "p/a", "--print");
  expect(printed.code).toBe(0);
  expect(printed.text).toMatch(/cd .*\/p\/a'? && .*fake-claude\.mjs --resume=[0-9a-f-]{36}/);
  expect(await repo.states("p")).toEqual({ a: "waiting:paused" });
  expect(lines("opened.ndjson")).toEqual([]);
  await repo.control("resume", { task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
});

testWithTerminal("a command opens a shell in its worktree and stays paused, for it would begin anew", async () => {
  await repo.submit("p", [{ id: "c", prompt: "echo half > half.txt; exit 1", retries: 0 }]);
  expect(await repo.settled("p")).toBe("failed");
  const { child, ended } = inTerminal("open", "p/c");
  child.stdin?.write("pwd > where.txt; exit 3\n");
  const { code, text } = await ended;
  expect({ code, text }).toMatchObject({ code: 0 });
  expect(text).toContain("is a command, so this is a shell");
  const { worktree } = await repo.task("p/c");
  expect(readFileSync(join(worktree ?? "", "where.txt"), "utf8").trim()).toBe(worktree);
  expect(await repo.states("p")).toEqual({ c: "waiting:paused" });
});

test("what can't be opened says why and what to do instead", async () => {
  script("turn-1.sh", "echo one > one.txt");
  await repo.submit("p", [
    { id: "a", prompt: "PROMPT-A", agent: "coder" },
    { id: "b", prompt: "exit 1", retries: 0, dependsOn: ["a"] },
    { id: "c", prompt: "true", dependsOn: ["b"] },
  ]);
  expect(await repo.settled("p")).toBe("failed");
  const merged = await withoutTerminal("open", "p/a", "--print");
  expect(merged.code).toBe(2);
  expect(merged.text).toMatch(/is merged as [0-9a-f]{10}.*orchestrator tell p\/a MESSAGE/s);
  expect((await withoutTerminal("open", "p/c", "--print")).text).toContain("has not begun");
  expect((await withoutTerminal("open", "p/nobody")).code).toBe(2);
});

const AFTER_AN_ANSWER = [
  { how: "ends its turn", own: "echo two > two.txt" },
  { how: "reports", own: 'echo two > two.txt; orchestrator report "done"' },
];

for (const { how, own } of AFTER_AN_ANSWER) {
  test(`X4: opened by hand while its reviewer waits for an answer: its coder ${how}, and the reviewer hears the answer`, async () => {
    script("turn-1.sh", "echo one > one.txt");
    script(
      "turn-2.sh",
      `orchestrator ask "Which colour?" > /dev/null 2>&1 &\nwhile [ ! -e "$HOME/asked" ]; do sleep 0.05; done`,
    );
    script("turn-3.sh", own);
    script("turn-4.sh", 'orchestrator report --verdict approve "fine"');
    await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder", workflow: "judged" }]);
    const asked = async (): Promise<boolean> => {
      const { questions } = (await repo.call("list_questions", {})) as { questions: unknown[] };
      return questions.length > 0;
    };
    await until("the reviewer asks", asked, () => repo.log());
    script("asked", "");
    await repo.untilState("p/a", "waiting:question");
    expect((await withoutTerminal("open", "p/a", "--print")).code).toBe(0);
    await repo.call("answer_question", { id: "q1", answer: "BLUE" });
    await repo.control("resume", { task: "p/a" });
    expect(await repo.settled("p")).toBe("succeeded");
    const turns = lines("turns.ndjson");
    expect(turns.map(({ sessionId }) => sessionId === turns[0]?.["sessionId"])).toEqual([true, false, true, false]);
    expect(turns.map(({ prompt }) => String(prompt).includes("BLUE"))).toEqual([false, false, false, true]);
    expect(repo.read("two.txt")).toBe("two\n");
  });
}
