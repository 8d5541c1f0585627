/** Names for plans: what people gave, or a few words of the goal; always fit for branch and folder names. */
import { TASK_ID_PATTERN } from "./schema.ts";

const MAX_WORDS = 5;
const MAX_LENGTH = 40;

/** A plan id out of free text; "plan" when nothing of it can be used. */
export function slugOf(text: string): string {
  const words = text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "")
    .slice(0, MAX_WORDS);
  const slug = words.join("-").slice(0, MAX_LENGTH).replace(/-+$/, "");
  return TASK_ID_PATTERN.test(slug) ? slug : "plan";
}

/** `wanted`, or with `-2`, `-3`, … behind it until it is free. */
export function freeId(wanted: string, isTaken: (id: string) => boolean): string {
  if (!isTaken(wanted)) return wanted;
  for (let number = 2; ; number += 1) {
    const candidate = `${wanted.slice(0, 64 - 1 - String(number).length)}-${number}`;
    if (!isTaken(candidate)) return candidate;
  }
}
