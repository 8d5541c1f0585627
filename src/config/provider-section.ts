/** What a config may say of a provider: the program, what reaches its agents, and what it costs. */
import { z } from "zod";
import { filledText, passedVariableSchema, text, variableSchema, whole } from "./schema-values.ts";

/** The same as BACKEND_KINDS of `agents/`, which this folder may not import; a test compares them. */
export const PROVIDER_KINDS = ["claude", "codex", "goose", "command"] as const;
export type ProviderKind = (typeof PROVIDER_KINDS)[number];

/** Has its place in the design and is not built yet: told apart from a typing error. */
const LATER_KINDS: readonly string[] = ["acp"];

const kindSchema = z.enum(PROVIDER_KINDS, {
  error: (issue) =>
    typeof issue.input === "string" && LATER_KINDS.includes(issue.input)
      ? `"${issue.input}" agents are not in this version; use ${PROVIDER_KINDS.join(", ")}`
      : undefined,
});

/** Nobody pays more for a million tokens, and sums stay exact enough. */
const dollars = z.number().min(0).max(1_000_000);

const priceSection = z
  .strictObject({
    input: dollars.describe("For what goes in."),
    output: dollars.describe("For what comes out."),
    cachedInput: dollars.nullable().describe("For what goes in and is read from a cache. null: as input."),
  })
  .describe("US dollars for a million tokens.");

const modelPatternSchema = filledText(200).refine((name) => !name.slice(0, -1).includes("*"), {
  error: "expected a model's name, or its beginning and `*`",
});

const pricesDescription =
  'What models cost, by name ("gpt-5*" for all that begin so, "*" for any), so that tokens become money where the CLI tells none (Codex, Goose) or where you know better. A plan with a budget in money needs one for each such model.';

export const providerSection = z
  .strictObject({
    kind: kindSchema.describe("How the program is driven: claude, codex, goose, or command (a shell)."),
    command: filledText(4096).describe(
      "Program name or path; looked up on PATH when it has no slash. Default: the kind's name; /bin/sh for command.",
    ),
    args: z
      .array(text(10_000))
      .max(100)
      .describe("Extra arguments, before the orchestrator's own. Never a secret: others can read command lines."),
    env: z
      .record(variableSchema, text(32_768))
      .describe("Environment variables for this provider's agents. Kept out of logs; passEnv is safer for secrets."),
    passEnv: z
      .array(passedVariableSchema)
      .max(200)
      .describe(
        "Variables (NAME or PREFIX_*) taken from the environment of whoever calls, in memory only, for this provider's agents. A task waits when a NAME is missing.",
      ),
    limit: whole(1, 1000)
      .nullable()
      .describe("Most agents of this provider at once, within limits.agents. null: no limit of its own."),
    prices: z.record(modelPatternSchema, priceSection).describe(pricesDescription),
  })
  .describe("A program that agents run on.");

/** As a person writes it. */
export const providerInFile = providerSection
  .extend({
    prices: z
      .record(modelPatternSchema, priceSection.partial({ cachedInput: true }).describe(priceSection.description ?? ""))
      .describe(pricesDescription),
  })
  .partial()
  .describe(providerSection.description ?? "");
