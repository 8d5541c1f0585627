/**
 * Redraws a block of lines in place. Owns the cursor while it lives: hides it, and gives it back whatever ends the
 * program. Everything stays in the normal screen, so that what was shown last can be scrolled back to.
 */
import { displayWidth } from "./plain-text.ts";
import { paint, textOf, type Line } from "./styled.ts";
import type { Terminal } from "./terminal.ts";

const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";

export class LiveScreen {
  readonly #terminal: Terminal;
  readonly #restore = (): void => this.#terminal.writeRaw(SHOW_CURSOR);
  /** Widths of the lines on the screen: how many rows they take depends on how wide it is by then. */
  #widths: number[] = [];
  #isOpen = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  draw(lines: readonly Line[]): void {
    let text = this.#eraseText();
    if (!this.#isOpen) {
      this.#isOpen = true;
      process.once("exit", this.#restore);
      text = HIDE_CURSOR + text;
    }
    for (const line of lines) text += `${paint(line, this.#terminal.hasColor)}\n`;
    this.#widths = lines.map((line) => displayWidth(textOf(line)));
    this.#terminal.writeRaw(text);
  }

  /** Takes the block away and gives the cursor back. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.off("exit", this.#restore);
    this.#terminal.writeRaw(this.#eraseText() + SHOW_CURSOR);
    this.#widths = [];
  }

  #eraseText(): string {
    const columns = this.#terminal.columns();
    // Made narrower meanwhile, a terminal has broken the lines into more rows.
    const rows = this.#widths.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
    return rows === 0 ? "" : `\u001b[${rows}A\r\u001b[J`;
  }
}
