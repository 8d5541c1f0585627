/**
 * Goose: `extensions` of config.yaml (1.52). The entry is put in as text, right after the line `extensions:`, so that
 * comments and layout stay; what came of it is read again and compared before anybody writes it.
 */
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { isMap, isScalar, parseDocument, stringify, type Document, type Pair, type YAMLMap } from "yaml";
import { AppError } from "../../errors.ts";
import { readProgram, SERVER_KEY, type Host, type ServerProgram } from "./host.ts";

/** Longer than the 45 s that `task_status` may wait, and Goose's own default. */
const TIMEOUT_SECONDS = 300;

export const gooseHost: Host = {
  name: "Goose",
  program: "goose",
  removal: `take extensions.${SERVER_KEY} out of it`,
  file: (environment, userHome) => {
    const root = environment["GOOSE_PATH_ROOT"];
    if (root !== undefined && root !== "") return join(root, "config", "config.yaml");
    return join(environment["XDG_CONFIG_HOME"] || join(userHome, ".config"), "goose", "config.yaml");
  },
  find: async (text) => {
    const entry = extensionsOf(text)[SERVER_KEY];
    if (entry === undefined) return null;
    const fields = isObject(entry) ? entry : {};
    return readProgram(fields["cmd"], fields["args"]);
  },
  add: async (text, server) => added(text, entryOf(server)),
  takeOut: (text) => takenOut(text),
};

function entryOf({ command, args }: ServerProgram): Record<string, unknown> {
  return {
    type: "stdio",
    name: SERVER_KEY,
    description: "Plans of tasks for several agents",
    enabled: true,
    cmd: command,
    args,
    timeout: TIMEOUT_SECONDS,
  };
}

function added(text: string, entry: Record<string, unknown>): string {
  const after = insert(text, entry);
  const before = read(text);
  const expected = { ...before, extensions: { ...extensionsOf(text), [SERVER_KEY]: entry } };
  return checked(after, expected);
}

function insert(text: string, entry: Record<string, unknown>): string {
  const newline = text.includes("\r\n") ? "\r\n" : "\n";
  const { pair } = extensionsPair(text);
  const block = (indent: string): string =>
    stringify({ [SERVER_KEY]: entry }, { lineWidth: 0 })
      .trimEnd()
      .split("\n")
      .map((line) => `${indent}${line}${newline}`)
      .join("");
  if (pair === null) {
    const gap = text === "" || text.endsWith("\n") ? "" : newline;
    return `${text}${gap}extensions:${newline}${block("  ")}`;
  }
  const { value } = pair;
  if (isMap(value) && value.flow === true && value.range != null) {
    const [start, end] = value.range;
    if (value.items.length > 0) {
      const inline = JSON.stringify({ [SERVER_KEY]: entry }).slice(1, -1);
      return `${text.slice(0, start + 1)} ${inline},${text.slice(start + 1)}`;
    }
    return `${text.slice(0, start).trimEnd()}${newline}${block("  ")}${text.slice(end).replace(/^\s*?\n/, "")}`;
  }
  const keyEnd = isScalar(pair.key) ? (pair.key.range?.[1] ?? 0) : 0;
  const lineEnd = text.indexOf("\n", keyEnd);
  if (lineEnd < 0) return `${text}${newline}${block("  ")}`;
  return text.slice(0, lineEnd + 1) + block(indentOf(text, value)) + text.slice(lineEnd + 1);
}

/** Of the entries that are there already. */
function indentOf(text: string, value: unknown): string {
  const first = isMap(value) ? value.items[0]?.key : null;
  if (!isScalar(first) || first.range == null) return "  ";
  const lineStart = text.lastIndexOf("\n", first.range[0] - 1) + 1;
  const indent = text.slice(lineStart, first.range[0]);
  return /^ +$/.test(indent) ? indent : "  ";
}

/** Lines of the entry alone: from its key to the next key, or to where the map ends. */
function takenOut(text: string): string | null {
  const { map } = extensionsPair(text);
  const items = map?.items ?? [];
  const index = items.findIndex(({ key }) => isScalar(key) && key.value === SERVER_KEY);
  const ours = items[index];
  if (map === null || ours === undefined || map.flow === true) return null;
  const start = keyStart(ours);
  const next = items[index + 1];
  const valueEnd = isMap(ours.value) ? (ours.value.range?.[1] ?? null) : null;
  if (start === null || valueEnd === null) return null;
  const from = text.lastIndexOf("\n", start - 1) + 1;
  const lineEnd = text.indexOf("\n", valueEnd - 1);
  const to = lineEnd < 0 ? text.length : lineEnd + 1;
  const after = text.slice(0, from) + text.slice(to);
  const { [SERVER_KEY]: _ours, ...others } = extensionsOf(text);
  // The map's last entry: `extensions:` alone is null, which Goose reads as none.
  const extensions = next === undefined && items.length === 1 ? null : others;
  try {
    return checked(after, { ...read(text), extensions });
  } catch {
    return null;
  }
}

function keyStart({ key }: Pair): number | null {
  return isScalar(key) ? (key.range?.[0] ?? null) : null;
}

function checked(after: string, expected: Record<string, unknown>): string {
  if (isDeepStrictEqual(read(after), expected)) return after;
  throw new AppError("CONFIG_INVALID", "it can't be changed without other changes");
}

function extensionsOf(text: string): Record<string, unknown> {
  const extensions = read(text)["extensions"];
  if (extensions == null) return {};
  if (!isObject(extensions)) throw new AppError("CONFIG_INVALID", "its extensions are not a map");
  return extensions;
}

function extensionsPair(text: string): { pair: Pair | null; map: YAMLMap | null } {
  const { contents } = parsed(text);
  if (!isMap(contents)) return { pair: null, map: null };
  const pair = contents.items.find(({ key }) => isScalar(key) && key.value === "extensions") ?? null;
  return { pair, map: isMap(pair?.value) ? pair.value : null };
}

function read(text: string): Record<string, unknown> {
  const value: unknown = parsed(text).toJS();
  if (value === null) return {};
  if (!isObject(value)) throw new AppError("CONFIG_INVALID", "it is not a YAML map");
  return value;
}

function parsed(text: string): Document {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error === undefined) return document;
  throw new AppError("CONFIG_INVALID", `it is not readable YAML: ${error.message.split("\n", 1)[0] ?? ""}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
