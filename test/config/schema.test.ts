import { expect, test } from "vitest";
import { configJsonSchema, configSchemaText, describeSettings, getSetting } from "../../src/config/index.ts";
import { DEFAULT_CONFIG } from "../../src/config/defaults.ts";
import { AGENT_SETTING_NAMES } from "../../src/config/agents-section.ts";
import { completeConfigSchema, configFileSchema } from "../../src/config/schema.ts";
import { makeScene } from "./scene.ts";

test("every key has a description, and its default is the one that holds", () => {
  const loaded = makeScene().load();
  const settings = describeSettings();
  expect(settings.length).toBeGreaterThan(55);
  for (const { key, description, defaultValue } of settings) {
    expect(description.length, key).toBeGreaterThan(10);
    if (defaultValue === undefined) continue;
    expect(description, key).toContain(`Default: ${JSON.stringify(defaultValue)}.`);
    if (!/NAME|\[\]/.test(key)) expect(getSetting(loaded, key).value, key).toEqual(defaultValue);
  }
  const withoutDefault = settings.filter(
    ({ defaultValue, schema }) => defaultValue === undefined && schema["type"] !== "object",
  );
  // What a new entry has to say; a provider's command depends on its kind.
  expect(withoutDefault.map(({ key }) => key)).toEqual([
    "providers.NAME.kind",
    "providers.NAME.command",
    "providers.NAME.prices.NAME.input",
    "providers.NAME.prices.NAME.output",
    "workflows.NAME.steps",
    "workflows.NAME.steps[].agent",
    "workflows.NAME.steps[].prompt",
    "followUps[].on",
    "followUps[].prompt",
  ]);
});

test("the built-in defaults fit the schema of a file", () => {
  expect(configFileSchema.safeParse(DEFAULT_CONFIG).error).toBeUndefined();
});

test("a key that a file may have is one that the used config has, and the other way round", () => {
  const fileKeys = Object.keys(configFileSchema.shape).filter((key) => key !== "$schema");
  expect([...fileKeys, "roles"].toSorted()).toEqual(Object.keys(completeConfigSchema.shape).toSorted());
  expect(AGENT_SETTING_NAMES).toEqual(["killGraceSeconds", "stallMinutes", "maxContinuations", "isolation"]);
});

test("the printed schema is JSON Schema for editors: strict, titled, with bounds, roles beside settings", () => {
  const schema = JSON.parse(configSchemaText()) as Record<string, never>;
  expect(schema).toEqual(configJsonSchema());
  expect(schema).toMatchObject({
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "orchestrator-mcp config",
    type: "object",
    additionalProperties: false,
    properties: {
      $schema: { type: "string" },
      limits: { properties: { agents: { type: "integer", minimum: 1, maximum: 1000, default: 4 } } },
      agents: {
        properties: { killGraceSeconds: { default: 10 } },
        additionalProperties: { properties: { permissions: { enum: ["read", "edit", "full"], default: "edit" } } },
      },
      providers: { additionalProperties: { properties: { kind: { enum: ["claude", "codex", "goose", "command"] } } } },
      retry: { properties: { circuit: { properties: { openSeconds: { default: 60 } } } } },
    },
  });
  expect(JSON.stringify(schema)).not.toContain('"required":["kind"');
});
