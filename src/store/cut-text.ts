/**
 * `text` in at most `maxBytes` of UTF-8: whole, or its beginning and its end with a line between that says how much is
 * left out. Never cuts a character in two. Both ends, because agents put the question first and the result last.
 */
export function cutText(text: string, maxBytes: number): string {
  // No character takes more than 3 bytes a UTF-16 unit: short texts need no counting.
  if (text.length * 3 <= maxBytes) return text;
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= maxBytes) return text;
  const mark = `\n[… ${bytes.length - maxBytes} bytes and more left out …]\n`;
  const room = maxBytes - Buffer.byteLength(mark);
  if (room <= 0) return bytes.toString("utf8", 0, startOfCharacter(bytes, maxBytes));
  const headEnd = startOfCharacter(bytes, Math.ceil(room / 2));
  const tailStart = endOfCharacter(bytes, bytes.length - Math.floor(room / 2));
  return bytes.toString("utf8", 0, headEnd) + mark + bytes.toString("utf8", tailStart);
}

/** The nearest place at or before `index` that is not inside a character. */
function startOfCharacter(bytes: Buffer, index: number): number {
  let place = index;
  while (place > 0 && isContinuation(bytes[place])) place -= 1;
  return place;
}

function endOfCharacter(bytes: Buffer, index: number): number {
  let place = index;
  while (place < bytes.length && isContinuation(bytes[place])) place += 1;
  return place;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
