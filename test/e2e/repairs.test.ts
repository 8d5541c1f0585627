/**
 * 8: a merge whose checks fail is repaired by the agent that made the work, in its own session, and nothing that failed
 * is ever on the target. The agent's far end is scripted (`fake-claude.mjs`).
 */
import { afterEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { Ground, type Fields, type Repo } from "./engine-support.ts";

/** Green while there is no file `bad`; what it prints is what the agent has to see. */
const VERIFY = "test ! -e bad || { echo CHECK-SAYS-BAD; exit 1; }";

let ground: Ground;
let repo: Repo;
let claude: StandInClaude;

function begin(config: Fields = {}): void {
  ground = new Ground({ providers: StandInClaude.providers, ...config });
  repo = ground.main;
  claude = new StandInClaude(ground.home);
}
afterEach(() => ground.leave());

/** Whether `bad` was in any commit that the target ever was at. */
function wasEverBad(): boolean {
  const tips = repo.git("log", "--format=%H", "--first-parent", "main").split("\n");
  return tips.some((tip) => repo.git("ls-tree", "--name-only", tip).split("\n").includes("bad"));
}

test("8: the output goes to the agent's own session, which repairs it; the target only ever saw what passed", async () => {
  begin();
  claude.script(1, "touch work bad");
  claude.script(2, "rm bad");
  await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder", verify: [VERIFY] }]);
  expect(await repo.settled("p")).toBe("succeeded");
  const [first, second] = claude.turns();
  expect(claude.turns()).toHaveLength(2);
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId });
  expect(second?.prompt).toContain("CHECK-SAYS-BAD");
  expect(repo.merges()).toEqual({ a: 1 });
  expect(repo.git("ls-tree", "--name-only", "main").split("\n")).toEqual(["README.md", "work"]);
  expect(wasEverBad()).toBe(false);
});

test("8: after merge.maxRepairs it waits for a person with the output, the rest goes on, and retry tries again", async () => {
  begin({ merge: { maxRepairs: 1 } });
  claude.script(1, "touch work bad");
  await repo.submit("p", [
    { id: "a", prompt: "PROMPT-A", agent: "coder", verify: [VERIFY], writes: ["work", "bad"] },
    { id: "b", prompt: "touch other", writes: ["other"] },
  ]);
  expect(await repo.settled("p")).toBe("needs-person");
  expect(claude.turns()).toHaveLength(2);
  expect(await repo.states("p")).toMatchObject({ b: "succeeded" });
  const { task } = await repo.status({ task: "p/a", include: ["why"] });
  expect(task).toMatchObject({ state: "waiting", why: { code: "verify", command: "orchestrator retry p/a" } });
  expect(JSON.stringify(task)).toContain("CHECK-SAYS-BAD");
  claude.script(3, "rm bad");
  await repo.call("control", { action: "retry", task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
  expect(claude.turns()[2]?.prompt).toContain("CHECK-SAYS-BAD");
  expect(repo.merges()).toEqual({ a: 1, b: 1 });
  expect(wasEverBad()).toBe(false);
});
