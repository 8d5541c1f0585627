import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AppError, type ErrorCode } from "../../src/errors.ts";
import { freeId, slugOf } from "../../src/plan/plan-id.ts";
import { MAX_PROMPT_CHARACTERS, parsePlan, TASK_ID_PATTERN, type PlanDraft } from "../../src/plan/schema.ts";

const NAMES = {
  agents: ["coder", "reviewer", "tester"],
  workflows: { standard: { steps: [{ agent: "coder" }] }, review: { steps: [{ agent: "tester" }] } },
};
const TASK = { id: "a", prompt: "do it" };

describe("a bad plan is refused with one clear error that names what and where", () => {
  const task = (more: object): object => ({ tasks: [{ ...TASK, ...more }] });
  const cases: readonly [string, unknown, ErrorCode, readonly string[]][] = [
    [
      "a cycle",
      {
        tasks: [
          { ...TASK, dependsOn: ["b"] },
          { ...TASK, id: "b", dependsOn: ["a"] },
        ],
      },
      "PLAN_CYCLE",
      ["a → b → a"],
    ],
    [
      "an unknown dependency",
      {
        tasks: [
          { ...TASK, id: "schema" },
          { ...TASK, dependsOn: ["scheme"] },
        ],
      },
      "PLAN_UNKNOWN_DEPENDENCY",
      ['"a"', '"scheme"', '"schema"'],
    ],
    [
      "an unknown role",
      task({ agent: "reviwer" }),
      "PLAN_UNKNOWN_AGENT",
      ['"a"', '"reviwer"', 'did you mean "reviewer"?'],
    ],
    ["an unknown workflow", task({ workflow: "standart" }), "PLAN_INVALID", ['"a"', '"standart"', "standard"]],
    ["an unknown key of a task", task({ dependson: ["x"] }), "PLAN_INVALID", ["tasks[0].dependson", '"dependsOn"']],
    ["an unknown key of the plan", { task: [], tasks: [TASK] }, "PLAN_INVALID", ["task", "unknown key"]],
    ["two tasks of one id", { tasks: [TASK, TASK] }, "PLAN_DUPLICATE_TASK", ['"a"']],
    ["an id with a slash", task({ id: "a/b" }), "PLAN_INVALID", ["tasks[0].id", "a task id is"]],
    ["an id that climbs", task({ id: "a..b" }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id of two dots", task({ id: ".." }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id with a space", task({ id: "a b" }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id that ends in .lock", task({ id: "a.lock" }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id that ends in a dot", task({ id: "a." }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id of 65 characters", task({ id: "a".repeat(65) }), "PLAN_INVALID", ["tasks[0].id", "64"]],
    ["an empty id", task({ id: "" }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id that looks like an option", task({ id: "-a" }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id with a capital", task({ id: "A" }), "PLAN_INVALID", ["tasks[0].id"]],
    ["an id with a line break", task({ id: "a\n" }), "PLAN_INVALID", ["tasks[0].id"]],
    [
      "a claim with an absolute path",
      task({ writes: ["/etc/passwd"] }),
      "PLAN_INVALID",
      ["tasks[0].writes[0]", "relative"],
    ],
    [
      "a claim that climbs out",
      task({ writes: ["src/**", "src/../../x"] }),
      "PLAN_INVALID",
      ["tasks[0].writes[1]", ".."],
    ],
    ["a claim that climbs with backslashes", task({ writes: ["..\\x"] }), "PLAN_INVALID", ["tasks[0].writes[0]"]],
    ["a claim of the home folder", task({ writes: ["~/x"] }), "PLAN_INVALID", ["tasks[0].writes[0]"]],
    ["a claim on a drive", task({ writes: ["C:\\x"] }), "PLAN_INVALID", ["tasks[0].writes[0]"]],
    ["a claim on a drive, with a slash", task({ writes: ["c:/x"] }), "PLAN_INVALID", ["tasks[0].writes[0]"]],
    ["an empty claim", task({ writes: ["  "] }), "PLAN_INVALID", ["tasks[0].writes[0]", "empty"]],
    ["no tasks", { tasks: [] }, "PLAN_INVALID", ["tasks", "at least one task"]],
    ["no list of tasks", {}, "PLAN_INVALID", ["tasks"]],
    ["nothing at all", null, "PLAN_INVALID", ["the plan"]],
    ["a list", [], "PLAN_INVALID", ["the plan"]],
    ["text", "tasks: []", "PLAN_INVALID", ["the plan"]],
    [
      "a prompt that is too long",
      task({ prompt: "x".repeat(MAX_PROMPT_CHARACTERS + 1) }),
      "PLAN_INVALID",
      ["tasks[0].prompt", "1,048,576"],
    ],
    ["an empty prompt", task({ prompt: " \n " }), "PLAN_INVALID", ["tasks[0].prompt", "empty"]],
    ["a missing prompt", { tasks: [{ id: "a" }] }, "PLAN_INVALID", ["tasks[0].prompt"]],
    ["a NUL in a prompt", task({ prompt: "a\0b" }), "PLAN_INVALID", ["tasks[0].prompt", "NUL"]],
    ["a NUL in a claim", task({ writes: ["a\0b"] }), "PLAN_INVALID", ["tasks[0].writes[0]", "NUL"]],
    ["a NUL in a verify command", task({ verify: ["true\0"] }), "PLAN_INVALID", ["tasks[0].verify[0]", "NUL"]],
    ["a word where a number should be", task({ priority: "high" }), "PLAN_INVALID", ["tasks[0].priority", "number"]],
    ["a number where a list should be", task({ dependsOn: 7 }), "PLAN_INVALID", ["tasks[0].dependsOn"]],
    ["half a retry", task({ retries: 1.5 }), "PLAN_INVALID", ["tasks[0].retries"]],
    ["less than no retry", task({ retries: -1 }), "PLAN_INVALID", ["tasks[0].retries"]],
    ["no time at all", task({ timeoutMinutes: 0 }), "PLAN_INVALID", ["tasks[0].timeoutMinutes"]],
    ["endless time", task({ timeoutMinutes: Infinity }), "PLAN_INVALID", ["tasks[0].timeoutMinutes"]],
    ["an unknown failure mode", task({ onFailure: "softly" }), "PLAN_INVALID", ["tasks[0].onFailure", "soft"]],
    ["an unknown merge mode", task({ merge: true }), "PLAN_INVALID", ["tasks[0].merge"]],
    ["no slots", { maxConcurrent: 0, tasks: [TASK] }, "PLAN_INVALID", ["maxConcurrent"]],
    ["a negative budget", { budget: { usd: -1 }, tasks: [TASK] }, "PLAN_INVALID", ["budget.usd"]],
    ["a budget of something else", { budget: { euro: 1 }, tasks: [TASK] }, "PLAN_INVALID", ["budget.euro"]],
    ["a name that is no branch name", { name: "a plan", tasks: [TASK] }, "PLAN_INVALID", ["name"]],
    ["a task that is a list", { tasks: [[]] }, "PLAN_INVALID", ["tasks[0]"]],
    ["null for a task", { tasks: [null] }, "PLAN_INVALID", ["tasks[0]"]],
    ["deep junk", { tasks: [{ ...TASK, prompt: nested(5_000) }] }, "PLAN_INVALID", ["tasks[0].prompt"]],
  ];
  test.each(cases)("%s", (_, plan, code, words) => {
    const error = refusalOf(plan);
    expect(error.code).toBe(code);
    for (const word of words) expect(error.message).toContain(word);
    expect(error.message.length).toBeLessThan(600);
    // One thing is wrong, so one thing is told.
    if (code === "PLAN_INVALID" && "problems" in error.details) expect(error.details["problems"]).toHaveLength(1);
  });

  test("the file is named where the plan came from one", () => {
    expect(() => parsePlan(["x"], NAMES, "plans/a.yaml")).toThrow(/^plans\/a\.yaml: /);
  });

  test("ten megabytes of made-up keys give a short message", () => {
    const junk = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`${"k".repeat(95)}${index}`, 1]));
    for (const plan of [{ ...junk, tasks: [TASK] }, { tasks: [{ ...TASK, ...junk }] }, { tasks: [junk, junk] }]) {
      const error = refusalOf(plan);
      expect(error.code).toBe("PLAN_INVALID");
      expect(error.message.length).toBeLessThan(1_500);
      expect(JSON.stringify(error.details).length).toBeLessThan(20_000);
    }
  });

  test("a name of ten megabytes gives a short message, wherever it stands", () => {
    const long = "x".repeat(10_000_000);
    for (const plan of [
      { tasks: [{ ...TASK, id: long }] },
      { tasks: [{ ...TASK, agent: long }] },
      { tasks: [{ ...TASK, dependsOn: [long] }] },
      { tasks: [{ ...TASK, [long]: 1 }] },
      { tasks: [{ ...TASK, onFailure: long }] },
      { name: long, tasks: [TASK] },
    ]) {
      expect(refusalOf(plan).message.length).toBeLessThan(1_000);
    }
  });

  test("whatever JSON is submitted is taken or refused with a code, never anything else", () => {
    const oddTask = fc.record(
      {
        id: fc.oneof(fc.constantFrom("a", "b", "c"), fc.string({ maxLength: 5 })),
        prompt: fc.oneof(fc.constant("x"), fc.jsonValue()),
        dependsOn: fc.oneof(fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 3 }), fc.jsonValue()),
        writes: fc.oneof(fc.array(fc.string({ maxLength: 4 }), { maxLength: 2 }), fc.jsonValue()),
        __proto__: fc.jsonValue(),
      },
      { requiredKeys: ["id"] },
    );
    const oddPlan = fc.oneof(fc.jsonValue(), fc.record({ tasks: fc.array(oddTask, { maxLength: 4 }) }));
    fc.assert(
      fc.property(oddPlan, (plan) => {
        try {
          parsePlan(plan, NAMES);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(AppError);
          expect((thrown as AppError).code).toMatch(/^PLAN_/);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a good plan is taken as it is", () => {
  test.each([
    ["-rf / is what you must not do"],
    ["/review the code"],
    ["--help"],
    ["a\tb\r\nc — ü 日本 \u{1f600}"],
    ["x".repeat(MAX_PROMPT_CHARACTERS)],
  ])("a prompt may begin and go on with anything: %.20s", (prompt) => {
    expect(parsePlan({ tasks: [{ id: "a", prompt }] }, NAMES).tasks[0]?.prompt).toBe(prompt);
  });

  test("what is left out is filled in as the design says", () => {
    expect(parsePlan({ tasks: [TASK] }, NAMES)).toEqual({
      name: null,
      goal: null,
      target: null,
      maxConcurrent: null,
      budget: { usd: null, tokens: null, minutes: null },
      tasks: [
        {
          id: "a",
          title: "a",
          prompt: "do it",
          agent: "coder",
          dependsOn: [],
          writes: null,
          onFailure: "hard",
          workflow: null,
          verify: null,
          merge: "auto",
          timeoutMinutes: 60,
          priority: 0,
          retries: null,
          continues: null,
        },
      ],
      order: ["a"],
    });
  });

  test("a dependency that is named twice counts once", () => {
    const plan = { tasks: [TASK, { ...TASK, id: "b", dependsOn: ["a", "a"] }] };
    expect(parsePlan(plan, NAMES).tasks[1]?.dependsOn).toEqual(["a"]);
  });

  test("written down again and read again it is the same plan", () => {
    const id = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,9}$/);
    const text = fc
      .string({ minLength: 1, maxLength: 20 })
      .filter((value) => value.trim() !== "" && !value.includes("\0"));
    const oneTask = fc.record(
      {
        prompt: text,
        title: text,
        agent: fc.constantFrom(...NAMES.agents),
        writes: fc.array(fc.constantFrom("src/**", "docs/*.md", "a.ts"), { maxLength: 3 }),
        onFailure: fc.constantFrom("hard", "soft", "skip"),
        workflow: fc.constantFrom(...Object.keys(NAMES.workflows)),
        verify: fc.array(text, { maxLength: 2 }),
        merge: fc.constantFrom("auto", "manual", "none"),
        timeoutMinutes: fc.integer({ min: 1, max: 10_080 }),
        priority: fc.integer({ min: -1000, max: 1000 }),
        retries: fc.integer({ min: 0, max: 100 }),
      },
      { requiredKeys: ["prompt"] },
    );
    const plan = fc
      .tuple(
        fc.uniqueArray(id, { minLength: 1, maxLength: 6 }),
        fc.array(oneTask, { minLength: 6, maxLength: 6 }),
        fc.array(fc.nat()),
      )
      .map(([ids, tasks, chances]) => ({
        name: ids[0],
        goal: "g",
        maxConcurrent: 3,
        budget: { usd: 1.5 },
        tasks: ids.map((name, index) => ({
          ...tasks[index],
          id: name,
          dependsOn: ids.slice(0, index).filter((_, earlier) => ((chances[earlier] ?? 0) + index) % 2 === 0),
        })),
      }));
    fc.assert(
      fc.property(plan, (input) => {
        const draft = parsePlan(input, NAMES);
        const again = parsePlan(JSON.parse(JSON.stringify(writtenDown(draft))), NAMES);
        expect(again).toEqual(draft);
      }),
      { numRuns: 500 },
    );
  });
});

describe("names that are made up are fit for branches and folders", () => {
  test("out of any text comes a task id", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(slugOf(text)).toMatch(TASK_ID_PATTERN);
      }),
    );
    expect(slugOf("Add rate limiting to the API, please")).toBe("add-rate-limiting-to-the");
    expect(slugOf("Éclair à l'été")).toBe("eclair-a-l-ete");
    expect(slugOf("  !!! ")).toBe("plan");
    expect(slugOf("x.lock")).toBe("x-lock");
  });

  test("a name that is taken gets a number, and stays within 64 characters", () => {
    const taken = new Set(["a", "a-2", "b".repeat(64)]);
    expect(freeId("a", (id) => taken.has(id))).toBe("a-3");
    expect(freeId("c", (id) => taken.has(id))).toBe("c");
    const long = freeId("b".repeat(64), (id) => taken.has(id));
    expect(long).toMatch(TASK_ID_PATTERN);
    expect(taken.has(long)).toBe(false);
  });
});

function writtenDown(draft: PlanDraft): unknown {
  const { order: _, ...plan } = draft;
  return withoutNulls({ ...plan, budget: withoutNulls(plan.budget), tasks: plan.tasks.map(withoutNulls) });
}

function withoutNulls(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== null));
}

function nested(depth: number): unknown {
  let value: unknown = "x";
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}

function refusalOf(plan: unknown): AppError {
  try {
    parsePlan(plan, NAMES);
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown;
    throw thrown;
  }
  throw new Error("the plan was not refused");
}
