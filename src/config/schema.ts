/**
 * The schema of a config file: each key once, with its bounds and what it is for. Two schemas are made from the same
 * sections: `configFileSchema` (what a person writes: everything may be left out) and `completeConfigSchema` (what is
 * left after the layers are merged and defaults filled in: nothing is missing). Defaults are in `defaults.ts` only;
 * `config schema` adds them to the descriptions, so that the two can't tell different stories.
 */
import { z } from "zod";
import { nearestName } from "../nearest-name.ts";

/** The same as BACKEND_KINDS of `agents/`, which this folder may not import; a test compares them. */
export const PROVIDER_KINDS = ["claude", "codex", "goose", "command"] as const;
/** Has its place in the design and is not built yet: told apart from a typing error. */
const LATER_KINDS: readonly string[] = ["acp"];

/** Also usable in a dotted key (`agents.coder.model`), hence no dot. */
export const NAME_PATTERN = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const VARIABLE_PATTERN = /^[A-Za-z_][A-Za-z0-9_]{0,199}$/;
const PASSED_VARIABLE_PATTERN = /^[A-Za-z_][A-Za-z0-9_]{0,199}\*?$/;
/** Git's would turn an agent away from its worktree and its fence; ours would make it pass for another attempt. */
const RESERVED_VARIABLE_PATTERN = /^(GIT_|ORCHESTRATOR_)/;

const nameSchema = z
  .string()
  .regex(NAME_PATTERN, { error: "a name begins with a letter and has at most 64 letters, digits, `_` and `-`" });

const variableSchema = z
  .string()
  .regex(VARIABLE_PATTERN, { error: "the name of an environment variable has letters, digits and `_` only" })
  .refine((name) => !RESERVED_VARIABLE_PATTERN.test(name), {
    error: "GIT_* and ORCHESTRATOR_* are set by the orchestrator and can't be set here",
  });

const passedVariableSchema = z
  .string()
  .regex(PASSED_VARIABLE_PATTERN, { error: "expected the name of an environment variable, or PREFIX_*" })
  .refine((name) => !RESERVED_VARIABLE_PATTERN.test(name), {
    error: "GIT_* and ORCHESTRATOR_* are never passed on",
  });

/** Text without NUL, which neither a command line nor an environment can carry. */
function text(maxCharacters: number): z.ZodString {
  return z
    .string()
    .max(maxCharacters)
    .refine((value) => !value.includes("\0"), { error: "must not hold a NUL character" });
}

function filledText(maxCharacters: number): z.ZodString {
  return text(maxCharacters).refine((value) => value.trim() !== "", { error: "must not be empty" });
}

/** Reaches the agent CLI as an argument: what begins with `-` would be taken for one of its options. */
function argumentText(maxCharacters: number): z.ZodString {
  return filledText(maxCharacters).refine((value) => !value.startsWith("-"), { error: "must not begin with `-`" });
}

function whole(min: number, max: number): z.ZodNumber {
  return z.number().int().min(min).max(max);
}

/** A path or glob that stays below the repository's root. */
const relativePathSchema = filledText(1024)
  .refine((path) => !path.startsWith("/") && !path.startsWith("~") && !/^[A-Za-z]:/.test(path), {
    error: "expected a path relative to the repository's root",
  })
  .refine((path) => !path.split(/[\\/]/).includes(".."), { error: "must not leave the repository with `..`" });

const shellCommandSchema = filledText(10_000);

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

export const roleSection = z
  .strictObject({
    provider: z
      .union([nameSchema, z.array(nameSchema).min(1).max(10)])
      .nullable()
      .describe(
        "A name from `providers`, or a list in the order of preference (those that are installed when a plan is made): while one is used up, keeps failing, or lacks its key or program, tasks go to the next. null: the first of claude, codex, goose that is installed.",
      ),
    model: argumentText(200)
      .nullable()
      .describe(
        "Model name for the provider; of a list, for the first's kind: the others use their own choice. null: the provider's own choice.",
      ),
    systemPrompt: text(100_000)
      .nullable()
      .describe("What agents of this role are told about their part. null: nothing."),
    tools: z
      .array(argumentText(1000))
      .max(200)
      .nullable()
      .describe("The agent CLI's own tool names that the role is limited to. null: what its permissions allow."),
    permissions: z
      .enum(["read", "edit", "full"])
      .describe("read: looks only · edit: a coder's work in its worktree · full: whatever the CLI can do."),
  })
  .describe("A role: who does a task and how.");

export const agentSettings = {
  killGraceSeconds: whole(0, 600).describe("Time between asking an agent's processes to end and killing them."),
  stallMinutes: z
    .number()
    .min(0.1)
    .max(1440)
    .describe(
      "An agent that shows no sign of life for so long is ended and tried again; within a tool call, twice that.",
    ),
  maxContinuations: whole(0, 1000).describe(
    "Times a session goes on after the CLI's own turn limit or an engine crash, without spending a retry.",
  ),
  isolation: z
    .enum(["none", "pid-namespace"])
    .describe("pid-namespace (Linux): each agent in its own process namespace, so that nothing can leave it."),
};
/** Keys of `agents` that are settings; a role can't have such a name. */
export const AGENT_SETTING_NAMES = Object.keys(agentSettings);

const stepSection = z
  .strictObject({
    agent: nameSchema.describe(
      "A role from `agents`. In the first step it does the task (unless the task names another); in later ones it judges the work.",
    ),
    prompt: filledText(100_000)
      .nullable()
      .describe(
        "For a later step: what it is told besides, or for a role that runs commands, the command, such as `npm test`: exit code 0 approves, any other rejects. The first step's prompt is the task's.",
      ),
  })
  .describe("One step: an agent of a role.");

function stepsOf<Step extends z.ZodType>(step: Step): z.ZodArray<Step> {
  return z.array(step).min(1).max(20).describe("Done one after the other on one branch before it merges.");
}

export const workflowSection = z
  .strictObject({
    steps: stepsOf(stepSection),
    maxRounds: whole(0, 50).describe("Times a reject goes back to the first step before a person is asked."),
  })
  .describe("Steps before a task counts as done.");

export const followUpSection = z
  .strictObject({
    on: z.enum(["merge", "commit"]).describe("What starts it."),
    branch: argumentText(250)
      .nullable()
      .describe(
        "The branch it happens on, or a glob. null: whatever is checked out in the main worktree when it happens.",
      ),
    paths: z.array(relativePathSchema).max(1000).describe("Globs: at least one changed file must match. []: any."),
    from: z
      .enum(["user", "orchestrator", "any"])
      .describe("Whose commits: this repository's user, the orchestrator's own merges, or anybody's."),
    agent: nameSchema.describe("The role that does it."),
    prompt: filledText(1_048_576).describe(
      "What it is told; {{commits}}, {{files}}, {{branch}} and {{range}} are filled in, save for a command agent, which gets ORCHESTRATOR_FILES, _COMMITS, _BRANCH and _RANGE.",
    ),
    workflow: nameSchema.nullable().describe("Steps before it merges, from `workflows`. null: the agent alone."),
    cooldownSeconds: whole(0, 86_400).describe(
      "Least time between two starts; what happens meanwhile waits and is followed together. 0: each on its own.",
    ),
    maxDepth: whole(1, 20).describe("How far follow-ups of follow-ups go. None ever starts itself again."),
  })
  .describe("Work that a commit or merge starts.");

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
const followUpsDescription = "Work that starts from git. A file's list replaces the one below it.";

const agentsDescription =
  "Roles by name, and beside them the settings killGraceSeconds, stallMinutes, maxContinuations and isolation.";

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
    providers: z
      .record(
        nameSchema,
        providerSection
          .extend({
            prices: z
              .record(
                modelPatternSchema,
                priceSection.partial({ cachedInput: true }).describe(priceSection.description ?? ""),
              )
              .describe(pricesDescription),
          })
          .partial()
          .describe(providerSection.description ?? ""),
      )
      .describe("Programs that agents run on, by name."),
    agents: z
      .object(agentSettings)
      .partial()
      .catchall(mayLack(roleSection))
      .superRefine(checkRoleNames)
      .describe(agentsDescription),
    workflows: z
      .record(
        nameSchema,
        workflowSection
          .extend({ steps: stepsOf(stepSection.partial({ prompt: true }).describe(stepSection.description ?? "")) })
          .partial()
          .describe(workflowSection.description ?? ""),
      )
      .describe("Lists of steps, by name."),
    verify: verifySection,
    followUps: z
      .array(
        followUpSection
          .partial({
            branch: true,
            paths: true,
            from: true,
            agent: true,
            workflow: true,
            cooldownSeconds: true,
            maxDepth: true,
          })
          .describe(followUpSection.description ?? ""),
      )
      .max(200)
      .describe(followUpsDescription),
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

/** A section of which any part may be left out. */
function mayLack<Shape extends z.core.$ZodShape>(section: z.ZodObject<Shape, z.core.$strict>) {
  return section.partial().describe(section.description ?? "");
}

type DeepReadonly<Value> = Value extends readonly (infer Entry)[]
  ? readonly DeepReadonly<Entry>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> }
    : Value;

/** The whole config, nothing missing, frozen. Roles stand apart: `agents.coder.model` of a file is `roles.coder.model`. */
export type Config = DeepReadonly<z.infer<typeof completeConfigSchema>>;
export type ProviderKind = (typeof PROVIDER_KINDS)[number];
export type ProviderConfig = Config["providers"][string];
export type RoleConfig = Config["roles"][string];
export type AgentSettings = Config["agents"];
export type WorkflowConfig = Config["workflows"][string];
export type FollowUpConfig = Config["followUps"][number];

function checkRoleNames(agents: Readonly<Record<string, unknown>>, context: z.RefinementCtx): void {
  for (const name of Object.keys(agents)) {
    if (AGENT_SETTING_NAMES.includes(name)) continue;
    if (!NAME_PATTERN.test(name)) {
      context.addIssue({
        code: "custom",
        path: [name],
        message: "a role's name begins with a letter and has at most 64 letters, digits, `_` and `-`",
      });
      continue;
    }
    const near = nearestName(name, AGENT_SETTING_NAMES);
    if (near !== null && near.toLowerCase() === name.toLowerCase()) {
      context.addIssue({ code: "custom", path: [name], message: `unknown key; did you mean "${near}"?` });
    }
  }
}
