/**
 * What is said to the agents of the real CLIs: in the middle of a turn, after it, after the task's end and after a
 * restart of the engine. What counts is what the model's request holds: the earlier conversation and what was said.
 */
import { spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { CLI_NAMES, type CliName, type ModelTurn } from "./support/models.ts";
import { MODELS, World } from "./support/world.ts";
import { until } from "../support/until.js";

const PROGRAM = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

let world: World;

afterEach(async () => {
  await world.leave();
});

interface Told {
  readonly summary: string;
  readonly task: string;
}

async function tell(task: string, prompt: string): Promise<Told> {
  return await world.call<Told>("spawn_agent", { task, prompt });
}

async function start(cli: CliName): Promise<string> {
  return await world.createPlan({
    name: "talk",
    tasks: [{ id: "a", agent: `coder-${cli}`, prompt: "FIRST-PROMPT", writes: ["*.txt"] }],
  });
}

/** Holds the model's first answer until the gate is opened. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

function ofTask(cli: CliName): readonly ModelTurn[] {
  return world.model(cli).turns;
}

describe.each(CLI_NAMES)("%s", (cli) => {
  test("what is said while it works reaches the model before anything is merged", async () => {
    world = await World.open({ clis: [cli] });
    const model = world.model(cli);
    const { opened, open } = gate();
    model.setScript(async (turn) => {
      if (turn.index > 0) return turn.results.length === 0 || turn.index > 2 ? { say: "done" } : { say: "did it" };
      await opened;
      return { tool: "task_context", input: {} };
    });
    const plan = await start(cli);
    await model.waitForTurn((turn) => turn.index === 0);
    const told = await tell("talk/a", "SAID-WHILE-IT-WORKS");
    expect(told.task).toBe("talk/a");
    open();
    expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
    expect(model.errors).toEqual([]);
    const { attempts, history } = await world.task("talk/a");
    const last = ofTask(cli).at(-1);
    expect(last?.everything).toContain("FIRST-PROMPT");
    expect(last?.everything.split("SAID-WHILE-IT-WORKS")).toHaveLength(2);
    expect(JSON.stringify(history)).toContain("SAID-WHILE-IT-WORKS");
    // Claude hears it in the middle of its turn; the others in another one of the same conversation.
    expect(attempts).toHaveLength(cli === "claude" ? 1 : 2);
    expect(new Set(ofTask(cli).map((turn) => turn.conversation)).size).toBe(1);
    expect(new Set(attempts.map((attempt) => attempt.session)).size).toBe(1);
  });

  test("S4: after its end, and after a restart of the engine, its conversation goes on in a new task", async () => {
    world = await World.open({ clis: [cli] });
    const model = world.model(cli);
    model.setScript((turn) =>
      turn.results.length === 0
        ? { write: `file-${turn.index}.txt`, content: `${turn.index}\n` }
        : { say: `SPOKEN-${turn.index}` },
    );
    const plan = await start(cli);
    expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
    const second = await tell("talk/a", "SECOND-MESSAGE");
    expect(second.task).toBe("talk/a-2");
    expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
    expect(ofTask(cli).at(-1)?.everything).toMatch(/FIRST-PROMPT[^]*SECOND-MESSAGE/);

    process.kill(world.enginePid(), "SIGKILL");
    await until("the engine and its guard are gone", () => world.processes().length === 0);
    world.disconnect();
    const third = await tell("talk/a", "THIRD-MESSAGE");
    expect(third.task).toBe("talk/a-3");
    expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
    expect(model.errors).toEqual([]);
    expect(ofTask(cli).at(-1)?.everything).toMatch(/FIRST-PROMPT[^]*SPOKEN-1[^]*SECOND-MESSAGE[^]*THIRD-MESSAGE/);
    expect(new Set(ofTask(cli).map((turn) => turn.conversation)).size).toBe(1);
    const written = world.git("ls-tree", "--name-only", "main").split("\n");
    expect(written.filter((name) => name.startsWith("file-"))).toHaveLength(3);
    expect(world.git("status", "--porcelain")).toBe("");
  });
});

test("claude: what is said while it gives its last answer begins another turn in the same process", async () => {
  world = await World.open({ clis: ["claude"] });
  const model = world.model("claude");
  const { opened, open } = gate();
  model.setScript(async (turn) => {
    if (turn.index === 0) await opened;
    return { say: `ANSWER-${turn.index}` };
  });
  const plan = await start("claude");
  await model.waitForTurn((turn) => turn.index === 0);
  await tell("talk/a", "/one-more-thing");
  open();
  expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
  const { attempts, history, output } = await world.task("talk/a");
  expect(attempts).toHaveLength(1);
  expect(output).toBe("ANSWER-1");
  expect(model.turns).toHaveLength(2);
  expect(model.turns[1]?.everything).toMatch(/ANSWER-0[^]*\/one-more-thing/);
  expect((history ?? []).map(({ kind }) => kind)).toEqual(["prompt", "text", "prompt", "text", "note"]);
});

/** What Claude Code asks at its first start in a folder; a person has answered that long ago. */
function claudeSettled(worktree: string): string {
  return JSON.stringify({
    hasCompletedOnboarding: true,
    theme: "dark",
    customApiKeyResponses: { approved: ["dummy-key-of-claude"], rejected: [] },
    projects: { [worktree]: { hasTrustDialogAccepted: true, hasCompletedProjectOnboarding: true } },
  });
}

/** What Codex asks at its start, in its config: is the folder trusted, and does a newer model please. */
function codexSettled(): string {
  return `
[projects."${world.repository}"]
trust_level = "trusted"
[notice.model_migrations]
"${MODELS.codex}" = "gpt-6-sol"
`;
}

interface Terminal {
  readonly ended: Promise<number | null>;
  shown(): string;
  /** Puts the words where the screen takes them, and sends them once they stand there. */
  say(words: string): Promise<void>;
}

/** A terminal that answers what screens ask of it, as far as they wait for the answer. */
function openInTerminal(task: string): Terminal {
  const command = `stty cols 120 rows 40; exec '${process.execPath}' '${PROGRAM}' open ${task}`;
  const env = { ...world.environment(), TERM: "xterm-256color", SHELL: "/bin/sh", GOOSE_TELEMETRY_ENABLED: "false" };
  const child = spawn("script", ["-qec", command, "/dev/null"], { cwd: world.repository, env });
  world.adopt(child);
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    shown += chunk;
    if (chunk.includes("\u001b[6n")) child.stdin.write("\u001b[1;1R");
    if (chunk.includes("\u001b[c")) child.stdin.write("\u001b[?62;22c");
  });
  const more = (): string => JSON.stringify(shown.slice(-2_000));
  return {
    ended: new Promise<number | null>((resolve) => child.on("close", resolve)),
    shown: () => shown,
    say: async (words) => {
      await until(
        "the screen takes what is pasted",
        () => shown.lastIndexOf(PASTE_ON) > shown.lastIndexOf(PASTE_OFF),
        more,
      );
      // Pasted, not typed: then what comes in one piece is no guess, and Return is the key.
      const before = shown.length;
      child.stdin.write(`\u001b[200~${words}\u001b[201~`);
      await until(
        `the screen shows ${words}`,
        () => stripVTControlCharacters(shown.slice(before)).includes(words),
        more,
      );
      child.stdin.write("\r");
    },
  };
}

/** xterm's control sequences, "Bracketed Paste Mode". */
const PASTE_ON = "\u001b[?2004h";
const PASTE_OFF = "\u001b[?2004l";

describe.skipIf(process.platform !== "linux").each(CLI_NAMES)("%s, opened by a person", (cli) => {
  test("what is typed goes to the model after what came before, and the agent goes on afterwards", async () => {
    world = await World.open({ clis: [cli] });
    const model = world.model(cli);
    let isHeld = true;
    model.setScript(async (turn) => {
      if (turn.index === 0) return { tool: "task_context", input: {} };
      if (turn.index === 1) await until("the turn is cut off", () => !isHeld).catch(() => undefined);
      return { say: `SPOKEN-${turn.index}` };
    });
    const plan = await start(cli);
    await model.waitForTurn((turn) => turn.index === 1);
    const { worktree } = await world.task("talk/a");
    if (cli === "claude") {
      // The one at work would write its own over it.
      await world.call("control", { action: "pause", task: "talk/a" });
      await until("it is paused", async () => (await world.task("talk/a")).state === "waiting");
      world.put("home/.claude.json", claudeSettled(worktree ?? ""));
    }
    if (cli === "codex") appendFileSync(join(world.home, ".codex/config.toml"), codexSettled());
    const terminal = openInTerminal("talk/a");
    await until("it is paused", async () => (await world.task("talk/a")).state === "waiting");
    isHeld = false;
    const typed = (turn: ModelTurn): boolean => turn.everything.includes("TYPED-BY-HAND");
    await terminal.say("TYPED-BY-HAND");
    expect((await model.waitForTurn(typed)).everything).toMatch(/FIRST-PROMPT[^]*TYPED-BY-HAND/);
    await terminal.say(cli === "codex" ? "/quit" : "/exit");
    expect(await terminal.ended, terminal.shown().slice(-2_000)).toBe(0);
    expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
    expect(model.turns.at(-1)?.everything).toMatch(/TYPED-BY-HAND[^]*A person worked in your worktree/);
  });
});
