import { describe, expect, test } from "vitest";
import { OPERATIONS } from "../../src/operations/list.ts";
import { toolInputSchema } from "../../src/operations/tool-schema.ts";
import { taskInputSchema } from "../../src/plan/schema.ts";

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly string[];
}

const tools = OPERATIONS.filter((operation) => operation.isTool && operation.audience === "operator");
const schemaOf = (name: string): Schema => {
  const tool = tools.find((one) => one.name === name);
  if (tool === undefined) throw new Error(`no tool ${name}`);
  return toolInputSchema(tool.input);
};
const fieldsOf = (schema: Schema | undefined): string[] => Object.keys(schema?.properties ?? {});

describe("M1: the tools as a model is shown them", () => {
  test("all of an operator's tools cost each request of a parent less than 9,500 characters", () => {
    const sizes = tools.map(
      ({ name, description, input }) =>
        JSON.stringify({ name, description, input_schema: toolInputSchema(input) }).length,
    );
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(9_500);
  });

  test("a task is told in full once, and by its fields' names and types wherever it may be given", () => {
    const names = Object.keys(taskInputSchema.shape);
    const told = schemaOf("create_plan").properties?.["tasks"]?.items;
    expect(fieldsOf(told)).toEqual(names);
    expect(told?.required).toEqual(["id", "prompt"]);
    for (const field of Object.values(told?.properties ?? {})) expect(field.description).toMatch(/\S/);
    expect(told?.properties?.["onFailure"]?.enum).toEqual(["hard", "soft", "skip"]);
    const { add, change } = schemaOf("update_plan").properties ?? {};
    expect(fieldsOf(add?.items)).toEqual(names);
    expect(fieldsOf(change?.items)).toEqual(names);
    expect(change?.items?.required).toEqual(["id"]);
    expect(add?.description).toContain("create_plan");
    for (const field of names) expect(fieldsOf(schemaOf("spawn_agent"))).toContain(field);
    expect(schemaOf("spawn_agent").properties?.["prompt"]?.description).toMatch(/\S/);
  });

  test("what only files and the command line give is not shown, and bounds are the check's alone", () => {
    expect(fieldsOf(schemaOf("create_plan"))).not.toContain("$schema");
    expect(fieldsOf(schemaOf("create_plan"))).not.toContain("file");
    for (const tool of tools) {
      const text = JSON.stringify(toolInputSchema(tool.input));
      expect(text).not.toMatch(/"(?:pattern|m(?:ax|in)(?:Length|Items|imum))"|isHidden|describesOnly/);
    }
    const create = tools.find((tool) => tool.name === "create_plan");
    expect(create?.input.safeParse({ tasks: [{ id: "../x", prompt: "x" }] }).success).toBe(false);
    expect(create?.input.safeParse({ $schema: "x", file: "f", goal: "g" }).success).toBe(true);
  });
});
