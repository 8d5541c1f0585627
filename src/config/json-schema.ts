/** The schema of a config file for editors and people, with the defaults that really hold written into it. */
import { z } from "zod";
import { DEFAULT_CONFIG, ENTRY_DEFAULTS } from "./defaults.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./layers.ts";
import { configFileSchema } from "./schema.ts";

/** One key as a settings panel or a page of documentation shows it. */
export interface SettingDescription {
  /** `limits.agents`; NAME stands for a name of the user's, as in `agents.NAME.model`. */
  readonly key: string;
  readonly description: string;
  /** Undefined where there is none: the key must be given, or it is an object. */
  readonly defaultValue: JsonValue | undefined;
  /** The key's own JSON Schema: type, bounds, allowed values. */
  readonly schema: JsonObject;
}

/** JSON Schema (draft 7, which editors know best) of a config file. */
export function configJsonSchema(): JsonObject {
  const made = z.toJSONSchema(configFileSchema, { io: "input", target: "draft-7" });
  // It is JSON by its nature; zod's type only says so less plainly.
  const root = JSON.parse(JSON.stringify(made)) as JsonObject;
  const properties = objectAt(root, "properties");
  const { $schema, ...rest } = root;
  return {
    $schema: $schema ?? "http://json-schema.org/draft-07/schema#",
    title: "orchestrator-mcp config",
    description:
      "~/.orchestrator/config.json and .orchestrator/config.json of a repository; the second wins, key by key. JSON with comments.",
    allowComments: true,
    allowTrailingCommas: true,
    ...rest,
    properties: Object.fromEntries(
      Object.entries(properties).map(([key, schema]) => [key, withDefaults(key, schema, DEFAULT_CONFIG[key])]),
    ),
  };
}

/** The schema as text to be written to a file. */
export function configSchemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}

/** Every key that a config file may have, in the order of the schema. */
export function describeSettings(): SettingDescription[] {
  return settingsBelow(configJsonSchema(), "").filter(({ key }) => key !== "$schema");
}

function settingsBelow(schema: JsonObject, prefix: string): SettingDescription[] {
  const named = Object.entries(objectAt(schema, "properties")).map(
    ([name, child]) => [prefix === "" ? name : `${prefix}.${name}`, child] as const,
  );
  const others = schema["additionalProperties"];
  const items = schema["items"];
  const children = [
    ...named,
    ...(isJsonObject(others) && isJsonObject(others["properties"]) ? [[`${prefix}.NAME`, others] as const] : []),
    ...(isJsonObject(items) && isJsonObject(items["properties"]) ? [[`${prefix}[]`, items] as const] : []),
  ];
  return children.flatMap(([key, child]) => {
    if (!isJsonObject(child)) return [];
    return [
      { key, description: descriptionOf(child), defaultValue: child["default"], schema: child },
      ...settingsBelow(child, key),
    ];
  });
}

const ENTRIES_OF: Readonly<Record<string, JsonObject>> = {
  providers: ENTRY_DEFAULTS.provider,
  prices: ENTRY_DEFAULTS.price,
  agents: ENTRY_DEFAULTS.role,
  workflows: ENTRY_DEFAULTS.workflow,
  followUps: ENTRY_DEFAULTS.followUp,
};

/** Writes defaults into a schema and what is below it; `entry` is what a named entry starts from. */
function withDefaults(key: string, schema: JsonValue, value: JsonValue | undefined): JsonValue {
  if (!isJsonObject(schema)) return schema;
  const entryDefaults = ENTRIES_OF[key];
  const filled: Record<string, JsonValue> = { ...schema };
  if (isJsonObject(schema["properties"])) filled["properties"] = propertiesWithDefaults(schema["properties"], value);
  for (const of of ["additionalProperties", "items"]) {
    const entry = schema[of];
    if (entryDefaults !== undefined && isJsonObject(entry)) filled[of] = entryWithDefaults(entry, entryDefaults);
  }
  if (value === undefined || isJsonObject(value)) return filled;
  return withDefault(filled, value);
}

function entryWithDefaults(entry: JsonObject, defaults: JsonObject): JsonObject {
  return { ...entry, properties: propertiesWithDefaults(objectAt(entry, "properties"), defaults) };
}

function propertiesWithDefaults(properties: JsonObject, values: JsonValue | undefined): JsonObject {
  return Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => {
      const value = isJsonObject(values) && Object.hasOwn(values, name) ? values[name] : undefined;
      return [name, withDefaults(name, schema, value)];
    }),
  );
}

function withDefault(schema: JsonObject, value: JsonValue): JsonObject {
  const description = `${descriptionOf(schema)} Default: ${JSON.stringify(value)}.`.trim();
  return { ...schema, description, default: value };
}

function descriptionOf(schema: JsonObject): string {
  const description = schema["description"];
  return typeof description === "string" ? description : "";
}

function objectAt(value: JsonObject, key: string): JsonObject {
  const child = value[key];
  return isJsonObject(child) ? child : {};
}
