/**
 * Layers of config laid over each other: built-in defaults, the global file, the project's file. Objects are merged key
 * by key; anything else, lists too, is replaced as a whole. For each value that is left, it is known which layer gave it.
 */

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export type LayerName = "default" | "global" | "project";

export interface Layer {
  readonly name: LayerName;
  /** Null for the built-in defaults. */
  readonly file: string | null;
  readonly value: JsonObject;
}

/** Where a value comes from. */
export interface Origin {
  readonly layer: LayerName;
  readonly file: string | null;
}

/** Lays later layers over earlier ones. The answer shares no object with them. */
export function mergeLayers(layers: readonly Layer[]): JsonObject {
  let merged: JsonObject = {};
  for (const layer of layers) merged = merge(merged, layer.value);
  return merged;
}

/**
 * Which layer gave the value at `path`: the highest that says anything about it (for an object: about a part of it).
 * What no layer names is a default.
 */
export function originOf(layers: readonly Layer[], path: readonly (string | number)[]): Origin {
  for (const layer of layers.toReversed()) {
    if (says(layer.value, path)) return { layer: layer.name, file: layer.file };
  }
  return { layer: "default", file: null };
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function merge(below: JsonObject, above: JsonObject): JsonObject {
  const merged: Record<string, JsonValue> = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const lower = Object.hasOwn(merged, key) ? merged[key] : undefined;
    merged[key] = isJsonObject(value) ? merge(isJsonObject(lower) ? lower : {}, value) : value;
  }
  return merged;
}

/** A list is one value: what is inside comes from the layer that gave the list. */
function says(value: JsonValue, path: readonly (string | number)[]): boolean {
  const [step, ...rest] = path;
  if (step === undefined || Array.isArray(value)) return true;
  if (!isJsonObject(value) || !Object.hasOwn(value, step)) return false;
  const child = value[step];
  return child !== undefined && says(child, rest);
}
