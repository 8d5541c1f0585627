/**
 * 8: a merge whose checks fail is repaired by the agent that made the work, in its own session, and nothing that failed
 * is ever on the target. The agent's far end is scripted (`fake-claude.mjs`).
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { Ground, type Fields, type Repo } from "./engine-support.ts";

const FAKE_CLAUDE = fileURLToPath(new URL("../agents/fake-claude.mjs", import.meta.url));
/** Green while there is no file `bad`; what it prints is what the agent has to see. */
const VERIFY = "test ! -e bad || { echo CHECK-SAYS-BAD; exit 1; }";

interface Turn {
  readonly sessionId: string;
  readonly resumed: boolean;
  readonly prompt: string;
}

let ground: Ground;
let repo: Repo;

function begin(config: Fields = {}): void {
  ground = new Ground({ providers: { claude: { kind: "claude", command: FAKE_CLAUDE } }, ...config });
  repo = ground.main;
}
afterEach(() => ground.leave());

function script(number: number, text: string): void {
  writeFileSync(join(ground.home, `turn-${number}.sh`), text);
}

function turns(): Turn[] {
  const file = join(ground.home, "turns.ndjson");
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Turn);
}

/** Whether `bad` was in any commit that the target ever was at. */
function wasEverBad(): boolean {
  const tips = repo.git("log", "--format=%H", "--first-parent", "main").split("\n");
  return tips.some((tip) => repo.git("ls-tree", "--name-only", tip).split("\n").includes("bad"));
}

test("8: the output goes to the agent's own session, which repairs it; the target only ever saw what passed", async () => {
  begin();
  script(1, "touch work bad");
  script(2, "rm bad");
  await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder", verify: [VERIFY] }]);
  expect(await repo.settled("p")).toBe("succeeded");
  const [first, second] = turns();
  expect(turns()).toHaveLength(2);
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId });
  expect(second?.prompt).toContain("CHECK-SAYS-BAD");
  expect(repo.merges()).toEqual({ a: 1 });
  expect(repo.git("ls-tree", "--name-only", "main").split("\n")).toEqual(["README.md", "work"]);
  expect(wasEverBad()).toBe(false);
});

test("8: after merge.maxRepairs it waits for a person with the output, the rest goes on, and retry tries again", async () => {
  begin({ merge: { maxRepairs: 1 } });
  script(1, "touch work bad");
  await repo.submit("p", [
    { id: "a", prompt: "PROMPT-A", agent: "coder", verify: [VERIFY], writes: ["work", "bad"] },
    { id: "b", prompt: "touch other", writes: ["other"] },
  ]);
  expect(await repo.settled("p")).toBe("needs-person");
  expect(turns()).toHaveLength(2);
  expect(await repo.states("p")).toMatchObject({ b: "succeeded" });
  const { task } = await repo.status({ task: "p/a", include: ["why"] });
  expect(task).toMatchObject({ state: "waiting", why: { code: "verify", command: "orchestrator retry p/a" } });
  expect(JSON.stringify(task)).toContain("CHECK-SAYS-BAD");
  script(3, "rm bad");
  await repo.call("control", { action: "retry", task: "p/a" });
  expect(await repo.settled("p")).toBe("succeeded");
  expect(turns()[2]?.prompt).toContain("CHECK-SAYS-BAD");
  expect(repo.merges()).toEqual({ a: 1, b: 1 });
  expect(wasEverBad()).toBe(false);
});
