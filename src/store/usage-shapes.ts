/** What agents used up, as the store keeps it: the same plain shapes that `agents/` hands out. */
import { z } from "zod";
import type { Amounts } from "../plan/budget.ts";

export interface StoredTokens {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedInputTokens: number;
}

/** Cumulative counters of a session. */
export interface StoredTotals {
  readonly tokens: StoredTokens;
  /** US dollars; null when the CLI does not say. */
  readonly costUsd: number | null;
}

/** What a budget is held against, the same as `plan/budget.ts` has it. */
export const amountsSchema: z.ZodType<Amounts> = z.object({ usd: z.number(), tokens: z.number(), minutes: z.number() });

export const tokensSchema: z.ZodType<StoredTokens> = z.object({
  inputTokens: z.number(),
  outputTokens: z.number(),
  cachedInputTokens: z.number(),
});

export const totalsSchema: z.ZodType<StoredTotals> = z.object({
  tokens: tokensSchema,
  costUsd: z.number().nullable(),
});
