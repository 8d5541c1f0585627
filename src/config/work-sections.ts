/** What a config may say of work: the workflows a task goes through, and the follow-ups that git starts. */
import { z } from "zod";
import { argumentText, filledText, nameSchema, relativePathSchema, whole } from "./schema-values.ts";

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

/** As a person writes it. */
export const workflowInFile = workflowSection
  .extend({ steps: stepsOf(stepSection.partial({ prompt: true }).describe(stepSection.description ?? "")) })
  .partial()
  .describe(workflowSection.description ?? "");

/** As a person writes it. */
export const followUpInFile = followUpSection
  .partial({
    branch: true,
    paths: true,
    from: true,
    agent: true,
    workflow: true,
    cooldownSeconds: true,
    maxDepth: true,
  })
  .describe(followUpSection.description ?? "");
