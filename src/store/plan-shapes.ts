/** Schemas of the plan's values that are kept as JSON. The compiler holds them to the types of `plan/`. */
import { z } from "zod";
import { TURN_KINDS, type Budget, type Ledger, type NextTurn, type TaskSpec, type Workflow } from "../plan/records.ts";
import { WAIT_CODES, type Wait } from "../plan/task-state.ts";

export const taskSpecSchema: z.ZodType<TaskSpec> = z.object({
  id: z.string(),
  title: z.string(),
  prompt: z.string(),
  agent: z.string(),
  dependsOn: z.array(z.string()),
  writes: z.array(z.string()).nullable(),
  onFailure: z.enum(["hard", "soft", "skip"]),
  workflow: z.string().nullable(),
  verify: z.array(z.string()).nullable(),
  merge: z.enum(["auto", "manual", "none"]),
  timeoutMinutes: z.number(),
  priority: z.number(),
  retries: z.number().nullable(),
  continues: z.string().nullable(),
});

export const budgetSchema: z.ZodType<Budget> = z.object({
  usd: z.number().nullable(),
  tokens: z.number().nullable(),
  minutes: z.number().nullable(),
});

export const waitSchema: z.ZodType<Wait> = z.object({
  code: z.enum(WAIT_CODES),
  message: z.string(),
  command: z.string().nullable(),
  untilMs: z.number().nullable(),
});

export const ledgerSchema: z.ZodType<Ledger> = z.object({
  attempts: z.number(),
  retries: z.number(),
  continuations: z.number(),
  freshSessions: z.number(),
  repairs: z.number(),
  rounds: z.number(),
  // Not in rows that an older version wrote.
  waits: z.number().default(0),
});

export const workflowSchema: z.ZodType<Workflow> = z.object({
  steps: z
    .array(
      z.object({
        agent: z.string(),
        provider: z.string(),
        otherProviders: z.exactOptional(z.array(z.string())),
        prompt: z.string().nullable(),
      }),
    )
    .min(1),
  maxRounds: z.number(),
});

export const nextTurnSchema: z.ZodType<NextTurn> = z.object({
  kind: z.enum(TURN_KINDS),
  note: z.string().nullable(),
});
