import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { describeInvalid, describeValue, formatPath, parseInput } from "../src/invalid-input.ts";

const task = z.strictObject({
  id: z.string().regex(/^[a-z]+$/, "must be lower-case letters"),
  writes: z.array(z.string()).optional(),
  onFailure: z.enum(["hard", "soft", "skip"]).default("hard"),
  timeoutMinutes: z.number().int().min(1).max(600).optional(),
});
const plan = z.strictObject({
  name: z.string().max(20).optional(),
  tasks: z.array(task).min(1),
  roles: z.record(z.string().regex(/^[a-z]+$/), z.strictObject({ model: z.string() })).optional(),
  verify: z.union([z.string(), z.array(z.string())]).optional(),
  step: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("run"), command: z.string() }),
      z.strictObject({ kind: z.literal("wait"), seconds: z.number() }),
    ])
    .optional(),
  loop: z.preprocess((value) => value, z.strictObject({ count: z.number() }).nullable()).optional(),
});

function linesFor(value: unknown, schema: z.ZodType = plan): string[] {
  const parsed = parseInput(schema, value, "the plan");
  return parsed.ok ? [] : parsed.items.map(({ message }) => message);
}

test("an input that fits comes back with its defaults", () => {
  const parsed = parseInput(plan, { tasks: [{ id: "a" }] });
  expect(parsed).toEqual({ ok: true, value: { tasks: [{ id: "a", onFailure: "hard" }] } });
});

test("an unknown key names the nearest known one, at any depth and behind wrappers", () => {
  expect(linesFor({ task: [], tasks: [{ id: "a" }] })).toEqual([
    "task: unknown key; known here: name, roles, verify, step, loop",
  ]);
  expect(
    linesFor({ nmae: "x", tasks: [{ id: "a", write: ["b"] }], roles: { coder: { modle: "m", model: "x" } } }),
  ).toEqual([
    'tasks[0].write: unknown key; did you mean "writes"?',
    'roles.coder.modle: unknown key; did you mean "model"?',
    'nmae: unknown key; did you mean "name"?',
  ]);
  expect(linesFor({ tasks: [{ id: "a" }], loop: { cuont: 1 } })).toContain(
    'loop.cuont: unknown key; did you mean "count"?',
  );
});

test("an unknown key in one kind of a union is told the keys of that kind only", () => {
  expect(linesFor({ tasks: [{ id: "a" }], step: { kind: "wait", second: 1 } })).toContain(
    'step.second: unknown key; did you mean "seconds"?',
  );
  expect(linesFor({ tasks: [{ id: "a" }], step: { kind: "walt" } })).toEqual([
    'step.kind: expected "run" or "wait", found "walt"; did you mean "wait"?',
  ]);
});

test("a wrong type says what was expected and what was found", () => {
  expect(linesFor({ tasks: [{ id: "a", writes: ["x", 7] }] })).toEqual([
    "tasks[0].writes[1]: expected a string, found 7",
  ]);
  expect(linesFor({ tasks: {} })).toEqual(["tasks: expected a list, found an object"]);
  expect(linesFor([])).toEqual(["the plan: expected an object, found an empty list"]);
  expect(linesFor(undefined)).toEqual(["the plan: missing; expected an object"]);
  expect(linesFor({})).toEqual(["tasks: missing; expected a list"]);
  expect(linesFor({ tasks: [{ id: "a", timeoutMinutes: 1.5 }] })).toEqual([
    "tasks[0].timeoutMinutes: expected a whole number, found 1.5",
  ]);
});

test("a value out of bounds names the bound", () => {
  expect(linesFor({ tasks: [], name: "x".repeat(2_000_000) })).toEqual([
    "name: expected at most 20 characters, found 2000000 characters",
    "tasks: expected at least 1 entry, found an empty list",
  ]);
  expect(linesFor({ tasks: [{ id: "a", timeoutMinutes: 0 }] })).toEqual([
    "tasks[0].timeoutMinutes: expected 1 or more, found 0",
  ]);
});

test("a wrong word lists the allowed ones and the nearest", () => {
  expect(linesFor({ tasks: [{ id: "a", onFailure: "hrad" }] })).toEqual([
    'tasks[0].onFailure: expected "hard", "soft" or "skip", found "hrad"; did you mean "hard"?',
  ]);
});

test("a schema's own words are kept, and a bad name in a record says why", () => {
  expect(linesFor({ tasks: [{ id: "A1" }] })).toEqual(['tasks[0].id: must be lower-case letters, found "A1"']);
  expect(linesFor({ tasks: [{ id: "a" }], roles: { "My Role": { model: "m" } } })).toEqual([
    'roles["My Role"]: not a name that can be used here: expected text matching /^[a-z]+$/',
  ]);
});

test("a union says what it may be, or what is wrong in the one option that was meant", () => {
  expect(linesFor({ tasks: [{ id: "a" }], verify: 3 })).toEqual(["verify: expected a string or a list, found 3"]);
  expect(linesFor({ tasks: [{ id: "a" }], verify: ["x", 3] })).toEqual(["verify[1]: expected a string, found 3"]);
});

test("without the value the type that was found is still told", () => {
  const error = plan.safeParse({ tasks: [{ id: 5 }], name: 3 }).error;
  const items = error === undefined ? [] : describeInvalid(error, plan);
  expect(items).toEqual([
    { path: ["name"], message: "name: expected a string, found a number" },
    { path: ["tasks", 0, "id"], message: "tasks[0].id: expected a string, found a number" },
  ]);
});

test("a huge or hostile input gives short, clean and few lines", () => {
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`\u001b[2Jkey${index}\u202e`, index]));
  const lines = linesFor({ tasks: [{ id: `\u0007${"x".repeat(1_000_000)}` }], ...many, ["y".repeat(1_000_000)]: 1 });
  expect(lines.length).toBe(31);
  expect(lines.at(-1)).toBe("… and 4972 more like these");
  for (const text of lines) {
    expect(text.length).toBeLessThan(300);
    expect(text).not.toMatch(/[\p{Cc}\u202e]/u);
  }
});

test("names that objects inherit are unknown like any other", () => {
  for (const key of ["constructor", "toString", "__proto__"]) {
    const value = Object.defineProperty({ tasks: [{ id: "a" }] }, key, { value: 1, enumerable: true });
    expect(linesFor(value)).toEqual([expect.stringContaining(`${key}: unknown key`)]);
  }
});

test("a path reads like the code that would reach it", () => {
  expect(formatPath(["tasks", 3, "writes", 0])).toBe("tasks[3].writes[0]");
  expect(formatPath(["providers", "my llm", "env"])).toBe('providers["my llm"].env');
  expect(formatPath([])).toBe("");
  expect(describeValue("a\nb")).toBe('"a b"');
  expect(describeValue("x".repeat(100))).toBe(`"${"x".repeat(59)}…"`);
});

test("any input is either accepted or gets at least one line, and is never thrown at", () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true, withMap: true }), (value) => {
      const parsed = parseInput(plan, value);
      if (!parsed.ok) {
        expect(parsed.items.length).toBeGreaterThan(0);
        for (const { message } of parsed.items) expect(message.length).toBeLessThan(1_000);
      }
    }),
    { numRuns: 500 },
  );
});
