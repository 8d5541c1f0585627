/** Careful reading of values that come from another program: what is not there or of another type counts as absent. */

export type Fields = Readonly<Record<string, unknown>>;

const NO_FIELDS: Fields = {};

/** The value when it is a plain object, else an object without fields. */
export function fieldsOf(value: unknown): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return NO_FIELDS;
  // Checked above; TypeScript has no narrower name for "some object".
  return value as Fields;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function stringOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A finite number, else null. */
export function numberOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Space at an end, two in a row, or one that is no plain space. */
const FOLDABLE = /^\s|\s\s|[^\S ]|\s$/;

/** `text` on one line, at most `maxLength` characters, for summaries and messages. */
export function oneLine(text: string, maxLength = 200): string {
  // Most lines are as they should be, and a flood is nothing but lines.
  if (text.length <= maxLength && !FOLDABLE.test(text)) return text;
  // A long text is cut before the spaces are folded: folding megabytes to show a line would cost.
  const line = text
    .slice(0, maxLength * 4)
    .replaceAll(/\s+/g, " ")
    .trim();
  return line.length <= maxLength && text.length <= maxLength * 4 ? line : `${line.slice(0, maxLength - 1)}…`;
}
