/** W1, A3: the built-in workflow with a real CLI in each step: Claude codes, Codex reviews, Goose tests. */
import { afterEach, expect, test } from "vitest";
import { acts } from "./support/models.ts";
import { MODELS, World } from "./support/world.ts";

let world: World;

afterEach(async () => {
  await world.leave();
});

const ROLES = {
  coder: { provider: "claude", model: MODELS.claude },
  reviewer: { provider: "codex", model: MODELS.codex, permissions: "read" },
  tester: { provider: "goose", model: MODELS.goose },
};

const report = (summary: string, more: object = {}): { tool: string; input: Record<string, unknown> } => ({
  tool: "report_result",
  input: { status: "succeeded", summary, ...more },
});

test("W1, A3: one reject goes to Claude's own session, and Codex and Goose both see the repair before it merges", async () => {
  world = await World.open({ config: { agents: ROLES } });
  const [claude, codex, goose] = [world.model("claude"), world.model("codex"), world.model("goose")];
  claude.setScript((turn) =>
    turn.prompt.includes("FINDING-OF-THE-REVIEWER")
      ? acts({ shell: "echo SECOND-VERSION > work.txt" }, report("MENDED-BY-THE-CODER"), { say: "mended" })(turn)
      : acts({ write: "work.txt", content: "FIRST-VERSION\n" }, report("DONE-BY-THE-CODER"), { say: "done" })(turn),
  );
  codex.setScript((turn) =>
    turn.prompt.includes("+SECOND-VERSION")
      ? acts(report("fine now", { verdict: "approve" }), { say: "approved" })(turn)
      : // Without a verdict it is told what is missing, and gives it.
        acts(report("hm"), report("FINDING-OF-THE-REVIEWER: work.txt:1", { verdict: "reject" }), { say: "rejected" })(
          turn,
        ),
  );
  goose.setScript(
    acts({ write: "work.test.txt", content: "a test\n" }, report("tested", { verdict: "approve" }), { say: "tested" }),
  );

  const task = { id: "work", prompt: "PROMPT-OF-THE-TASK", workflow: "standard" };
  const id = await world.createPlan({ goal: "THE-GOAL", tasks: [task] });
  const settled = await world.untilSettled(id);
  expect(settled.state, JSON.stringify(settled)).toBe("succeeded");
  for (const model of [claude, codex, goose]) expect(model.errors).toEqual([]);

  const { attempts, report: kept } = await world.task(`${id}/work`);
  expect(attempts.map(({ agent, provider, verdict }) => [agent, provider, verdict])).toEqual([
    ["coder", "claude", null],
    ["reviewer", "codex", "reject"],
    ["coder", "claude", null],
    ["reviewer", "codex", "approve"],
    ["tester", "goose", "approve"],
  ]);
  expect(kept?.summary).toBe("MENDED-BY-THE-CODER");
  // A session for each step, and the same one in its second round.
  for (const model of [claude, codex, goose])
    expect(new Set(model.turns.map((turn) => turn.conversation)).size).toBe(1);

  const [review] = codex.turns;
  expect(review?.prompt).toContain("PROMPT-OF-THE-TASK");
  expect(review?.prompt).toContain("THE-GOAL");
  expect(review?.prompt).toContain("DONE-BY-THE-CODER");
  expect(review?.prompt).toContain("+FIRST-VERSION");
  const refused = codex.turns.find((turn) => turn.results.length === 1)?.results[0];
  expect(refused).toContain("verdict");
  const again = codex.turns.find((turn) => turn.prompt.includes("+SECOND-VERSION"));
  expect(again?.prompt).toContain("MENDED-BY-THE-CODER");
  expect(goose.turns[0]?.prompt).toContain("+SECOND-VERSION");
  expect(goose.turns[0]?.prompt).toContain("FINDING-OF-THE-REVIEWER");

  expect(world.git("show", "main:work.txt")).toBe("SECOND-VERSION");
  expect(world.git("show", "main:work.test.txt")).toBe("a test");
  expect(world.git("log", "--merges", "--format=%s", "main").split("\n")).toHaveLength(1);
});
