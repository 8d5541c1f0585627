/** The kinds of value that the sections of `schema.ts` are made of: names, texts, paths, bounds. */
import { z } from "zod";

/** Also usable in a dotted key (`agents.coder.model`), hence no dot. */
export const NAME_PATTERN = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const VARIABLE_PATTERN = /^[A-Za-z_][A-Za-z0-9_]{0,199}$/;
const PASSED_VARIABLE_PATTERN = /^[A-Za-z_][A-Za-z0-9_]{0,199}\*?$/;
/** Git's would turn an agent away from its worktree and its fence; ours would make it pass for another attempt. */
const RESERVED_VARIABLE_PATTERN = /^(GIT_|ORCHESTRATOR_)/;

export const nameSchema = z
  .string()
  .regex(NAME_PATTERN, { error: "a name begins with a letter and has at most 64 letters, digits, `_` and `-`" });

export const variableSchema = z
  .string()
  .regex(VARIABLE_PATTERN, { error: "the name of an environment variable has letters, digits and `_` only" })
  .refine((name) => !RESERVED_VARIABLE_PATTERN.test(name), {
    error: "GIT_* and ORCHESTRATOR_* are set by the orchestrator and can't be set here",
  });

export const passedVariableSchema = z
  .string()
  .regex(PASSED_VARIABLE_PATTERN, { error: "expected the name of an environment variable, or PREFIX_*" })
  .refine((name) => !RESERVED_VARIABLE_PATTERN.test(name), {
    error: "GIT_* and ORCHESTRATOR_* are never passed on",
  });

/** Text without NUL, which neither a command line nor an environment can carry. */
export function text(maxCharacters: number): z.ZodString {
  return z
    .string()
    .max(maxCharacters)
    .refine((value) => !value.includes("\0"), { error: "must not hold a NUL character" });
}

export function filledText(maxCharacters: number): z.ZodString {
  return text(maxCharacters).refine((value) => value.trim() !== "", { error: "must not be empty" });
}

/** Reaches the agent CLI as an argument: what begins with `-` would be taken for one of its options. */
export function argumentText(maxCharacters: number): z.ZodString {
  return filledText(maxCharacters).refine((value) => !value.startsWith("-"), { error: "must not begin with `-`" });
}

export function whole(min: number, max: number): z.ZodNumber {
  return z.number().int().min(min).max(max);
}

/** A path or glob that stays below the repository's root. */
export const relativePathSchema = filledText(1024)
  .refine((path) => !path.startsWith("/") && !path.startsWith("~") && !/^[A-Za-z]:/.test(path), {
    error: "expected a path relative to the repository's root",
  })
  .refine((path) => !path.split(/[\\/]/).includes(".."), { error: "must not leave the repository with `..`" });

export const shellCommandSchema = filledText(10_000);

/** A section of which any part may be left out. */
export function mayLack<Shape extends z.core.$ZodShape>(section: z.ZodObject<Shape, z.core.$strict>) {
  return section.partial().describe(section.description ?? "");
}
