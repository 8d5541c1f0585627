/**
 * Keys that an agent was given and that it prints (a command's argument, `env`, a refused key in an error) are named
 * instead of repeated in all that is read of it: that is stored, and told to parents, whose model is another provider's.
 * Only whole values within one event are found. The raw output in the attempt's own folder is as it was printed.
 */
import type { TurnReader } from "./backend.ts";

/** Names as Codex and CI systems know them. */
const SECRET_NAME = /KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIAL/i;
/** Shorter ones (`1`, `none`, `dummy`) stand in ordinary text. */
const MIN_CHARACTERS = 8;

/** The same reader, in whose events and end the values of the environment's secrets are replaced by their names. */
export function hideSecrets(reader: TurnReader, environment: Readonly<Record<string, string>>): TurnReader {
  const secrets = Object.entries(environment)
    .filter(([name, value]) => SECRET_NAME.test(name) && value.length >= MIN_CHARACTERS)
    // One may begin with another.
    .toSorted(([, left], [, right]) => right.length - left.length);
  if (secrets.length === 0) return reader;
  const hide = (text: string): string =>
    secrets.reduce((left, [name, value]) => (left.includes(value) ? left.replaceAll(value, `(${name})`) : left), text);
  return {
    readStdout: (chunk) => reader.readStdout(chunk).map((event) => mapTexts(event, hide)),
    readStderr: (chunk) => reader.readStderr(chunk).map((event) => mapTexts(event, hide)),
    end: (end, nowMs) => mapTexts(reader.end(end, nowMs), hide),
  };
}

/** The same plain data with every text in it changed; names of fields stay. */
function mapTexts<Data>(data: Data, change: (text: string) => string): Data;
function mapTexts(data: unknown, change: (text: string) => string): unknown {
  if (typeof data === "string") return change(data);
  if (Array.isArray(data)) return data.map((entry: unknown) => mapTexts(entry, change));
  if (typeof data !== "object" || data === null) return data;
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, mapTexts(value, change)]));
}
