/**
 * Turns zod's errors into lines that people and models can act on: where, what was expected, what was found, and for a
 * name that does not exist the nearest one that does.
 *
 * Always true: a line is short, whatever the input was (values and names are cut, control characters are gone), and
 * the number of lines is bounded. It never throws for an input, however odd, and never changes it.
 */
import type { z } from "zod";
import { nearestName } from "./nearest-name.ts";

/** One thing that is wrong. */
export interface InvalidItem {
  /** Where, from the outside in. For an unknown key: the key itself. */
  readonly path: readonly (string | number)[];
  /** A whole line, its place first: `tasks[3].writes[0]: expected a string, found 7`. */
  readonly message: string;
}

export type ParsedInput<Output> =
  { readonly ok: true; readonly value: Output } | { readonly ok: false; readonly items: readonly InvalidItem[] };

/** More lines than this help nobody; the last one then tells how many were left out. */
const MAX_ITEMS = 30;
/** Longest piece of somebody's input that is repeated in a line. */
const MAX_SHOWN_CHARACTERS = 60;
/** Names listed when there is no near one. */
const MAX_NAMES = 24;

type Path = readonly (string | number)[];
type Issue = z.core.$ZodIssue;
type Schema = z.core.$ZodTypes;

/** Parses `value`; what does not fit comes back as lines instead of an error. `root` names the whole value. */
export function parseInput<Output>(schema: z.ZodType<Output>, value: unknown, root?: string): ParsedInput<Output> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  return { ok: false, items: describeInvalid(parsed.error, schema, root, value) };
}

/**
 * The lines for an error that `schema` gave. `root` names the whole value where the path is empty ("the plan"; default
 * "the input"). With `value`, the input that was parsed, the lines also show what was found; without it only its type.
 */
export function describeInvalid(
  error: z.ZodError,
  schema: z.ZodType,
  root = "the input",
  value?: unknown,
): InvalidItem[] {
  const context: Context = { schema, root, value, isValueKnown: value !== undefined };
  const items = error.issues.flatMap((issue) => describeIssue(issue, [], context));
  const seen = new Set<string>();
  const distinct = items.filter(({ message }) => !seen.has(message) && seen.add(message));
  if (distinct.length <= MAX_ITEMS) return distinct;
  const leftOut = distinct.length - MAX_ITEMS;
  return [...distinct.slice(0, MAX_ITEMS), { path: [], message: `… and ${leftOut} more like these` }];
}

/** `["tasks", 3, "writes", 0]` as `tasks[3].writes[0]`; a name that is not a plain word is quoted: `providers["my llm"]`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      const name = String(step);
      if (!/^[A-Za-z_$][\w$-]{0,59}$/.test(name)) return `[${quote(name)}]`;
      return index === 0 ? name : `.${name}`;
    })
    .join("");
}

/** What a value is, in a few words: `"abc"`, `7`, `a list of 3`, `an object`, `nothing`. Strings are cut and cleaned. */
export function describeValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  switch (typeof value) {
    case "string":
      return quote(value);
    case "number":
    case "boolean":
      return String(value);
    case "bigint":
      return "a big integer";
    case "object":
      return "an object";
    default:
      return `a ${typeof value}`;
  }
}

interface Context {
  readonly schema: z.core.$ZodType;
  readonly root: string;
  readonly value: unknown;
  readonly isValueKnown: boolean;
}

function describeIssue(issue: Issue, prefix: Path, context: Context): InvalidItem[] {
  const path = [...prefix, ...issue.path.map(toStep)];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(key, path, context));
    case "invalid_union":
      return describeUnion(issue, path, context);
    case "invalid_key":
      return [line(path, `not a name that can be used here: ${firstReason(issue.issues, path, context)}`, context)];
    default:
      return [line(path, reasonOf(issue, path, context), context)];
  }
}

function unknownKey(key: string, parent: Path, context: Context): InvalidItem {
  const known = knownKeys(schemasAt(context.schema, parent, context.value), valueAt(context.value, parent));
  known.delete(key);
  const near = nearestName(key, known);
  const where = parent.length === 0 ? "" : ` in ${formatPath(parent)}`;
  const hint =
    near !== null
      ? `; did you mean ${quote(near)}?`
      : known.size > 0
        ? `; known${where || " here"}: ${listNames([...known])}`
        : "";
  return line([...parent, key], `unknown key${hint}`, context);
}

/**
 * A union is told by the one option that was meant, where that can be seen: the only one that accepts the kind of
 * value there. Else by all that it could have been.
 */
function describeUnion(issue: Extract<Issue, { code: "invalid_union" }>, path: Path, context: Context): InvalidItem[] {
  if (isCustom(issue.message)) return [line(path, issue.message, context)];
  if ("options" in issue && issue.options !== undefined && issue.options.length > 0) {
    return [line(path, oneOf(issue.options, path, context), context)];
  }
  const rightKind = issue.errors.filter((issues) => !issues.some((one) => one.path.length === 0 && isWrongKind(one)));
  const meant = rightKind.length === 1 ? rightKind[0] : fewestIssues(rightKind);
  if (meant !== undefined) return meant.flatMap((one) => describeIssue(one, path, context));
  const expected = issue.errors.flatMap((issues) => issues.filter((one) => one.path.length === 0).map(expectationOf));
  const distinct = [...new Set(expected.filter((text) => text !== null))];
  return [line(path, `expected ${distinct.join(" or ") || "another value"}${found(path, issue, context)}`, context)];
}

function isWrongKind(issue: Issue): boolean {
  return issue.code === "invalid_type" || issue.code === "invalid_value" || issue.code === "invalid_union";
}

function fewestIssues(options: readonly Issue[][]): Issue[] | undefined {
  return options.toSorted((left, right) => left.length - right.length)[0];
}

function reasonOf(issue: Issue, path: Path, context: Context): string {
  if (isCustom(issue.message)) return `${clean(issue.message, 400)}${foundBesideCustom(issue, path, context)}`;
  switch (issue.code) {
    case "invalid_type":
      if (isMissing(issue, path, context)) return `missing; expected ${expectationOf(issue)}`;
      return `expected ${expectationOf(issue)}${found(path, issue, context)}${fixedKeyHint(path, context)}`;
    case "invalid_value":
      if (isMissing(issue, path, context)) return `missing; expected ${expectationOf(issue)}`;
      return oneOf(issue.values, path, context);
    case "too_small":
    case "too_big":
      return `expected ${boundOf(issue)}${foundSize(path, issue, context)}`;
    case "invalid_format":
      return `expected ${issue.format === "regex" ? `text matching ${clean(issue.pattern ?? "", 200)}` : `a valid ${issue.format}`}${found(path, issue, context)}`;
    case "not_multiple_of":
      return `expected a multiple of ${issue.divisor}${found(path, issue, context)}`;
    case "unrecognized_keys":
    case "invalid_union":
    case "invalid_key":
    case "invalid_element":
    case "custom":
      return clean(issue.message, 400);
  }
}

/** Where fixed keys stand beside free ones, a misspelt fixed key looks like a free one of the wrong type. */
function fixedKeyHint(path: Path, context: Context): string {
  const key = path.at(-1);
  if (typeof key !== "string") return "";
  const parents = schemasAt(context.schema, path.slice(0, -1), context.value);
  for (const { _zod } of parents) {
    if (_zod.def.type !== "object" || _zod.def.catchall === undefined || Object.hasOwn(_zod.def.shape, key)) continue;
    const near = nearestName(key, Object.keys(_zod.def.shape));
    if (near !== null) return `; did you mean ${quote(near)}?`;
  }
  return "";
}

/** A schema's own words say what is expected; what is there helps where they can't have said it. */
function foundBesideCustom(issue: Issue, path: Path, context: Context): string {
  if (issue.code === "invalid_format" || issue.code === "invalid_type") return found(path, issue, context);
  if (issue.code === "too_small" || issue.code === "too_big") return foundSize(path, issue, context);
  return "";
}

function firstReason(issues: readonly Issue[], path: Path, context: Context): string {
  const first = issues[0];
  if (first === undefined) return "it is not allowed";
  // The value at the path is what the name stands for, not the name: nothing of it belongs in this line.
  return reasonOf(first, path, { ...context, isValueKnown: false });
}

const EXPECTED_WORDS: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "an object",
  record: "an object",
  null: "null",
  never: "nothing",
};

function expectationOf(issue: Issue): string | null {
  if (issue.code === "invalid_type") return EXPECTED_WORDS[issue.expected] ?? issue.expected;
  if (issue.code === "invalid_value") return listNames(issue.values.map(describeValue), " or ");
  return null;
}

function oneOf(values: readonly unknown[], path: Path, context: Context): string {
  const names = values.filter((value) => typeof value === "string");
  const actual = context.isValueKnown ? valueAt(context.value, path) : undefined;
  const near = typeof actual === "string" ? nearestName(actual, names) : null;
  const allowed = listNames(values.map(describeValue), " or ");
  const expected = `expected ${allowed}${context.isValueKnown ? `, found ${describeValue(actual)}` : ""}`;
  return near === null ? expected : `${expected}; did you mean ${quote(near)}?`;
}

function boundOf(issue: Extract<Issue, { code: "too_small" | "too_big" }>): string {
  const isSmall = issue.code === "too_small";
  const bound = isSmall ? issue.minimum : issue.maximum;
  const inclusive = issue.inclusive !== false;
  if (issue.origin === "string" || issue.origin === "array" || issue.origin === "set") {
    const unit = issue.origin === "string" ? "character" : "entry";
    const units = bound === 1 ? unit : unit === "entry" ? "entries" : `${unit}s`;
    const amount = isSmall ? (inclusive ? "at least" : "more than") : inclusive ? "at most" : "fewer than";
    return `${issue.exact === true ? "exactly" : amount} ${bound} ${units}`;
  }
  if (isSmall) return inclusive ? `${bound} or more` : `more than ${bound}`;
  return inclusive ? `${bound} or less` : `less than ${bound}`;
}

function foundSize(path: Path, issue: Issue, context: Context): string {
  const actual = context.isValueKnown ? valueAt(context.value, path) : undefined;
  if (typeof actual === "string" && actual.length > MAX_SHOWN_CHARACTERS) return `, found ${actual.length} characters`;
  return found(path, issue, context);
}

function found(path: Path, issue: Issue, context: Context): string {
  if (context.isValueKnown) return `, found ${describeValue(valueAt(context.value, path))}`;
  const type = /received (\w+)$/.exec(issue.message)?.[1];
  return type === undefined ? "" : `, found ${EXPECTED_WORDS[type] ?? type}`;
}

function isMissing(issue: Issue, path: Path, context: Context): boolean {
  if (context.isValueKnown) return valueAt(context.value, path) === undefined;
  return issue.message.endsWith("received undefined");
}

/** Words that a schema's author gave stand as they are. zod's own, in its only built-in language, begin like this. */
function isCustom(message: string): boolean {
  return !/^(Invalid|Unrecognized|Too (small|big))\b/.test(message);
}

/** The schemas that a value at `path` may have to fit: more than one where a union could not be decided. */
function schemasAt(schema: z.core.$ZodType, path: Path, value: unknown): Schema[] {
  let current = unwrap(schema, value);
  let currentValue = value;
  for (const step of path) {
    const childValue = valueAt(currentValue, [step]);
    current = current.flatMap((one) => {
      const child = childOf(one, step);
      return child === undefined ? [] : unwrap(child, childValue);
    });
    currentValue = childValue;
  }
  return current;
}

function childOf(schema: Schema, step: string | number): z.core.$ZodType | undefined {
  const { def } = schema._zod;
  switch (def.type) {
    case "object":
      return Object.hasOwn(def.shape, step) ? def.shape[step] : def.catchall;
    case "record":
      return def.valueType;
    case "array":
      return def.element;
    case "tuple":
      return def.items[Number(step)] ?? def.rest ?? undefined;
    default:
      return undefined;
  }
}

/** Takes off what says nothing about keys: optional, default, pipe and the like; a union becomes its options. */
function unwrap(wrapped: z.core.$ZodType, value: unknown, depth = 0): Schema[] {
  // `_zod.def.type` tells zod's own schemas apart; nothing else is ever given here.
  const schema = wrapped as Schema;
  if (depth > 32) return [];
  const { def } = schema._zod;
  switch (def.type) {
    case "optional":
    case "nullable":
    case "nonoptional":
    case "default":
    case "prefault":
    case "catch":
    case "readonly":
    case "success":
    case "promise":
      return unwrap(def.innerType, value, depth + 1);
    case "lazy":
      return unwrap(def.getter(), value, depth + 1);
    case "pipe":
      // z.preprocess is a pipe that begins with a transform: only what follows has keys.
      return unwrap((def.in as Schema)._zod.def.type === "transform" ? def.out : def.in, value, depth + 1);
    case "intersection":
      return [...unwrap(def.left, value, depth + 1), ...unwrap(def.right, value, depth + 1)];
    case "union": {
      const options = def.options.flatMap((option) => unwrap(option, value, depth + 1));
      const meant = options.filter((option) => literalsAgree(option, value));
      return meant.length > 0 ? meant : options;
    }
    default:
      return [schema];
  }
}

/** Whether `value` has the fixed values (a discriminator) that an object schema asks for. */
function literalsAgree(schema: Schema, value: unknown): boolean {
  const { def } = schema._zod;
  if (def.type !== "object") return false;
  return Object.entries(def.shape).every(([key, property]) => {
    const propertyDef = (property as Schema)._zod.def;
    if (propertyDef.type !== "literal") return true;
    const actual = valueAt(value, [key]);
    return propertyDef.values.some((allowed) => allowed === actual);
  });
}

function knownKeys(schemas: readonly Schema[], value: unknown): Set<string> {
  const keys = new Set<string>();
  for (const schema of schemas) {
    const { def } = schema._zod;
    if (def.type === "object") for (const key of Object.keys(def.shape)) keys.add(key);
  }
  // A key that is already there was not misspelt a second time.
  if (keys.size > 1 && typeof value === "object" && value !== null) {
    const free = [...keys].filter((key) => !Object.hasOwn(value, key));
    if (free.length > 0) return new Set(free);
  }
  return keys;
}

function valueAt(value: unknown, path: Path): unknown {
  let current = value;
  for (const step of path) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, step)) return undefined;
    current = (current as Record<string | number, unknown>)[step];
  }
  return current;
}

function line(path: Path, reason: string, context: Context): InvalidItem {
  return { path, message: `${path.length === 0 ? context.root : formatPath(path)}: ${reason}` };
}

function toStep(step: PropertyKey): string | number {
  return typeof step === "symbol" ? String(step) : step;
}

function listNames(names: readonly string[], lastSeparator = ", "): string {
  const shown = names.slice(0, MAX_NAMES).map((name) => clean(name, MAX_SHOWN_CHARACTERS + 2));
  if (names.length > MAX_NAMES) return `${shown.join(", ")}, … (${names.length} in all)`;
  const last = shown.pop() ?? "";
  return shown.length === 0 ? last : `${shown.join(", ")}${lastSeparator}${last}`;
}

function quote(text: string): string {
  return `"${clean(text, MAX_SHOWN_CHARACTERS)}"`;
}

/** Without control characters (also the C1 ones and those that turn the direction of text) and no longer than asked. */
function clean(text: string, maxCharacters: number): string {
  const head = text.slice(0, maxCharacters * 2);
  const printable = head.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, " ");
  const isCut = text.length > head.length || printable.length > maxCharacters;
  return isCut
    ? `${Array.from(printable)
        .slice(0, maxCharacters - 1)
        .join("")}…`
    : printable;
}
