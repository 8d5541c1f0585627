/**
 * An operation's schema as a model is shown it. It is in every request of every turn of a parent, so it says what a
 * model needs to write a call, and nothing else: the bounds that a call is checked against stay with the check, whose
 * error names them.
 */
import { z } from "zod";

declare module "zod" {
  interface GlobalMeta {
    /** Not for a model: a field of the CLI's or of a file's. */
    isHidden?: boolean;
    /** An object whose fields are told in full elsewhere: only these keep their descriptions. */
    describesOnly?: readonly string[];
  }
}

/** Keywords that only a check needs. */
const BOUNDS = new Set([
  "$schema",
  "pattern",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
]);

type Json = Readonly<Record<string, unknown>>;

/** JSON Schema (draft 7) of what a tool takes. */
export function toolInputSchema(schema: z.ZodType): Record<string, unknown> {
  const whole = z.toJSONSchema(schema, { io: "input", target: "draft-7" }) as Json;
  return { ...shorten(whole, true), additionalProperties: false };
}

/** JSON Schema (draft 7) of what a tool answers; whole, for hosts check answers against it and show it to no model. */
export function toolOutputSchema(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: "output", target: "draft-7" });
  return rest;
}

function shorten(node: Json, isDescribed: boolean): Record<string, unknown> {
  const {
    properties,
    items,
    describesOnly,
    isHidden: _hidden,
    description,
    additionalProperties: _extra,
    ...rest
  } = node;
  const short: Record<string, unknown> = Object.fromEntries(Object.entries(rest).filter(([key]) => !BOUNDS.has(key)));
  if (isDescribed && description !== undefined) short["description"] = description;
  if (isJson(items)) short["items"] = shorten(items, isDescribed);
  if (isJson(properties)) {
    const shown = Object.entries(properties).filter(([, field]) => isJson(field) && field["isHidden"] !== true);
    const isDescribedHere = (name: string): boolean =>
      isDescribed && (!Array.isArray(describesOnly) || describesOnly.includes(name));
    short["properties"] = Object.fromEntries(
      shown.map(([name, field]) => [name, shorten(field as Json, isDescribedHere(name))]),
    );
  }
  return short;
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
