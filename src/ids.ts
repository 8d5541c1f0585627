import { randomBytes, randomUUID } from "node:crypto";

/** Ids and chance as values that can be given, so that tests can repeat them. */
export interface Ids {
  /** A random UUID (version 4). */
  uuid(): string;
  /** `length` characters of [a-z0-9], for names that people read. */
  short(length: number): string;
  /** A number in [0, 1), for jitter. */
  random(): number;
}

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789";

export const systemIds: Ids = {
  uuid: () => randomUUID(),
  short: (length) => Array.from(randomBytes(length), (byte) => ALPHABET[byte % ALPHABET.length]).join(""),
  random: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
};
