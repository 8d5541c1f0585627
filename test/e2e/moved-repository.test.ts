/** 4, 5: a repository that is moved goes on with its plans; a copy never touches what the original runs. */
import { cpSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { attemptsBelow, Ground, quoted, Repo } from "./engine-support.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
let claude: StandInClaude;
beforeEach(() => {
  ground = new Ground({ providers: StandInClaude.providers });
  repo = ground.main;
  claude = new StandInClaude(ground.home);
});
afterEach(() => ground.leave());

/** `to` is made by `how` from the test's repository. */
function other(name: string, how: (from: string, to: string) => void): Repo {
  const made = ground.repository(name);
  renameSync(made.path, `${made.path} unused`);
  how(repo.path, made.path);
  return made;
}

async function begin(): Promise<void> {
  const gate = quoted(join(ground.traces, "gate"));
  const told = `echo x >> ${quoted(join(ground.traces, "starts"))}; while ! [ -e ${gate} ]; do sleep 0.05; done`;
  claude.script(1, `echo half > one.txt; ${told}`);
  claude.script(2, "echo whole >> one.txt");
  await repo.submit("p", [
    { id: "one", agent: "coder", prompt: "one", writes: ["one.txt"] },
    { id: "two", prompt: `${told}; echo two > two.txt`, writes: ["two.txt"] },
    { id: "three", prompt: "cat one.txt two.txt > three.txt", dependsOn: ["one", "two"], writes: ["three.txt"] },
  ]);
  await until("both run", () => ground.trace("starts").length === 2);
}

test("moved while it was interrupted: the agent goes on in its session and worktree, all is merged once", async () => {
  await begin();
  await repo.killEngine();
  repo.closeClients();
  repo.write("../traces/gate", "");
  const moved = other("moved", renameSync);
  expect(await moved.settled("p")).toBe("succeeded");
  expect(moved.git("show", "main:three.txt")).toBe("half\nwhole\ntwo");
  expect(moved.merges()).toEqual({ one: 1, two: 1, three: 1 });
  const [first, second] = claude.turns();
  expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId, cwd: first?.cwd });
  expect(moved.git("branch", "--list", "orchestrator/*")).toBe("");
});

test("copied while it runs: the copy's engine ends no agent of the original's, and both come to their end", async () => {
  await begin();
  const agents = attemptsBelow(repo.enginePid());
  const copy = other("copy", (from, to) =>
    cpSync(from, to, { recursive: true, filter: (path) => !path.endsWith(".sock") }),
  );
  await until("the copy's agents run", async () => {
    await copy.client();
    return ground.trace("starts").length >= 3;
  });
  expect(agents.map(isAlive)).toEqual(agents.map(() => true));
  repo.write("../traces/gate", "");
  expect(await repo.settled("p")).toBe("succeeded");
  expect(await copy.settled("p")).toBe("succeeded");
  for (const one of [repo, copy]) expect(one.merges()).toEqual({ one: 1, two: 1, three: 1 });
});
