/**
 * A structured answer from Goose: asked for in the prompt, found in the last words. (A recipe's `response` would add a
 * tool for it, but then Goose asks up to 1000 times when the model does not call it: seen.)
 */

/** What to add to a prompt whose answer must fit `schema`; empty for none. */
export function askForJson(schema: Readonly<Record<string, unknown>> | null): string {
  if (schema === null) return "";
  return (
    "When you are done, end with one JSON value that fits the JSON Schema below, in a block that begins with " +
    "```json and ends with ```, and write nothing after it.\n\n" +
    JSON.stringify(schema)
  );
}

/**
 * The JSON value that `text` ends with: the text itself, else its last fenced block that is JSON, else its outermost
 * object or array. Undefined when there is none.
 */
export function findJson(text: string): unknown {
  const whole = parseContainer(text);
  if (whole !== undefined) return whole;
  const fenced = [...text.matchAll(/^[ \t]*```[^\n`]*\n([\s\S]*?)^[ \t]*```[ \t]*$/gm)].reverse();
  for (const [, block] of fenced) {
    const value = parseContainer(block ?? "");
    if (value !== undefined) return value;
  }
  for (const [open, close] of [
    ["{", "}"],
    ["[", "]"],
  ] as const) {
    const start = text.indexOf(open);
    const end = text.lastIndexOf(close);
    if (start === -1 || end < start) continue;
    const value = parseContainer(text.slice(start, end + 1));
    if (value !== undefined) return value;
  }
  return undefined;
}

function parseContainer(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
