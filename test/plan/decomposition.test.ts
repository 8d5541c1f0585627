import { describe, expect, test } from "vitest";
import {
  decomposeTask,
  decompositionJsonSchema,
  DECOMPOSE_TASK,
  readDecomposition,
} from "../../src/plan/decomposition.ts";
import { parsePlan } from "../../src/plan/schema.ts";

const NAMES = { agents: ["orchestrator", "coder", "tester"], workflows: {} };
const TASK = { id: "a", title: "A", prompt: "do a" };

describe("D1: a goal becomes tasks", () => {
  test("a plan that is only a goal is one task like any other", () => {
    const goal = "Add rate limiting\n-- and say so";
    const [task] = parsePlan({ goal, tasks: [decomposeTask(goal)] }, NAMES).tasks;
    expect(task).toMatchObject({ id: DECOMPOSE_TASK, agent: "orchestrator", writes: [], merge: "none" });
    expect(task?.prompt.endsWith(goal)).toBe(true);
  });

  test("the role's answer is read with defaults filled in", () => {
    const answer = { tasks: [TASK, { ...TASK, id: "b", dependsOn: ["a"], writes: ["src/**"], agent: "tester" }] };
    const read = readDecomposition(answer, NAMES);
    expect(read.ok && read.tasks.map(({ id, agent, dependsOn, writes }) => ({ id, agent, dependsOn, writes }))).toEqual(
      [
        { id: "a", agent: "coder", dependsOn: [], writes: null },
        { id: "b", agent: "tester", dependsOn: ["a"], writes: ["src/**"] },
      ],
    );
  });

  test.each<[string, unknown, string]>([
    ["a cycle", { tasks: [{ ...TASK, dependsOn: ["a"] }] }, "a → a"],
    ["an unknown dependency", { tasks: [{ ...TASK, dependsOn: ["x"] }] }, '"x"'],
    ["two tasks of one id", { tasks: [TASK, TASK] }, '"a"'],
    ["an unknown role", { tasks: [{ ...TASK, agent: "codr" }] }, 'did you mean "coder"?'],
    ["an unknown key", { tasks: [{ ...TASK, depends: [] }] }, "tasks[0].depends"],
    ["a claim that leaves the repository", { tasks: [{ ...TASK, writes: ["../x"] }] }, "tasks[0].writes[0]"],
    ["a claim with an absolute path", { tasks: [{ ...TASK, writes: ["/etc/passwd"] }] }, "tasks[0].writes[0]"],
    ["a NUL in a title", { tasks: [{ ...TASK, title: "a\0" }] }, "tasks[0].title"],
    ["no tasks", { tasks: [] }, "tasks"],
    [
      "more tasks than anybody reads",
      { tasks: Array.from({ length: 201 }, (_, index) => ({ ...TASK, id: `t${index}` })) },
      "tasks",
    ],
    ["the name of the task itself", { tasks: [{ ...TASK, id: DECOMPOSE_TASK }] }, DECOMPOSE_TASK],
    ["text", "here is your plan", "the answer"],
    ["nothing", undefined, "the answer"],
  ])("%s is told in words that an agent can act on", (_, answer, word) => {
    const read = readDecomposition(answer, NAMES);
    expect(read.ok).toBe(false);
    if (read.ok) return;
    expect(read.problem).toContain(word);
    expect(read.problem.length).toBeLessThan(2_000);
  });

  test("what the agent's CLI is given is a plain JSON Schema", () => {
    const schema = decompositionJsonSchema();
    expect(schema).toMatchObject({ type: "object", required: ["tasks"], additionalProperties: false });
    expect(JSON.parse(JSON.stringify(schema))).toEqual(schema);
  });
});
