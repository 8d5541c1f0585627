/**
 * The engine is killed while a real CLI is in the middle of its turn: nothing of it lives on, and the next command has
 * each go on in its own session, in its own worktree with what it had not committed, told that it was interrupted.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { childrenOf, commandLine } from "../support/processes.js";
import { acts, CLI_NAMES, type ModelAct } from "./support/models.ts";
import { World } from "./support/world.ts";

let world: World;

afterEach(async () => {
  await world.leave();
});

describe.skipIf(process.platform !== "linux").each(CLI_NAMES)("%s", (cli) => {
  test.each(["the engine", "the engine and its guard"])("S3 S4: %s killed in the middle of its turn", async (who) => {
    world = await World.open({ clis: [cli] });
    const model = world.model(cli);
    const begin: readonly ModelAct[] = [
      { write: "work.txt", content: "uncommitted\n" },
      { write: "more.txt", content: "more\n" },
    ];
    const script = acts(...begin);
    model.setScript((turn) => (turn.results.length === begin.length ? { hang: "headers" } : script(turn)));
    const tasks = [{ id: "a", agent: `coder-${cli}`, prompt: "PROMPT-OF-A", writes: ["*.txt"], retries: 0 }];
    const plan = await world.createPlan({ name: "cut", tasks });
    await model.waitForTurn((turn) => turn.results.length === begin.length);
    const { worktree } = await world.task(`${plan}/a`);
    expect(readFileSync(join(worktree ?? "", "work.txt"), "utf8")).toBe("uncommitted\n");
    // Once more is enough: whatever it does next it does because it was continued.
    const rest: readonly ModelAct[] = [
      { write: "rest.txt", content: "rest\n" },
      { tool: "report_result", input: { status: "succeeded", summary: "done" } },
      { say: "done" },
    ];
    const before = model.turns.length;
    model.setScript(acts(...rest));
    const engine = world.enginePid();
    const pids = [
      engine,
      ...(who === "the engine" ? [] : childrenOf(engine).filter((pid) => commandLine(pid).includes("guard-main"))),
    ];
    expect(pids).toHaveLength(who === "the engine" ? 1 : 2);
    // Stopped first: neither acts on the other's death.
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    for (const pid of pids) process.kill(pid, "SIGKILL");
    world.disconnect();
    const settled = await world.untilSettled(plan);
    expect(settled.state, `${world.log()} ${JSON.stringify([settled.tasks, model.errors])}`).toBe("succeeded");
    expect(model.errors).toEqual([]);
    const { attempts } = await world.task(`${plan}/a`);
    expect(attempts.map(({ outcome, cause }) => [outcome, cause])).toEqual([
      ["failed", "engine-crash"],
      ["succeeded", null],
    ]);
    expect(new Set(attempts.map((attempt) => attempt.session)).size).toBe(1);
    const again = model.turns
      .slice(before)
      .find((turn) => turn.everything.includes("You were interrupted: the engine"));
    expect(again?.everything).toContain("PROMPT-OF-A");
    expect(new Set(model.turns.map((turn) => turn.conversation)).size).toBe(1);
    expect(world.git("show", "main:work.txt")).toBe("uncommitted");
    expect(world.git("show", "main:rest.txt")).toBe("rest");
  });
});
