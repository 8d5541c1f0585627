/** Just enough of a terminal to tell what stands on it in the end. */
import { displayWidth } from "../../src/cli/plain-text.ts";

/** What scrolled off, then the screen's lines. Throws for any control that is not one of ours: something foreign got through. */
export function shownOn(drawn: string, columns: number, rows: number): string[] {
  const lines = [""];
  let row = 0;
  let column = 0;
  const write = (character: string): void => {
    const width = displayWidth(character);
    if (column + width > columns) [row, column] = [row + 1, 0];
    const before = lines[row] ?? "";
    // Lines are only ever written from their beginning, so what stands there is as long as the column.
    lines[row] = (column === 0 ? "" : before) + character;
    column += width;
  };
  // eslint-disable-next-line no-control-regex -- controls are what is looked for
  const token = /\u001b\[([?0-9;]*)([A-Za-z])|[\u0000-\u001f\u007f-\u009f]|[^\u0000-\u001f\u007f-\u009f]/gu;
  for (const [text, parameter = "", final] of drawn.matchAll(token)) {
    const top = Math.max(0, lines.length - rows);
    if (text === "\r") column = 0;
    else if (text === "\n") row += 1;
    else if (final === "A") row = Math.max(top, row - Number(parameter));
    else if (final === "J" && parameter === "" && column === 0) lines.splice(row, Infinity, "");
    else if (final === "m" || text === "\u001b[?25l" || text === "\u001b[?25h") continue;
    else if (/^\P{Cc}$/u.test(text)) write(text);
    else throw new Error(`a foreign control reached the terminal: ${JSON.stringify(text)}`);
    while (lines.length <= row) lines.push("");
  }
  return lines.map((line) => line.trimEnd());
}
