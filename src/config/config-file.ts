/** One config file as a layer: parsed, checked against the schema by itself, each value with its place. */
import { formatPath, parseInput, type InvalidItem } from "../invalid-input.ts";
import { type JsoncFile, parseJsonc } from "./jsonc.ts";
import { isJsonObject, type JsonObject, type JsonValue, type Layer, type LayerName } from "./layers.ts";
import { configInvalid, type Place, type Problem } from "./problem.ts";
import { configFileSchema } from "./schema.ts";

export interface FileLayer extends Layer {
  readonly file: string;
  readonly source: JsoncFile;
}

/** Throws CONFIG_INVALID (or BACKEND_NOT_FOUND for a kind of provider that does not exist) with file, line and column. */
export function parseConfigFile(name: LayerName, file: string, text: string): FileLayer {
  const source = parseJsonc(file, text);
  const problems = problemsOf(source.value, (item) => source.placeOf(item.path, "key"));
  if (problems.length > 0) throw configInvalid(problems);
  const { $schema: _, ...value } = source.value as JsonObject;
  return { name, file, source, value };
}

/** What is wrong with a value as the content of a config file, cross checks aside. */
export function problemsOf(value: JsonValue, placeOf: (item: InvalidItem) => Place | null): Problem[] {
  const parsed = parseInput(configFileSchema, value, "the config");
  if (parsed.ok) return [];
  return parsed.items.map((item) => {
    const problem = { place: placeOf(item), path: item.path, message: hideSecret(item) };
    return isUnknownKind(value, item) ? { ...problem, code: "BACKEND_NOT_FOUND" as const } : problem;
  });
}

/** A wrong value of a variable or an argument may be a key of somebody's; what is there stays out of the message. */
function hideSecret(item: InvalidItem): string {
  const mayBeSecret = item.path[0] === "providers" && (item.path[2] === "env" || item.path[2] === "args");
  if (!mayBeSecret) return item.message;
  const place = formatPath(item.path);
  const reason = item.message.slice(place.length).replace(/, found .*$/s, "");
  return `${place}${reason}`;
}

function isUnknownKind(value: JsonValue, item: InvalidItem): boolean {
  const [section, name, key] = item.path;
  if (section !== "providers" || key !== "kind" || item.path.length !== 3 || !isJsonObject(value)) return false;
  const providers = value["providers"];
  const provider = isJsonObject(providers) && typeof name === "string" ? providers[name] : undefined;
  return isJsonObject(provider) && typeof provider["kind"] === "string";
}
