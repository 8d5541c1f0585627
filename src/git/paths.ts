/** Paths inside a repository as text: git's are bytes. */

const strict = new TextDecoder("utf-8", { fatal: true });

/** UTF-8 as it is; in any other name each byte beyond ASCII becomes `\xNN`, so that it can still be told and shown. */
export function pathText(bytes: Buffer): string {
  try {
    return strict.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`)).join("");
  }
}

/** One word of a shell command that a person may copy. */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
