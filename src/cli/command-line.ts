/** Words into an invocation, by a verb's table. Says what is wrong with them and what was probably meant. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { AppError } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";
import type { Invocation, OptionSpec, Verb } from "./verb.ts";

/** Every verb has them. */
export const COMMON_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  repo: { type: "string", value: "DIR", help: "the repository (default: the current folder)" },
  json: { type: "boolean", help: "print the result as JSON" },
  help: { type: "boolean", short: "h", help: "show this help" },
};

/** Throws USAGE. */
export function parseCommandLine(verb: Verb, words: readonly string[]): Invocation {
  const specs = { ...COMMON_OPTIONS, ...verb.options };
  const config: ParseArgsConfig["options"] = {};
  for (const [name, { type, short }] of Object.entries(specs)) {
    config[name] = { type, multiple: true, ...(short === undefined ? {} : { short }) };
  }
  // Not strict: its messages do not know what was probably meant, and it refuses `--concurrent -1` with a riddle.
  const { tokens } = parseArgs({
    args: [...words],
    options: config,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined;
    if (spec === undefined) throw unknownOption(verb, token.rawName, Object.keys(specs));
    const value = checkValue(verb, token.rawName, spec, token.value, token.inlineValue === true, specs);
    const before = values.get(token.name) ?? [];
    if (before.length > 0 && spec.multiple !== true && spec.type === "string") {
      throw usageError(verb, `${token.rawName} is given twice`);
    }
    values.set(token.name, [...before, value]);
  }
  // Help is asked for by whoever does not know how many words there must be.
  if (!values.has("help")) checkPositionals(verb, positionals);
  return {
    verb: verb.name,
    positionals,
    repo: values.get("repo")?.[0] ?? null,
    json: values.has("json"),
    has: (option) => values.has(option),
    text: (option) => values.get(option)?.[0] ?? null,
    texts: (option) => values.get(option) ?? [],
  };
}

function usageError(verb: Verb, problem: string): AppError {
  return new AppError("USAGE", `${problem}. Usage: orchestrator ${verb.name} ${verb.usage}`.trimEnd(), {
    details: { verb: verb.name },
  });
}

/** A whole number from `min` to `max`. Throws USAGE. */
export function wholeNumber(option: string, value: string, min: number, max: number): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= min && number <= max) return number;
  throw new AppError(
    "USAGE",
    `--${option} must be a whole number from ${min} to ${max}, not ${JSON.stringify(value.slice(0, 40))}`,
    { details: { option, value: value.slice(0, 40) } },
  );
}

function checkValue(
  verb: Verb,
  rawName: string,
  spec: OptionSpec,
  value: string | undefined,
  isInline: boolean,
  specs: Readonly<Record<string, OptionSpec>>,
): string {
  if (spec.type === "boolean") {
    if (value !== undefined) throw usageError(verb, `${rawName} takes no value`);
    return "";
  }
  const what = spec.value ?? "VALUE";
  if (value === undefined || (value === "" && spec.multiple !== true)) {
    throw usageError(verb, `${rawName} needs a value (${what})`);
  }
  const name = /^--([^=]+)/.exec(value)?.[1];
  const isOption = value === "--" || (name !== undefined && Object.hasOwn(specs, name)) || /^-[a-z]$/.test(value);
  if (!isInline && isOption) {
    throw usageError(
      verb,
      `${rawName} needs a value (${what}), but ${value} follows; write ${rawName}=${value} if you mean that`,
    );
  }
  return value;
}

function unknownOption(verb: Verb, rawName: string, names: readonly string[]): AppError {
  const near = nearestName(rawName.replace(/^--?/, ""), names);
  const hint = near === null ? `\`orchestrator ${verb.name} --help\` lists them` : `Did you mean --${near}?`;
  return new AppError("USAGE", `orchestrator ${verb.name} has no option ${rawName}. ${hint}`, {
    details: { verb: verb.name, option: rawName },
  });
}

function checkPositionals(verb: Verb, positionals: readonly string[]): void {
  const { min, max, what } = verb.positionals;
  if (positionals.length < min) throw usageError(verb, `${what} is missing`);
  if (positionals.length > max) {
    const extra = positionals.slice(max).map((word) => JSON.stringify(word.slice(0, 60)));
    const hint = max > 0 && min > 0 ? " (quote a text that has spaces)" : "";
    throw usageError(verb, `${extra.slice(0, 3).join(" ")} is one word too many${hint}`);
  }
}
