import { describe, expect, test } from "vitest";
import { decomposeTask } from "../../src/plan/decomposition.ts";
import { normalizeTask } from "../../src/plan/schema.ts";
import { decomposePrompt, type DecomposeFacts } from "../../src/scheduler/decompose-prompt.ts";
import type { RoleSettings } from "../../src/scheduler/settings.ts";
import { SETTINGS } from "./world.ts";

const role = (name: string, more: Partial<RoleSettings> = {}): RoleSettings => ({
  name,
  provider: "claude",
  model: null,
  systemPrompt: null,
  tools: null,
  permissions: "edit",
  ...more,
});
const ROLES = [
  role("orchestrator", { permissions: "read" }),
  role("coder", { systemPrompt: "You do one task\nin a worktree. And more that is not told." }),
  role("reviewer", { permissions: "read", systemPrompt: `You review ${"very ".repeat(100)}thoroughly.` }),
  role("translator"),
  role("command", { provider: "command" }),
];
const provider = { command: "x", args: [], env: {}, passEnv: [], limit: null } as const;

function told(more: Partial<DecomposeFacts> = {}): string {
  return decomposePrompt({
    spec: normalizeTask(decomposeTask("THE-GOAL")),
    settings: {
      ...SETTINGS,
      roles: Object.fromEntries(ROLES.map((one) => [one.name, one])),
      providers: {
        claude: { name: "claude", kind: "claude", ...provider },
        command: { name: "command", kind: "command", ...provider },
      },
    },
    worktree: "/the/worktree",
    turn: { kind: "start", note: null },
    continuesSession: false,
    lastWords: null,
    mail: [],
    ...more,
  });
}

describe("D1: what the orchestrator role is told", () => {
  test("who there is to be given a task, in a line each", () => {
    const [, list = ""] = /# Who can be given a task[^\n]*\n([^#]*)\n\n#/.exec(told()) ?? [];
    expect(list.split("\n").map((line) => line.replace(/You review.*/, "…"))).toEqual([
      "- coder (default): changes files; is told: You do one task in a worktree.",
      "- reviewer: looks and reports, changes nothing; is told: …",
      "- translator: changes files",
      "- command: no model; its `prompt` is a shell command, run in the task's worktree, and what it changes is the result",
    ]);
    for (const line of list.split("\n")) expect(line.length).toBeLessThan(260);
  });

  test("the goal once, and none of a coder's rules", () => {
    const prompt = told();
    expect(prompt.split("THE-GOAL")).toHaveLength(2);
    expect(prompt).toContain("/the/worktree");
    expect(prompt).toContain("make no commit");
    expect(prompt).toContain("Your final answer is the plan itself");
    expect(prompt).not.toMatch(/Commit your work|merged into|call the tool report_result|say in a few sentences/);
  });

  test("what was wrong with an earlier answer, in a fresh session with that answer", () => {
    const note = "the answer is not a valid plan: a → a";
    const fresh = told({ turn: { kind: "hand-over", note }, lastWords: "MY-PLAN" });
    expect(fresh).toMatch(/not taken[^]*<<<reason\n.*a → a[^]*<<<earlier answer\nMY-PLAN/);
    expect(fresh).toContain("THE-GOAL");
    const again = told({ turn: { kind: "again", note: "You were interrupted." }, continuesSession: true });
    expect(again).toMatch(/^You were interrupted\.\n\nYour final answer is the plan itself/);
  });
});
