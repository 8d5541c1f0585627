/**
 * Foreign text (agents' output, names, git's words) on its way to a terminal. A terminal obeys what is in the text: it
 * can be told to rename windows, to write the clipboard, to move the cursor over what was printed before, or to show
 * letters in another order than they are in. What is left here is text and nothing else.
 *
 * Sequences follow ECMA-48: ESC and the C1 controls (U+0080–U+009F) introduce them; OSC, DCS, SOS, PM and APC run to ST
 * or BEL. One without an end is taken to the end of its line, as a terminal would swallow it.
 */
/* oxlint-disable no-control-regex -- they are what this file is about */

const STRING_SEQUENCE =
  /(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c|)/g;
const CONTROL_SEQUENCE = /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?/g;
const OTHER_ESCAPE = /\u001b[ -/]*[0-~]?/g;
/** Controls but tab and newline; marks that turn the order of letters; what has no width and hides in names. */
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Text of several lines: newlines and tabs stay, all other controls go. A lone carriage return would overwrite its line. */
export function plainText(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replaceAll(/[\u2028\u2029\u0085]/g, "\n")
    .replaceAll(STRING_SEQUENCE, "")
    .replaceAll(CONTROL_SEQUENCE, "")
    .replaceAll(OTHER_ESCAPE, "")
    .replaceAll(UNSEEN, "");
}

/** The same as one line: what would break it becomes a space. */
export function plainLine(text: string): string {
  return plainText(text).replaceAll(/[\n\t]/g, " ");
}

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
/** East Asian Wide and Fullwidth (UAX #11), the blocks that matter. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]/u;
/** The quick way out. */
const ASCII = /^[\u0020-\u007e]*$/;

/** Columns that a terminal gives to a line of plain text. */
export function displayWidth(text: string): number {
  if (ASCII.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += graphemeWidth(segment);
  return width;
}

/** The text in at most `width` columns, with `…` where something is missing. */
export function cutToWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  if (width <= 0) return "";
  let kept = "";
  let used = 0;
  for (const { segment } of segmenter.segment(text)) {
    const next = graphemeWidth(segment);
    if (used + next > width - 1) break;
    kept += segment;
    used += next;
  }
  return `${kept}…`;
}

/** Filled up with spaces to `width` columns. */
export function padToWidth(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - displayWidth(text)));
}

function graphemeWidth(grapheme: string): number {
  if (/^\p{M}+$/u.test(grapheme)) return 0;
  return WIDE.test(grapheme) || /\p{Emoji_Presentation}|\ufe0f/u.test(grapheme) ? 2 : 1;
}
