/**
 * Lines as values: pieces of text with a style. Renderers give lines, and one place (`paint`) turns them into what is
 * written, where every piece loses its control characters first. So no renderer can forget to.
 */
import { cutToWidth, displayWidth, plainLine } from "./plain-text.ts";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan";

export type Span = string | { readonly text: string; readonly style: Style };
export type Line = readonly Span[];

const CODES: Readonly<Record<Style, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  magenta: [35, 39],
  cyan: [36, 39],
};

export function styled(text: string, style: Style | null): Span {
  return style === null ? text : { text, style };
}

/** What is written for a line: safe text, with colours where they are wanted. */
export function paint(line: Line, hasColor: boolean): string {
  return line.map((span) => paintSpan(span, hasColor)).join("");
}

/** The line's text alone, safe. */
export function textOf(line: Line): string {
  return paint(line, false);
}

/** The line in at most `width` columns; pieces are made safe here, since what is removed has no width. */
export function cutLine(line: Line, width: number): Line {
  const kept: Span[] = [];
  let left = width;
  for (const span of line) {
    const text = plainLine(typeof span === "string" ? span : span.text);
    const cut = cutToWidth(text, left);
    if (cut !== "") kept.push(typeof span === "string" ? cut : { ...span, text: cut });
    left -= displayWidth(cut);
    if (cut !== text) break;
  }
  return kept;
}

/** Foreign text, line by line. */
export function indented(text: string, columns: number): Line[] {
  const lines = text.replaceAll("\r\n", "\n").trimEnd().split("\n");
  return lines.map((line): Line => [" ".repeat(columns) + line]);
}

function paintSpan(span: Span, hasColor: boolean): string {
  if (typeof span === "string") return plainLine(span);
  const text = plainLine(span.text);
  if (!hasColor || text === "") return text;
  const [on, off] = CODES[span.style];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}
