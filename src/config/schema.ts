/**
 * The schema of a config file: each key once, with its bounds and what it is for. Two schemas are made from the same
 * sections: `configFileSchema` (what a person writes: everything may be left out) and `completeConfigSchema` (what is
 * left after the layers are merged and defaults filled in: nothing is missing). Defaults are in `defaults.ts` only;
 * `config schema` adds them to the descriptions, so that the two can't tell different stories.
 */
import { z } from "zod";
import { agentsInFile, agentSettings, roleSection } from "./agents-section.ts";
import { providerInFile, providerSection } from "./provider-section.ts";
import {
  filledText,
  mayLack,
  nameSchema,
  relativePathSchema,
  shellCommandSchema,
  text,
  whole,
} from "./schema-values.ts";
import { followUpInFile, followUpSection, workflowInFile, workflowSection } from "./work-sections.ts";

const limitsSection = z
  .strictObject({ agents: whole(1, 1000).describe("Most agents alive at once in this repository.") })
  .describe("Bounds; a change takes effect at once.");

const mergeSection = z
  .strictObject({
    strategy: z
      .enum(["merge", "squash", "rebase", "ff-only"])
      .describe("merge: always a merge commit · squash · rebase · ff-only."),
    conflicts: z
      .enum(["resolve", "ours", "theirs", "manual"])
      .describe(
        "resolve: an agent resolves it · ours: the target's side · theirs: the task's side · manual: a person.",
      ),
    maxRepairs: whole(0, 50).describe("Times a failing verify goes back to the agent before a person is asked."),
    verifyTimeoutMinutes: whole(1, 1440).describe("Deadline for all verify commands of one merge."),
  })
  .describe("How finished branches get onto the target.");

const worktreeSection = z
  .strictObject({
    root: filledText(4096)
      .refine((path) => path.startsWith("/") || path.startsWith("~/"), {
        error: "expected an absolute path, or one that begins with ~/",
      })
      .nullable()
      .describe("Folder for worktrees. null: `worktrees` in the orchestrator's home (~/.orchestrator)."),
    copy: z
      .array(relativePathSchema)
      .max(1000)
      .describe("Globs of files that git ignores to copy from the main worktree, such as .env."),
    link: z
      .array(relativePathSchema)
      .max(1000)
      .describe("Paths to link to the main worktree's, such as node_modules. Agents then share them."),
    setup: z
      .array(shellCommandSchema)
      .max(50)
      .describe("Shell commands that make a new worktree ready, such as npm ci."),
  })
  .describe("How an agent's worktree comes ready.");

const writesSection = z
  .strictObject({
    undeclared: z.enum(["warn", "fail", "allow"]).describe("When a task wrote files that its `writes` does not claim."),
  })
  .describe("Claims on files.");

/** Fractions too: half a minute is a deadline. */
const minutes = (max: number): z.ZodNumber => z.number().min(0.01).max(max);

const deadlinesSection = z
  .strictObject({
    parentMinutes: minutes(10_080).describe("For the parent agent to answer."),
    orchestratorMinutes: minutes(10_080).describe("For the orchestrator role to answer."),
    humanMinutes: minutes(43_200).describe("For a person to answer."),
  })
  .describe("How long each in the route has; when all have passed, the asker uses its own judgement.");

const questionsSection = z
  .strictObject({
    holdSeconds: whole(0, 600).describe("How long a call is held for a quick answer before the agent's turn ends."),
    route: z
      .array(z.enum(["memory", "parent", "orchestrator", "human"]))
      .min(1)
      .max(4)
      .refine((route) => new Set(route).size === route.length, { error: "each may stand in the route only once" })
      .describe("Who is asked, in this order."),
    parentSeconds: whole(1, 86_400).describe("A parent that has not called for so long is not waited for."),
    deadlines: deadlinesSection,
    elicit: filledText(200)
      .nullable()
      .describe("Name of the interactive client that is asked by MCP elicitation. null: none."),
  })
  .describe("Questions of agents.");

const circuitSection = z
  .strictObject({
    failures: whole(1, 1000).describe("Failures in a row, of the provider's own making, that open its circuit."),
    openSeconds: whole(1, 86_400).describe("Time until one task may probe it again."),
  })
  .describe("Circuit breaker of each provider.");

const retrySection = z
  .strictObject({
    retries: whole(0, 100).describe("Retries of a task that gives none, for failures that pass by themselves."),
    baseMs: whole(1, 3_600_000).describe("First back-off; doubles each time, with full jitter."),
    maxMs: whole(1, 86_400_000).describe("Longest back-off."),
    circuit: circuitSection,
    usageProbeMinutes: z
      .array(whole(1, 1440))
      .min(1)
      .max(50)
      .describe("Waits before probing a provider whose allowance is used up, no reset known; the last repeats."),
  })
  .describe("What happens after failures.");

const engineSection = z
  .strictObject({
    onLastClientExit: z.enum(["continue", "stop"]).describe("What the engine does when its last client leaves."),
    idleExitSeconds: whole(1, 604_800).describe("An engine that nothing can move any more leaves after this time."),
    minFreeMegabytes: whole(0, 1_000_000).describe(
      "With less room than this on the disk of the state, of git's objects or of the worktrees nothing new is started.",
    ),
  })
  .describe("The background engine of a repository.");

const proposalsSection = z
  .strictObject({
    policy: z
      .enum(["ask", "auto", "off"])
      .describe(
        "ask: each waits for a person's approval · auto: they join the plan at once, save those for roles that run commands or have all permissions · off: they stay in the report.",
      ),
    maxDepth: whole(1, 20).describe("How far proposals of proposed tasks go; 1: a proposed task proposes none."),
    maxPerTask: whole(1, 50).describe("Most tasks that one task's agents may propose."),
  })
  .describe("Tasks that agents propose when they report.");

const notifySection = z.strictObject({}).describe("Notices to people; has no keys yet.");

const schemaReference = text(4096).describe("Where editors find the schema (`orchestrator config schema`).");
const verifySection = z
  .array(shellCommandSchema)
  .max(50)
  .describe("Shell commands that every merge must pass before it lands. []: merges are not verified.");

/** Everything there: what the layers give once merged, the roles taken apart from the settings beside them. */
export const completeConfigSchema = z.strictObject({
  providers: z.record(nameSchema, providerSection),
  agents: z.strictObject(agentSettings),
  roles: z.record(nameSchema, roleSection),
  workflows: z.record(nameSchema, workflowSection),
  verify: verifySection,
  followUps: z.array(followUpSection),
  limits: limitsSection,
  merge: mergeSection,
  worktree: worktreeSection,
  writes: writesSection,
  questions: questionsSection,
  retry: retrySection,
  engine: engineSection,
  proposals: proposalsSection,
  notify: notifySection,
});

/** What a person writes: each key may be left out, none may be unknown. */
export const configFileSchema = z
  .strictObject({
    $schema: schemaReference,
    providers: z.record(nameSchema, providerInFile).describe("Programs that agents run on, by name."),
    agents: agentsInFile,
    workflows: z.record(nameSchema, workflowInFile).describe("Lists of steps, by name."),
    verify: verifySection,
    followUps: z
      .array(followUpInFile)
      .max(200)
      .describe("Work that starts from git. A file's list replaces the one below it."),
    limits: mayLack(limitsSection),
    merge: mayLack(mergeSection),
    worktree: mayLack(worktreeSection),
    writes: mayLack(writesSection),
    questions: questionsSection
      .extend({ deadlines: mayLack(deadlinesSection) })
      .partial()
      .describe(questionsSection.description ?? ""),
    retry: retrySection
      .extend({ circuit: mayLack(circuitSection) })
      .partial()
      .describe(retrySection.description ?? ""),
    engine: mayLack(engineSection),
    proposals: mayLack(proposalsSection),
    notify: notifySection,
  })
  .partial();

type DeepReadonly<Value> = Value extends readonly (infer Entry)[]
  ? readonly DeepReadonly<Entry>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> }
    : Value;

/** The whole config, nothing missing, frozen. Roles stand apart: `agents.coder.model` of a file is `roles.coder.model`. */
export type Config = DeepReadonly<z.infer<typeof completeConfigSchema>>;
export type ProviderConfig = Config["providers"][string];
export type RoleConfig = Config["roles"][string];
export type AgentSettings = Config["agents"];
export type WorkflowConfig = Config["workflows"][string];
export type FollowUpConfig = Config["followUps"][number];
