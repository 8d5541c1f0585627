/**
 * Reading and changing single values of the config, for `orchestrator config` and the settings panel. A change keeps the
 * comments and the form of the file, is checked as the whole config that it would make, and is written in one step.
 */
import { isDeepStrictEqual } from "node:util";
import { applyEdits, type FormattingOptions, modify } from "jsonc-parser";
import { AppError } from "../errors.ts";
import { formatPath } from "../invalid-input.ts";
import { nearestName } from "../nearest-name.ts";
import { completeConfig } from "./complete.ts";
import { parseConfigFile, problemsOf } from "./config-file.ts";
import { DEFAULT_CONFIG } from "./defaults.ts";
import { readTextFile, type TextFile, withLock, writeFileAtomically } from "./files.ts";
import { parseJsonc } from "./jsonc.ts";
import { parseKey } from "./key.ts";
import { isJsonObject, type JsonObject, type JsonValue, type Layer, type Origin, originOf } from "./layers.ts";
import type { LoadedConfig } from "./load.ts";
import { fileShapeOf } from "./pin.ts";
import { type ConfigPlaces, fileToWrite, globalConfigPath, projectConfigPath, readProjectFile } from "./places.ts";
import { configInvalid } from "./problem.ts";
import { redactConfig } from "./redact.ts";
import { configLock, type ProjectPlaces, sha256Of, stateOfProjectText, trustProject } from "./trust.ts";

type Path = readonly (string | number)[];

export interface Setting {
  readonly key: string;
  /** As it may be shown: secrets hidden. An object for a key that has others below it. */
  readonly value: JsonValue;
  readonly origin: Origin;
}

/** The value of `key` (all of the config without one) as it is used. Throws USAGE for a key that has none. */
export function getSetting(loaded: LoadedConfig, key?: string): Setting {
  const shown: JsonValue = redactConfig(fileShapeOf(loaded.config));
  if (key === undefined) return { key: "", value: shown, origin: originOf(loaded.layers, []) };
  const path = parseKey(key);
  let value: JsonValue = shown;
  path.forEach((step, index) => {
    const child = childOf(value, step);
    if (child === undefined) throw unknownKey(path.slice(0, index + 1), value);
    value = child;
  });
  return { key: formatPath(path), value, origin: originOf(loaded.layers, path) };
}

export interface ChangeOptions extends ConfigPlaces {
  readonly scope: "global" | "project";
  readonly key: string;
  /** What was typed: taken as JSON when it is JSON that fits there, else as text. Null takes the key out of the file. */
  readonly value: string | null;
}

export interface Changed {
  readonly file: string;
  readonly key: string;
  /** What the file says now, secrets hidden; undefined when the key was taken out. */
  readonly value: JsonValue | undefined;
  /**
   * Whether the project's file is trusted after the change: one that was trusted (or not there) still is, since the user
   * made the change; one that was not is not. Null for the global file.
   */
  readonly isTrusted: boolean | null;
}

/**
 * Changes one key in the global or the project's file; makes the file where there is none. Throws USAGE for what is no
 * key or no repository, CONFIG_INVALID (or PROVIDER_NOT_FOUND, BACKEND_NOT_FOUND) when the file is broken already or
 * would be after it, STATE_UNUSABLE when it can't be written. When it throws, nothing has changed.
 */
export async function changeSetting(options: ChangeOptions): Promise<Changed> {
  const path = parseKey(options.key);
  const target = targetOf(options);
  const written = await withLock(configLock(options.home), async () => {
    const before = target.read();
    const text = before?.text ?? "";
    if (before !== null) parseConfigFile(options.scope, target.path, text);
    const wasTrusted = ["trusted", "none"].includes(stateOfProjectText(options, before?.text ?? null));
    const change = changeText(options, text, path);
    if (change.text !== text) {
      const mark = before?.hasMark === true ? "\uFEFF" : "";
      await writeFileAtomically(target.writePath(), `${mark}${change.text}`, target.mode);
    }
    return { ...change, wasTrusted };
  });
  const places = { home: options.home, mainWorktree: options.mainWorktree };
  if (options.scope === "project" && written.wasTrusted && hasMainWorktree(places)) {
    // After the lock, which it takes itself; it refuses a text that is not the one we wrote.
    await trustProject(places, { expectedSha256: sha256Of(written.text) });
  }
  return {
    file: target.path,
    key: formatPath(path),
    value: shownAt(written.text, target.path, path),
    isTrusted: options.scope === "project" ? written.wasTrusted : null,
  };
}

interface Target {
  readonly path: string;
  readonly mode: number;
  read(): TextFile | null;
  writePath(): string;
}

function targetOf(options: ChangeOptions): Target {
  if (options.scope === "global") {
    const path = globalConfigPath(options.home);
    // It may hold keys of providers; the project's is there to be shared.
    return { path, mode: 0o600, read: () => readTextFile(path), writePath: () => fileToWrite(path, null) };
  }
  const { mainWorktree } = options;
  if (mainWorktree === null) {
    throw new AppError("USAGE", "There is no repository here, so no project config. Use --global, or --repo PATH.");
  }
  const path = projectConfigPath(mainWorktree);
  return {
    path,
    mode: 0o644,
    read: () => readProjectFile(mainWorktree),
    writePath: () => fileToWrite(path, mainWorktree),
  };
}

/** The text with the key changed. What was typed is taken as JSON when that fits there, else as text. */
function changeText(options: ChangeOptions, text: string, path: Path): { readonly text: string } {
  if (options.value === null) return { text: checkedText(options, text, path, undefined) };
  const typed = jsonOrUndefined(options.value);
  if (typed === undefined) return { text: checkedText(options, text, path, options.value) };
  try {
    return { text: checkedText(options, text, path, typed) };
  } catch (thrown) {
    if (typeof typed === "string" || !(thrown instanceof AppError)) throw thrown;
    try {
      return { text: checkedText(options, text, path, options.value) };
    } catch {
      throw thrown;
    }
  }
}

/** Checked as a value first: the parser's own editing throws for what does not fit, in words that help nobody. */
function checkedText(options: ChangeOptions, text: string, path: Path, value: JsonValue | undefined): string {
  refuseMissingList(text, path, options.key);
  const whole = parseJsonc("the config", text).value;
  if (value === undefined && valueAt(whole, path) === undefined) return text;
  const wanted = withValueAt(whole, path, value);
  const problems = problemsOf(wanted, () => null);
  if (problems.length > 0) throw configInvalid(problems);
  // Without its source: lines of a text that is not written would lead nowhere.
  const { $schema: _, ...layerValue } = wanted as JsonObject;
  completeConfig([...layersBelow(options), { name: options.scope, file: null, value: layerValue }]);

  const edited = applyEdits(text, modify(text, [...path], value, { formattingOptions: formattingOf(text) }));
  const changed = text === "" ? `${edited}\n` : edited;
  if (!isDeepStrictEqual(parseJsonc("the changed config", changed).value, wanted)) {
    throw new AppError("INTERNAL", `${options.key} could not be changed without changing something else.`);
  }
  return changed;
}

function withValueAt(whole: JsonValue, path: Path, value: JsonValue | undefined): JsonValue {
  const [step, ...rest] = path;
  if (step === undefined) return value ?? null;
  if (Array.isArray(whole) && typeof step === "number") {
    const list = whole as readonly JsonValue[];
    if (rest.length === 0 && value === undefined) return list.toSpliced(step, 1);
    return list.with(step, withValueAt(list[step] ?? null, rest, value));
  }
  const object = isJsonObject(whole) ? whole : {};
  const others = Object.entries(object).filter(([key]) => key !== String(step));
  if (rest.length === 0 && value === undefined) return Object.fromEntries(others);
  const child = withValueAt(childOf(object, step) ?? null, rest, value);
  // fromEntries defines keys, so that `__proto__` is one like any other.
  return Object.fromEntries([...others, [String(step), child]]);
}

function layersBelow(options: ChangeOptions): Layer[] {
  const layers: Layer[] = [{ name: "default", file: null, value: DEFAULT_CONFIG }];
  if (options.scope === "global") return layers;
  const path = globalConfigPath(options.home);
  const file = readTextFile(path);
  return file === null ? layers : [...layers, parseConfigFile("global", path, file.text)];
}

/** `steps[0]` of a list that this file does not have would make a list of one, in place of the one below it. */
function refuseMissingList(text: string, path: Path, key: string): void {
  const whole = parseJsonc("the config", text).value;
  path.forEach((step, index) => {
    if (typeof step !== "number") return;
    const list = valueAt(whole, path.slice(0, index));
    if (Array.isArray(list) && step < list.length) return;
    const name = formatPath(path.slice(0, index));
    throw new AppError("USAGE", `${key}: this file has no ${name}[${step}]. Set the whole list ${name}, as JSON.`);
  });
}

/** How `text` is laid out, so that what is added looks like what is there. */
export function formattingOf(text: string): FormattingOptions {
  const indent = /^([ \t]+)\S/m.exec(text)?.[1] ?? "  ";
  const eol = text.includes("\r\n") ? "\r\n" : "\n";
  return { insertSpaces: !indent.startsWith("\t"), tabSize: indent.startsWith("\t") ? 4 : indent.length, eol };
}

function jsonOrUndefined(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return undefined;
  }
}

function shownAt(text: string, file: string, path: Path): JsonValue | undefined {
  return valueAt(redactConfig(parseJsonc(file, text).value), path);
}

function valueAt(value: JsonValue, path: Path): JsonValue | undefined {
  let current: JsonValue | undefined = value;
  for (const step of path) current = current === undefined ? undefined : childOf(current, step);
  return current;
}

function childOf(value: JsonValue, step: string | number): JsonValue | undefined {
  if (Array.isArray(value)) return typeof step === "number" ? (value as readonly JsonValue[])[step] : undefined;
  return isJsonObject(value) && Object.hasOwn(value, step) ? value[step] : undefined;
}

function unknownKey(path: Path, parent: JsonValue): AppError {
  const known = isJsonObject(parent) ? Object.keys(parent) : [];
  const near = nearestName(String(path.at(-1)), known);
  const where = path.length === 1 ? "the config" : formatPath(path.slice(0, -1));
  const list = known.length === 0 ? "" : ` It has: ${known.slice(0, 30).join(", ")}.`;
  const hint = near === null ? list : ` Did you mean "${near}"?`;
  return new AppError("USAGE", `${formatPath(path)}: there is no such key in ${where}.${hint}`, {
    details: { key: formatPath(path) },
  });
}

function hasMainWorktree(places: ConfigPlaces): places is ProjectPlaces {
  return places.mainWorktree !== null;
}
