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
  #droppedLength = 0;

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
    const room = this.#maxLineLength - this.#line.length;
    this.#line += piece.length <= room ? piece : piece.slice(0, room);
    this.#droppedLength += Math.max(0, piece.length - room);
  }

  #finishLine(lines: OutputLine[]): void {
    const line = this.#line;
    const droppedLength = this.#droppedLength;
    this.#line = "";
    this.#droppedLength = 0;
    if (droppedLength > 0) {
      const total = line.length + droppedLength;
      lines.push({ text: `${line.slice(0, SHOWN_LENGTH)}… (a line of ${total} characters, dropped)` });
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
