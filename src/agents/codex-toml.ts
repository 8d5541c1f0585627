/**
 * `codex -c key=value` takes its value as TOML, and takes what is no TOML as a plain string. A path with a quote in it
 * would so become another value than meant without any error, so every string is written as a TOML basic string.
 */

/** A TOML basic string that reads back as `text`, whatever is in it. */
export function tomlString(text: string): string {
  let quoted = '"';
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (character === '"' || character === "\\") quoted += `\\${character}`;
    else if (code < 0x20 || code === 0x7f) quoted += `\\u${code.toString(16).padStart(4, "0")}`;
    // Half a surrogate pair is no character of TOML's, nor of UTF-8, which arguments are sent in.
    else if (code >= 0xd800 && code <= 0xdfff) quoted += "\u{fffd}";
    else quoted += character;
  }
  return `${quoted}"`;
}

/** A TOML array of strings. */
export function tomlStrings(texts: readonly string[]): string {
  return `[${texts.map(tomlString).join(",")}]`;
}

/** A TOML inline table of strings; keys are quoted, so that any name will do. */
export function tomlTable(entries: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(entries).map(([key, value]) => `${tomlString(key)}=${tomlString(value)}`);
  return `{${pairs.join(",")}}`;
}
