/** Reads a file that a person wrote: a plan, or a change to one. Everything that can be wrong with it is PLAN_UNREADABLE. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { extname } from "node:path";
import { parse as parseJsonc, printParseErrorCode, type ParseError } from "jsonc-parser";
import { AppError, messageOf } from "../errors.ts";

const MAX_PLAN_BYTES = 64 * 1024 * 1024;

export interface PlanText {
  readonly text: string;
  /** For messages. */
  readonly name: string;
  readonly isJson: boolean;
}

/** The object in a file, or in what `stdin` gives for `-`. Throws PLAN_UNREADABLE with line and column. */
export async function readPlanFile(
  path: string,
  stdin: AsyncIterable<Buffer | string>,
): Promise<Record<string, unknown>> {
  return await parsePlanText(path === "-" ? await readStdin(stdin) : await readFile(path));
}

/** Standard input as text, for prompts too. Throws PLAN_UNREADABLE. */
export async function readStdin(stdin: AsyncIterable<Buffer | string>): Promise<PlanText> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const buffer = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    bytes += buffer.length;
    if (bytes > MAX_PLAN_BYTES) throw tooLarge("standard input");
    chunks.push(buffer);
  }
  return { text: decode(Buffer.concat(chunks), "standard input"), name: "standard input", isJson: false };
}

/** The object that the text holds. JSON is tried first: it is quick, and YAML's words for a missing comma are odd. */
export async function parsePlanText(text: PlanText): Promise<Record<string, unknown>> {
  const { name } = text;
  if (text.text.trim() === "") throw unreadable(`${name} is empty: a plan has at least \`tasks\``);
  const value = await parseText(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const found = value === null ? "nothing" : Array.isArray(value) ? "a list" : `a ${typeof value}`;
    throw unreadable(`${name} holds ${found}; expected an object with \`tasks\``);
  }
  return value as Record<string, unknown>;
}

/** The list in a file, or in what `stdin` gives for `-`. Throws PLAN_UNREADABLE with line and column. */
export async function readListFile(path: string, stdin: AsyncIterable<Buffer | string>): Promise<readonly unknown[]> {
  const text = path === "-" ? await readStdin(stdin) : await readFile(path);
  const value = text.text.trim() === "" ? null : await parseText(text);
  if (Array.isArray(value)) return value as readonly unknown[];
  throw unreadable(`${text.name}: expected a list`);
}

async function parseText({ text, name, isJson }: PlanText): Promise<unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    const looksLikeJson = /^\s*[{[]/.test(text);
    value = isJson ? undefined : await tryYaml(text, name, looksLikeJson);
    if (value === undefined) throw jsonError(text, name, thrown);
  }
  return value;
}

async function readFile(path: string): Promise<PlanText> {
  let handle;
  try {
    handle = await open(path, constants.O_RDONLY);
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : null;
    if (code === "ENOENT" || code === "ENOTDIR") throw unreadable(`there is no file ${path}`, thrown);
    if (code === "EACCES") throw unreadable(`${path} may not be read: look at its permissions`, thrown);
    throw unreadable(`${path} can't be read: ${messageOf(thrown)}`, thrown);
  }
  try {
    const found = await handle.stat();
    if (found.isDirectory()) throw unreadable(`${path} is a folder; expected a file with a plan`);
    if (found.size > MAX_PLAN_BYTES) throw tooLarge(path);
    const chunks: Buffer[] = [];
    let bytes = 0;
    // A stream and not readFile: `<(…)` of a shell is a pipe, whose size nobody knows.
    for await (const chunk of handle.createReadStream({ autoClose: false })) {
      const buffer = chunk as Buffer;
      bytes += buffer.length;
      if (bytes > MAX_PLAN_BYTES) throw tooLarge(path);
      chunks.push(buffer);
    }
    return { text: decode(Buffer.concat(chunks), path), name: path, isJson: extname(path).toLowerCase() === ".json" };
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    throw unreadable(`${path} can't be read: ${messageOf(thrown)}`, thrown);
  } finally {
    await handle.close().catch(() => undefined);
  }
}

function decode(bytes: Buffer, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (thrown) {
    throw unreadable(`${name} is not UTF-8 text`, thrown);
  }
}

/** Undefined when it is no YAML and the JSON's error says more. Throws PLAN_UNREADABLE. */
async function tryYaml(text: string, name: string, looksLikeJson: boolean): Promise<unknown> {
  const { parseDocument } = await import("yaml");
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) {
    if (looksLikeJson) return undefined;
    const place = error.linePos?.[0];
    const what = (error.message.split("\n", 1)[0] ?? "").replace(/ at line \d+, column \d+:?$/, "");
    throw unreadableAt(name, place?.line ?? 1, place?.col ?? 1, `not YAML: ${what}`, error);
  }
  try {
    return document.toJS({ maxAliasCount: 100 }) as unknown;
  } catch (thrown) {
    throw unreadable(`${name} is not usable YAML: ${messageOf(thrown)}`, thrown);
  }
}

function jsonError(text: string, name: string, thrown: unknown): AppError {
  // JSON.parse tells the place in some of its messages only.
  const errors: ParseError[] = [];
  parseJsonc(text, errors, { disallowComments: true, allowTrailingComma: false });
  const first = errors[0];
  if (first === undefined) return unreadable(`${name} is not JSON: ${messageOf(thrown)}`, thrown);
  const before = text.slice(0, first.offset);
  const line = before.split("\n").length;
  const column = first.offset - before.lastIndexOf("\n");
  const what = printParseErrorCode(first.error)
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toLowerCase();
  return unreadableAt(name, line, column, `not JSON: ${what}`, thrown);
}

function unreadableAt(name: string, line: number, column: number, what: string, cause: unknown): AppError {
  return new AppError("PLAN_UNREADABLE", `${name}:${line}:${column}: ${what}`, {
    details: { file: name, line, column },
    cause,
  });
}

function unreadable(message: string, cause?: unknown): AppError {
  return new AppError("PLAN_UNREADABLE", message, cause === undefined ? {} : { cause });
}

function tooLarge(name: string): AppError {
  return unreadable(`${name} is larger than ${MAX_PLAN_BYTES / 1024 / 1024} MB`);
}
