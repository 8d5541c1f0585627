/** A line of an agent's output: a JSON object or array, or anything else as it came. */
export type OutputLine = { readonly json: unknown } | { readonly text: string };

export interface JsonLinesOptions {
  /** Characters of a line that are kept; of a longer one only the beginning is handed out, as text. */
  readonly maxLineLength?: number;
}

/**
 * A 2 MB answer is one line of 2 MB (seen with Claude Code), and tool results and diffs repeat it; what is beyond this
 * is an endless line and would otherwise eat the engine's memory.
 */
const MAX_LINE_LENGTH = 16 * 1024 * 1024;

/** What is shown of a line that was too long. */
const SHOWN_LENGTH = 1024;

/**
 * Splits a stream of newline-delimited JSON, cut anywhere, into lines. The same bytes give the same lines however they
 * were cut. Blank lines are dropped, `\r\n` counts as one line end, and what is no JSON object or array is handed out
 * as text (CLIs print warnings between their events; a bare number or word is a warning, not an event).
 */
export class JsonLines {
  readonly #maxLineLength: number;
  #line = "";
  /** Characters of the line so far, also those that were dropped. */
  #length = 0;
  /** Of a line that became too long; null of any other. */
  #head: string | null = null;

  constructor(options: JsonLinesOptions = {}) {
    this.#maxLineLength = options.maxLineLength ?? MAX_LINE_LENGTH;
  }

  /** Takes the next piece (decoded UTF-8) and gives the lines that it completes. */
  push(chunk: string): OutputLine[] {
    const lines: OutputLine[] = [];
    let start = 0;
    for (let end = chunk.indexOf("\n"); end !== -1; end = chunk.indexOf("\n", start)) {
      this.#add(chunk.slice(start, end));
      this.#finishLine(lines);
      start = end + 1;
    }
    this.#add(chunk.slice(start));
    return lines;
  }

  /** Gives the last line when it had no line end. Call once, at the end of the stream. */
  end(): OutputLine[] {
    const lines: OutputLine[] = [];
    this.#finishLine(lines);
    return lines;
  }

  #add(piece: string): void {
    this.#length += piece.length;
    if (this.#length <= this.#maxLineLength) {
      this.#line += piece;
      return;
    }
    // Its beginning alone, as a string of its own: a slice would hold all of the other in memory.
    if (this.#head === null)
      this.#head = Buffer.from((this.#line + piece).slice(0, Math.min(SHOWN_LENGTH, this.#maxLineLength))).toString();
    this.#line = "";
  }

  #finishLine(lines: OutputLine[]): void {
    const line = this.#line;
    const length = this.#length;
    const head = this.#head;
    this.#line = "";
    this.#length = 0;
    this.#head = null;
    if (head !== null) {
      lines.push({ text: `${head}… (a line of ${length} characters, dropped)` });
      return;
    }
    const trimmed = line.endsWith("\r") ? line.slice(0, -1) : line;
    if (trimmed.trim() !== "") lines.push(parseLine(trimmed));
  }
}

function parseLine(line: string): OutputLine {
  // A parser that throws costs tens of microseconds a line, which a flood of plain text makes minutes.
  if (!/^\s*[[{]/.test(line)) return { text: line };
  try {
    const json: unknown = JSON.parse(line);
    if (typeof json === "object" && json !== null) return { json };
  } catch {
    // Not JSON: a warning of the CLI or of a program that it started.
  }
  return { text: line };
}
