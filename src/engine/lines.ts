/** Cuts a stream of bytes into lines. A line never grows past its cap, whatever the other end sends. */

export interface LineSplitterOptions {
  /** In bytes, without the line feed. Read for each chunk, so it may change. */
  readonly maxLineBytes: () => number;
  /** A line without its line feed and carriage return; empty lines are left out. */
  readonly onLine: (line: string) => void;
  /** Called once for each line over the cap, whose bytes are dropped up to its line feed. */
  readonly onOversized: () => void;
}

/** The answer takes chunks as they come; a character cut in two by a chunk's end is put together again. */
export function createLineSplitter(options: LineSplitterOptions): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let length = 0;
  let isSkipping = false;

  const add = (part: Buffer): void => {
    if (isSkipping || part.length === 0) return;
    if (length + part.length > options.maxLineBytes()) {
      parts = [];
      length = 0;
      isSkipping = true;
      options.onOversized();
      return;
    }
    parts.push(part);
    length += part.length;
  };

  const finish = (): void => {
    if (isSkipping) {
      isSkipping = false;
      return;
    }
    const bytes = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, length);
    parts = [];
    length = 0;
    const end = bytes.at(-1) === 13 ? bytes.length - 1 : bytes.length;
    if (end > 0) options.onLine(bytes.toString("utf8", 0, end));
  };

  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      add(chunk.subarray(start, end));
      finish();
      start = end + 1;
    }
    add(chunk.subarray(start));
  };
}
