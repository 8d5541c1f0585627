import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { controlTask } from "../../src/plan/controls.ts";
import { singleStep } from "../../src/plan/records.ts";
import { tellTask } from "../../src/plan/tell.ts";
import { promptFor, type PromptFacts } from "../../src/scheduler/prompt.ts";
import type { PlanSettings } from "../../src/scheduler/settings.ts";
import { applyEdit } from "../../src/scheduler/submit.ts";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { SETTINGS, World } from "./world.ts";

const settings: PlanSettings = {
  ...SETTINGS,
  roles: {
    coder: { name: "coder", provider: "claude", model: null, systemPrompt: null, tools: null, permissions: "edit" },
  },
  providers: {
    claude: {
      name: "claude",
      kind: "claude",
      command: StandInClaude.program,
      args: [],
      env: {},
      passEnv: [],
      limit: null,
    },
  },
};

let world: World;
let claude: StandInClaude;
beforeEach(() => {
  world = new World();
  claude = new StandInClaude(world.folder);
});
afterEach(async () => {
  await world.destroy();
});

function say(text: string, from = "the parent"): void {
  world.scheduler.commit(() => {
    world.parts.store.messages.append({ planId: "p", taskId: "a", sender: from, text, createdAtMs: 1 });
  });
}

function undelivered(): string[] {
  return world.parts.store.messages.listUndelivered("p", "a").map(({ text }) => text);
}

function submit(): void {
  world.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder" }], { provider: "claude" });
}

test("what was said before the first turn is in its prompt, and counts as told when that turn has ended", async () => {
  await world.start({ settings, limitAgents: 0 });
  submit();
  say("MESSAGE-ONE");
  say("MESSAGE-TWO", "Ada");
  expect(undelivered()).toHaveLength(2);
  world.parts.board.settings.limitAgents = 4;
  world.scheduler.look();
  expect(await world.settled("p")).toBe("succeeded");
  const [first, ...more] = claude.turns();
  expect(more).toEqual([]);
  expect(first?.prompt).toMatch(
    /PROMPT-A[^]*from the parent\n<<<message\nMESSAGE-ONE\n[^]*from Ada\n<<<message\nMESSAGE-TWO\n/,
  );
  expect(undelivered()).toEqual([]);
});

test("a turn that ends with something new to tell goes on in the same session before anything is merged", async () => {
  await world.start({ settings });
  claude.script(1, 'echo one > one.txt; touch "$HOME/begun"; while ! [ -e "$HOME/told" ]; do sleep 0.02; done');
  claude.script(2, "test ! -e two.txt && echo two > two.txt");
  submit();
  await world.until("the first turn runs", () => existsSync(join(world.folder, "begun")));
  say("AND-THIS-TOO");
  writeFileSync(join(world.folder, "told"), "");
  expect(await world.settled("p")).toBe("succeeded");
  const [first, second, ...more] = claude.turns();
  expect(more).toEqual([]);
  expect(first?.prompt).not.toContain("AND-THIS-TOO");
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId });
  expect(second?.prompt).toContain("AND-THIS-TOO");
  expect(world.git("log", "--merges", "--format=%s", "main").split("\n")).toHaveLength(1);
  expect(world.read("two.txt")).toBe("two\n");
  expect(undelivered()).toEqual([]);
});

test("a turn that failed has told nothing: the next one tells it again", async () => {
  await world.start({ settings, limitAgents: 0 });
  claude.script(1, "exit 1");
  submit();
  say("SAY-IT-AGAIN");
  world.parts.board.settings.limitAgents = 4;
  world.scheduler.look();
  await world.until("a second turn", () => claude.turns().length === 2);
  expect(await world.settled("p")).toBe("succeeded");
  expect(claude.turns().map(({ prompt }) => prompt.includes("SAY-IT-AGAIN"))).toEqual([true, true]);
});

test("S3: what was said is told after a restart of the engine", async () => {
  await world.start({ settings });
  claude.script(1, 'touch "$HOME/begun"; sleep 60');
  submit();
  await world.until("the first turn runs", () => existsSync(join(world.folder, "begun")));
  say("OVER-THE-RESTART");
  await world.stop();
  await world.start({ settings });
  expect(await world.settled("p")).toBe("succeeded");
  const [, second] = claude.turns();
  expect(second?.resumed).toBe(true);
  expect(second?.prompt).toContain("OVER-THE-RESTART");
});

test("where the earlier conversation can't go on, a new one is told what it was about", async () => {
  await world.start({ settings });
  claude.script(1, "echo one > a.txt");
  submit();
  expect(await world.settled("p")).toBe("succeeded");
  const { store, board } = world.parts;
  const session = store.sessions.latest("p", "a", "coder");
  if (session === null) throw new Error("no session was kept");
  store.sessions.save({ ...session, isUsable: false });
  continueTask("SOMETHING-NEW");
  expect(await world.settled("p")).toBe("succeeded");
  const [first, second] = claude.turns();
  expect(second).toMatchObject({ resumed: false });
  expect(second?.sessionId).not.toBe(first?.sessionId);
  expect(second?.prompt).toMatch(/SOMETHING-NEW[^]*can't be continued[^]*Its work is in main[^]*PROMPT-A/);
  expect(board.plan("p").nodes.get("a-2")?.record.state).toBe("succeeded");
});

test("the folder passes on from a task that was skipped, and what it left there is kept", async () => {
  await world.start({ settings });
  claude.script(1, "echo half > half.txt; exit 1");
  claude.script(2, "test ! -e half.txt && echo two > two.txt");
  world.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder", retries: 0 }], { provider: "claude" });
  expect(await world.settled("p")).toBe("failed");
  world.scheduler.commit(() => controlTask(world.parts.board, "p/a", "skip", Date.now()));
  const left = world.parts.store.tasks.getWork("p", "a")?.worktree;
  continueTask("DO-IT-DIFFERENTLY");
  expect(await world.settled("p")).toBe("succeeded");
  const [first, second] = claude.turns();
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId, cwd: left });
  expect(world.read("two.txt")).toBe("two\n");
  const kept = world.git("for-each-ref", "--format=%(refname)", "refs/orchestrator/kept/").split("\n").filter(Boolean);
  const holders = [...kept, "refs/heads/orchestrator/p/a"];
  expect(holders.some((ref) => world.git("ls-tree", "--name-only", ref).includes("half.txt"))).toBe(true);
});

function continueTask(message: string): void {
  const told = tellTask(world.parts.board, "p/a", message, Date.now());
  if (told.type !== "follow-up") throw new Error(`not a follow-up but ${told.type}`);
  world.scheduler.commit(() =>
    applyEdit(world.parts, "p", { add: [told.spec], change: [], drop: [] }, () => singleStep("coder", "claude")),
  );
}

const FACTS: PromptFacts = {
  spec: {
    id: "a",
    title: "A",
    prompt: "PROMPT-A",
    agent: "coder",
    dependsOn: [],
    writes: null,
    onFailure: "hard",
    workflow: null,
    verify: null,
    merge: "auto",
    timeoutMinutes: 60,
    priority: 0,
    retries: null,
    continues: null,
  },
  goal: null,
  branch: "b",
  target: "main",
  worktree: "/w",
  turn: { kind: "again", note: "You were interrupted." },
  conversation: "its own",
  before: null,
  dependencies: [],
  lastWords: null,
  hasTools: true,
  mayWrite: true,
  failedChecks: null,
  step: null,
  mail: [],
};

test("a question and its answer stand side by side, in the order in which things were said", () => {
  const prompt = promptFor({
    ...FACTS,
    mail: [
      { kind: "answer", id: "q1", from: "Ada", question: "Which port?", answer: "8080", atMs: 1 },
      { kind: "message", id: 1, from: "the parent", text: "/clear is no command here", atMs: 2 },
    ],
  });
  expect(prompt).toMatch(
    /^You were interrupted\.[^]*<<<question\nWhich port\?\nquestion>>>\nAda answers:\n<<<answer\n8080\nanswer>>>[^]*\/clear is no/,
  );
});
