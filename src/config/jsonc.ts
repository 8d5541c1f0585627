/**
 * JSON with comments and trailing commas, read so that every value knows its place in the file. Stricter than the
 * parser it uses: a key that stands twice is an error, since one of the two would silently do nothing.
 */
import {
  createScanner,
  findNodeAtLocation,
  type Node,
  parseTree,
  type ParseError,
  printParseErrorCode,
} from "jsonc-parser";
import { configInvalid, type Place } from "./problem.ts";
import type { JsonValue } from "./layers.ts";

/** Deeper than any config; the parser is recursive and would run out of stack. */
const MAX_DEPTH = 64;

export interface JsoncFile {
  readonly file: string;
  readonly value: JsonValue;
  /** Line and column, from 1, of the value at `path` (or of its key, where there is one); of what holds it when it is missing. */
  placeOf(path: readonly (string | number)[], what: "key" | "value"): Place;
}

/** Throws CONFIG_INVALID with file, line and column. A text without any value is an empty object. */
export function parseJsonc(file: string, text: string): JsoncFile {
  const placeAt = (offset: number): Place => ({ file, ...positionOf(text, offset) });
  refuseDepth(text, placeAt);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true, allowEmptyContent: true });
  const first = errors[0];
  if (first !== undefined) {
    const reason = SYNTAX_WORDS[printParseErrorCode(first.error)] ?? "syntax error";
    throw configInvalid([{ place: placeAt(first.offset), path: [], message: reason }]);
  }
  return {
    file,
    value: root === undefined ? {} : valueOf(root, [], placeAt),
    placeOf: (path, what) => placeAt(root === undefined ? 0 : offsetOf(root, path, what)),
  };
}

const SYNTAX_WORDS: Readonly<Record<string, string>> = {
  InvalidSymbol: "not JSON: a name or word that has no meaning here (texts need double quotes)",
  InvalidNumberFormat: "not a number that JSON knows",
  PropertyNameExpected: 'expected a key in double quotes, or "}"',
  ValueExpected: "expected a value",
  ColonExpected: "expected a colon after the key",
  CommaExpected: "expected a comma",
  CloseBraceExpected: "an object is not closed: expected }",
  CloseBracketExpected: "a list is not closed: expected ]",
  EndOfFileExpected: "expected the end of the file: only one value may stand here",
  InvalidCommentToken: "a comment may not stand here",
  UnexpectedEndOfComment: "a comment is not closed: expected */",
  UnexpectedEndOfString: "a text is not closed: expected a double quote",
  UnexpectedEndOfNumber: "a number is not complete",
  InvalidUnicode: "not a valid \\u escape",
  InvalidEscapeCharacter: "not a valid escape after a backslash",
  InvalidCharacter: "a control character may not stand here (use an escape such as \\n)",
};

/** jsonc-parser's SyntaxKind is a const enum, which isolated modules can't use: these are its values. */
const OPEN_BRACE = 1;
const CLOSE_BRACE = 2;
const OPEN_BRACKET = 3;
const CLOSE_BRACKET = 4;
const END_OF_FILE = 17;

function refuseDepth(text: string, placeAt: (offset: number) => Place): void {
  const scanner = createScanner(text, true);
  let depth = 0;
  for (let token: number = scanner.scan(); token !== END_OF_FILE; token = scanner.scan()) {
    if (token === OPEN_BRACE || token === OPEN_BRACKET) depth += 1;
    else if (token === CLOSE_BRACE || token === CLOSE_BRACKET) depth -= 1;
    if (depth > MAX_DEPTH) {
      const message = `nested more than ${MAX_DEPTH} levels deep`;
      throw configInvalid([{ place: placeAt(scanner.getTokenOffset()), path: [], message }]);
    }
  }
}

/** Builds the value ourselves: the parser's own lets `__proto__` change the object and drops the first of two keys. */
function valueOf(node: Node, path: readonly (string | number)[], placeAt: (offset: number) => Place): JsonValue {
  if (node.type === "array") {
    return (node.children ?? []).map((child, index) => valueOf(child, [...path, index], placeAt));
  }
  if (node.type !== "object") return node.value as string | number | boolean | null;
  const object: Record<string, JsonValue> = {};
  for (const property of node.children ?? []) {
    const [key, child] = property.children ?? [];
    if (key === undefined || child === undefined) continue;
    const name = String(key.value);
    const childPath = [...path, name];
    if (Object.hasOwn(object, name)) {
      const message = "this key stands twice in one object; remove one of the two";
      throw configInvalid([{ place: placeAt(key.offset), path: childPath, message }]);
    }
    Object.defineProperty(object, name, {
      value: valueOf(child, childPath, placeAt),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return object;
}

function offsetOf(root: Node, path: readonly (string | number)[], what: "key" | "value"): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node = findNodeAtLocation(root, path.slice(0, length));
    if (node === undefined) continue;
    const key = node.parent?.type === "property" ? node.parent.children?.[0] : undefined;
    const isWanted = length === path.length;
    return key !== undefined && (what === "key" || !isWanted) ? key.offset : node.offset;
  }
  return root.offset;
}

function positionOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - lineStart + 1 };
}
