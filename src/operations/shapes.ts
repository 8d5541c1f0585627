/** Pieces of inputs and outputs that several operations share. */
import { z } from "zod";
import { TASK_STATES } from "../plan/task-state.ts";

export const KEY = z
  .string()
  .min(1)
  .max(200)
  .optional()
  .describe("Your own id of this request: sent twice, carried out once.");

/** Text that says something. */
export function filled(max: number): z.ZodString {
  return z.string().max(max).regex(/\S/, { error: "must not be empty" });
}

export const PLAN_ID = z.string().min(1).max(64).describe("A plan's id.");
export const TASK_NAME = z.string().min(1).max(200).describe("PLAN/TASK, or its id where only one plan has it.");

export const taskStateSchema = z.enum(TASK_STATES);

export const whySchema = z.object({
  code: z.string().nullable(),
  message: z.string(),
  /** The command that clears it; null when it clears by itself. */
  command: z.string().nullable(),
  until: z.string().nullable(),
  waitsFor: z.array(z.string()),
});

export const countsSchema = z.record(z.string(), z.number());

/** The line that tells a model or a person what to do next; nothing when there is nothing to do. */
export function nextLine(next: string): string {
  return next === "" ? "" : `next: ${next}`;
}

/** Joins lines, leaving out empty ones. */
export function lines(...parts: readonly (string | null | undefined)[]): string {
  return parts.filter((part) => part !== null && part !== undefined && part !== "").join("\n");
}

/** Cuts a text for people and models, and says how much is missing. */
export function cutEnd(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}… (${text.length - max} more characters)`;
}

/** How long something takes, in the one unit that matters. */
export function spanOf(ms: number): string {
  const minutes = Math.floor(Math.max(0, ms) / 60_000);
  if (minutes < 1) return "less than 1 min";
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
