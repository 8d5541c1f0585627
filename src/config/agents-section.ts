/** What a config may say under `agents`: the roles by name, and beside them the settings of all agents. */
import { z } from "zod";
import { nearestName } from "../nearest-name.ts";
import { argumentText, mayLack, NAME_PATTERN, nameSchema, text, whole } from "./schema-values.ts";

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
    push: z.boolean().describe("May its agents `git push`? false: their git refuses to."),
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

/** As a person writes it. */
export const agentsInFile = z
  .object(agentSettings)
  .partial()
  .catchall(mayLack(roleSection))
  .superRefine(checkRoleNames)
  .describe(
    "Roles by name, and beside them the settings killGraceSeconds, stallMinutes, maxContinuations and isolation.",
  );

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
