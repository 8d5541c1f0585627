/** Budgets with the real CLIs: what Claude Code and Codex themselves tell of their use is what a plan is held to. */
import { afterEach, expect, test } from "vitest";
import { acts } from "./support/models.ts";
import { PROGRAMS, World } from "./support/world.ts";

let world: World;

afterEach(async () => {
  await world.leave();
});

interface BudgetOfPlan {
  readonly limits: Readonly<Record<string, number | null>>;
  readonly used: { readonly usd: number; readonly tokens: number; readonly minutes: number };
  readonly reserved: { readonly usd: number };
}

async function budgetOf(plan: string): Promise<{ state: string; budget: BudgetOfPlan }> {
  const { plans } = await world.call<{ plans: { state: string; budget: BudgetOfPlan }[] }>("task_status", { plan });
  const [status] = plans;
  if (status === undefined) throw new Error(`no plan ${plan}`);
  return status;
}

test("Claude's own cost and Codex's tokens by the config's price are counted, and what would go over waits", async () => {
  const codexAt = { kind: "codex", command: PROGRAMS.codex, passEnv: ["SCRIPTED_API_KEY"] };
  world = await World.open({ clis: ["claude", "codex"], config: { providers: { codex: codexAt } } });
  const scripted = (file: string) => acts({ write: file, content: "x\n" }, { say: "done" });
  world.model("claude").setScript(scripted("claude.txt"));
  world.model("codex").setScript(scripted("codex.txt"));
  const tasks = [
    { id: "claude", agent: "coder-claude", prompt: "ONE", writes: ["claude.txt"] },
    { id: "codex", agent: "coder-codex", prompt: "TWO", writes: ["codex.txt"], dependsOn: ["claude"] },
  ];
  const plan = { name: "counted", tasks, budget: { usd: 5, tokens: 1_000_000 } };
  const refused = await world.orchestrator(["run", world.put("plan.json", JSON.stringify(plan))]);
  expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining("providers.codex.prices")]);

  const prices = { "*": { input: 1000, output: 2000 } };
  world.configure({ providers: { codex: { ...codexAt, prices } } });
  await world.call("create_plan", plan);
  expect((await world.untilSettled("counted")).state).toBe("succeeded");
  const [byClaude] = (await world.task("counted/claude")).attempts;
  const [byCodex] = (await world.task("counted/codex")).attempts;
  expect(byClaude?.costUsd).toBeGreaterThan(0);
  const { input = 0, output = 0 } = byCodex?.tokens ?? {};
  expect(output).toBeGreaterThan(0);
  expect(byCodex?.costUsd).toBeCloseTo((input * 1000 + output * 2000) / 1_000_000);
  const { budget } = await budgetOf("counted");
  expect(budget.used.usd).toBeCloseTo((byClaude?.costUsd ?? 0) + (byCodex?.costUsd ?? 0));
  expect(budget.used.tokens).toBe((byClaude?.tokens?.input ?? 0) + (byClaude?.tokens?.output ?? 0) + input + output);
  expect(budget.reserved.usd).toBe(0);

  // The same once more would go over.
  await world.call("update_plan", { plan: "counted", budget: { tokens: budget.used.tokens + 1 } });
  await world.call("spawn_agent", { plan: "counted", id: "late", agent: "coder-codex", prompt: "LATE" });
  expect((await world.untilSettled("counted")).state).toBe("needs-person");
  expect((await world.task("counted/late")).why).toMatchObject({ code: "budget" });
  expect(world.model("codex").turns.some((turn) => turn.prompt.includes("LATE"))).toBe(false);
});

test("a Claude that spends on is ended by its own fence, waits for the budget, and goes on in its conversation", async () => {
  world = await World.open({ clis: ["claude"] });
  const claude = world.model("claude");
  const work = Array.from({ length: 30 }, (_, index) => ({ shell: `echo ${index} >> count.txt` }));
  claude.setScript(acts(...work, { say: "done" }));
  await world.call("create_plan", {
    name: "fenced",
    tasks: [{ id: "a", agent: "coder-claude", prompt: "COUNT" }],
    budget: { usd: 0.0005 },
  });
  expect((await world.untilSettled("fenced")).state).toBe("needs-person");
  const cut = await world.task("fenced/a");
  expect(cut).toMatchObject({ state: "waiting", why: { code: "budget" } });
  expect(cut.attempts.at(-1)).toMatchObject({ cause: "budget" });
  const requests = claude.turns.length;
  expect(requests).toBeLessThan(25);
  const { budget } = await budgetOf("fenced");
  expect(budget.used.usd).toBeCloseTo(cut.attempts.at(-1)?.costUsd ?? 0, 8);
  // One request late at most.
  expect(budget.used.usd).toBeLessThan(0.0005 + (2 * budget.used.usd) / requests);

  claude.setScript(acts({ say: "done" }));
  await world.call("update_plan", { plan: "fenced", budget: { usd: 5 } });
  expect((await world.untilSettled("fenced")).state).toBe("succeeded");
  const conversations = new Set(claude.turns.map((turn) => turn.conversation));
  expect(conversations.size).toBe(1);
  expect(claude.turns.at(-1)?.everything).toContain("bound of the plan's budget");
});
