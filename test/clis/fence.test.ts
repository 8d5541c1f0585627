/** 3.7, 3.11: the fence around an agent's git stands in the shell of each real CLI. */
import { afterEach, expect, test } from "vitest";
import { acts, CLI_NAMES, type CliName } from "./support/models.ts";
import { World } from "./support/world.ts";

let world: World;

afterEach(async () => {
  await world.leave();
});

const SCRIPT = [
  "echo own > own.txt",
  "git add own.txt",
  "git commit -qm OWN-COMMIT",
  "git tag stolen",
  "git update-ref refs/heads/main HEAD",
  "git push . HEAD:refs/heads/pushed",
].join("; ");

test.each(CLI_NAMES)(
  "%s: its shell commits on the task's own branch and changes nothing else",
  async (cli: CliName) => {
    world = await World.open({});
    world
      .model(cli)
      .setScript(
        acts(
          { shell: SCRIPT },
          { tool: "report_result", input: { status: "succeeded", summary: "done" } },
          { say: "done" },
        ),
      );
    const main = world.git("rev-parse", "main");
    const task = { id: cli, agent: `coder-${cli}`, prompt: "P", writes: ["own.txt"], merge: "none" };
    const run = await world.orchestrator([
      "run",
      world.put("plan.json", JSON.stringify({ name: "fenced", tasks: [task] })),
    ]);
    expect(run.exitCode, `${run.stdout}${run.stderr}${world.log()}`).toBe(0);
    expect(world.git("log", "-1", "--format=%s", `orchestrator/fenced/${cli}`)).toBe("OWN-COMMIT");
    expect(world.git("rev-parse", "main")).toBe(main);
    expect(world.git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags").split("\n")).toEqual([
      "refs/heads/main",
      `refs/heads/orchestrator/fenced/${cli}`,
    ]);
    const told = world
      .model(cli)
      .turns.flatMap(({ results }) => results)
      .join("\n");
    // Codex's own sandbox comes first where git takes the lock of a ref before it asks the hook.
    expect(told).toMatch(/this task may not push/);
  },
);
