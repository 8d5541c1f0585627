/** Prompts that a person picks in the host (`/mcp__orchestrator-mcp__plan` in Claude Code): each says how to go about it. */
import type { Server } from "@modelcontextprotocol/sdk/server/index.js";
import {
  ErrorCode,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  McpError,
} from "@modelcontextprotocol/sdk/types.js";
import { nearestName } from "../nearest-name.ts";

interface Prompt {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly argument: { readonly name: string; readonly description: string; readonly required: boolean };
  readonly text: (argument: string) => string;
}

const PROMPTS: readonly Prompt[] = [
  {
    name: "plan",
    title: "Plan a goal",
    description: "Look at the repository, make a plan of tasks for a goal, and show it before anything starts.",
    argument: { name: "goal", description: "What is to be done.", required: true },
    text: (goal) =>
      `Make a plan for this goal with the tools of orchestrator-mcp:\n\n${goal}\n\n` +
      "Look at the repository first. Prefer few tasks of a sensible size; each prompt must tell an agent who sees nothing else " +
      "exactly what to do and when it is done. Declare `writes` for each task, and `dependsOn` only where one task needs the " +
      "other's work. Call create_plan with dryRun, show me the tasks, their order and the warnings in a few lines, and ask me before you call it again without dryRun.",
  },
  {
    name: "orchestrate",
    title: "Carry a goal out",
    description: "Plan a goal, or take up the plan of that name, and drive it to its end.",
    argument: { name: "goal", description: "What is to be done, or the id of a plan that is there.", required: true },
    text: (goal) =>
      `Carry this out with the tools of orchestrator-mcp, to its end:\n\n${goal}\n\n` +
      "If that is the id of a plan (task_status tells), take that one up; else make a plan with create_plan. Then follow it: " +
      "call task_status with waitSeconds and `since` again and again until the plan is succeeded, failed or needs-person. Answer agents' questions " +
      "before anything else. Say something to an agent with spawn_agent and `task`. Where something failed or waits, read why and do what `next` says; " +
      "ask me only for what is mine to decide. At the end tell me in a few lines what was done, what was not, and where it is.",
  },
  {
    name: "review",
    title: "Review a task or a plan",
    description: "Look at what agents did and say what is right and what is not.",
    argument: { name: "task", description: "PLAN/TASK, or a plan's id; left out: what ended last.", required: false },
    text: (task) =>
      `Review the work of ${task === "" ? "the tasks that ended last" : task} with the tools of orchestrator-mcp. ` +
      'For each task read its prompt and report with task_status, and its changes with include: ["diff"]. Judge whether it does what was asked, ' +
      "is correct, is tested, and fits the code around it; change nothing yourself. Name what is wrong by file and line. " +
      "Then ask me what to do: tell its agent (spawn_agent with `task`), merge it, or leave it.",
  },
];

export function offerPrompts(server: Server): void {
  server.setRequestHandler(ListPromptsRequestSchema, () => ({
    prompts: PROMPTS.map(({ name, title, description, argument }) => ({
      name,
      title,
      description,
      arguments: [argument],
    })),
  }));
  server.setRequestHandler(GetPromptRequestSchema, ({ params }) => {
    const prompt = PROMPTS.find(({ name }) => name === params.name);
    const names = PROMPTS.map(({ name }) => name);
    if (prompt === undefined) {
      const near = nearestName(params.name, names);
      const hint = near === null ? "" : ` Did you mean ${near}?`;
      throw new McpError(
        ErrorCode.InvalidParams,
        `Unknown prompt: ${params.name.slice(0, 100)}.${hint} Here: ${names.join(", ")}.`,
      );
    }
    const { argument, description } = prompt;
    const value = params.arguments?.[argument.name]?.trim() ?? "";
    if (argument.required && value === "") {
      throw new McpError(
        ErrorCode.InvalidParams,
        `The prompt ${prompt.name} needs \`${argument.name}\`: ${argument.description}`,
      );
    }
    return { description, messages: [{ role: "user", content: { type: "text", text: prompt.text(value) } }] };
  });
}
