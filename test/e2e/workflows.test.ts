/** W1: workflows through the real engine, with commands as agents: rounds, verdicts, persons, and who waits for whom. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Ground, quoted } from "./engine-support.ts";
import { until } from "../support/until.js";

const COMMAND = { provider: "command" };

/** A check that passes once the file says "good". */
const CHECK = 'grep -q good work.txt || { echo "work.txt is not good yet"; exit 1; }';

function config(more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    agents: { tester: COMMAND, reviewer: { ...COMMAND, permissions: "read" } },
    workflows: {
      checked: { steps: [{ agent: "command" }, { agent: "tester", prompt: CHECK }], maxRounds: 2 },
      strict: { steps: [{ agent: "command" }, { agent: "tester", prompt: CHECK }], maxRounds: 0 },
      three: {
        steps: [
          { agent: "command" },
          { agent: "reviewer", prompt: "echo junk > junk.txt; echo changed >> work.txt; test -s work.txt" },
          { agent: "tester", prompt: "echo a test > test.txt" },
        ],
      },
    },
    ...more,
  };
}

let ground: Ground;

beforeEach(() => {
  ground = new Ground(config());
});

afterEach(async () => {
  await ground.leave();
});

/** Writes "bad" in the first round and "good" in later ones; tells the comments that it was given. */
function coder(): string {
  const comments = quoted(`${ground.traces}/comments`);
  return [
    `if [ "$ORCHESTRATOR_ROUND" = 1 ]; then echo bad > work.txt; else echo good > work.txt; fi`,
    `if [ -n "$ORCHESTRATOR_COMMENTS" ]; then cat "$ORCHESTRATOR_COMMENTS" >> ${comments}; fi`,
  ].join("\n");
}

describe("W1: a workflow of commands", () => {
  test("W1: one reject goes back with its words, then the approved work is merged and dependents start", async () => {
    const repo = ground.main;
    const plan = await repo.submit("p", [
      { id: "a", prompt: coder(), workflow: "checked" },
      { id: "b", prompt: "cat work.txt > copy.txt", dependsOn: ["a"] },
    ]);
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(repo.read("copy.txt")).toBe("good\n");
    expect(repo.merges()).toEqual({ a: 1, b: 1 });
    expect(ground.trace("comments").join("\n")).toContain("work.txt is not good yet");
    const { attempts } = await repo.task("p/a");
    expect(attempts.map(({ step, agent, verdict }) => [step, agent, verdict])).toEqual([
      [1, "command", null],
      [2, "tester", "reject"],
      [1, "command", null],
      [2, "tester", "approve"],
    ]);
  });

  test("W1: after maxRounds a person is asked; approve goes on to the merge in spite of it", async () => {
    const repo = ground.main;
    const plan = await repo.submit("p", [{ id: "a", prompt: "echo bad > work.txt", workflow: "strict" }]);
    expect(await repo.settled(plan)).toBe("needs-person");
    const [task] = (await repo.plan(plan)).tasks;
    expect(task).toMatchObject({ state: "waiting", why: { code: "review", command: "orchestrator retry p/a" } });
    expect(task?.why?.message).toContain("orchestrator approve p/a");
    expect(task?.why?.message).toContain("work.txt is not good yet");
    await repo.control("approve", { task: "p/a" });
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(repo.read("work.txt")).toBe("bad\n");
  });

  test("W1: a retry gives the first step another round", async () => {
    const repo = ground.main;
    const prompt = `if [ -e ${quoted(`${ground.traces}/mended`)} ]; then echo good > work.txt; else echo bad > work.txt; fi`;
    const plan = await repo.submit("p", [{ id: "a", prompt, workflow: "strict" }]);
    expect(await repo.settled(plan)).toBe("needs-person");
    repo.gitAt(ground.folder, "init", "-q", `${ground.traces}/mended`);
    await repo.control("retry", { task: "p/a" });
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(repo.read("work.txt")).toBe("good\n");
  });

  test("W1: who may only look leaves nothing in the work, what a tester adds is part of it, and none of it is lost", async () => {
    const repo = ground.main;
    const plan = await repo.submit("p", [{ id: "a", prompt: "echo work > work.txt", workflow: "three" }]);
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(repo.read("work.txt")).toBe("work\n");
    expect(repo.read("test.txt")).toBe("a test\n");
    expect(repo.git("ls-files")).not.toContain("junk.txt");
    const [kept = ""] = repo.keptRefs();
    expect(repo.git("show", `${kept}:junk.txt`)).toBe("junk");
    expect(repo.git("log", "--format=%(trailers:key=Orchestrator-Task,valueonly)", "-1", "--", "test.txt")).toBe("a");
  });

  test("W1: a command step may say its verdict itself", async () => {
    ground.configure(
      config({
        workflows: {
          said: {
            steps: [
              { agent: "command" },
              { agent: "tester", prompt: 'orchestrator report --verdict reject "not like this"' },
            ],
            maxRounds: 0,
          },
        },
      }),
    );
    const repo = ground.main;
    const plan = await repo.submit("p", [{ id: "a", prompt: "echo x > x", workflow: "said" }]);
    expect(await repo.settled(plan)).toBe("needs-person");
    expect((await repo.plan(plan)).tasks[0]?.why?.message).toContain("not like this");
  });
});

describe("W1: what a workflow needs is asked before anything has happened", () => {
  test("a workflow that the config does not have, and a command step without a command", async () => {
    const repo = ground.main;
    await repo.client();
    const tasks = [{ id: "a", agent: "command", prompt: "true", workflow: "cheked" }];
    expect(await repo.refusal("create_plan", { tasks })).toMatchObject({
      code: "PLAN_INVALID",
      message: expect.stringContaining('did you mean "checked"?') as string,
    });
    ground.configure({
      agents: { tester: COMMAND },
      workflows: { w: { steps: [{ agent: "command" }, { agent: "tester" }] } },
    });
    expect(await repo.refusal("create_plan", { tasks: [{ ...tasks[0], workflow: "w" }] })).toMatchObject({
      code: "PLAN_INVALID",
      message: expect.stringContaining('step 2 of workflow "w"') as string,
    });
  });

  test("a killed engine goes on with the step that it was in", async () => {
    const started = `${ground.traces}/reviewing`;
    const wait = `echo x >> ${quoted(started)}; while [ ! -e ${quoted(`${ground.traces}/go`)} ]; do sleep 0.05; done`;
    ground.configure(
      config({ workflows: { slow: { steps: [{ agent: "command" }, { agent: "tester", prompt: wait }] } } }),
    );
    const repo = ground.main;
    const coded = quoted(`${ground.traces}/coded`);
    const plan = await repo.submit("p", [{ id: "a", prompt: `echo x >> ${coded}; echo y > y`, workflow: "slow" }]);
    await until("the tester is at work", () => ground.trace("reviewing").length === 1);
    await repo.killEngine();
    repo.closeClients();
    await repo.client();
    await until("the tester is at work again", () => ground.trace("reviewing").length === 2);
    repo.gitAt(ground.folder, "init", "-q", `${ground.traces}/go`);
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(ground.trace("coded")).toHaveLength(1);
  });
});
