/**
 * What the orchestrator role is told when it decomposes a goal. Not a coder's prompt with a line more: this turn makes no
 * commit and no report; its answer is the plan. Pure.
 */
import type { NextTurn, TaskSpec } from "../plan/records.ts";
import type { Mail } from "./mail.ts";
import { mailPart } from "./prompt.ts";
import { quoted } from "./quoted.ts";
import type { PlanSettings } from "./settings.ts";

export interface DecomposeFacts {
  readonly spec: TaskSpec;
  readonly settings: PlanSettings;
  readonly worktree: string;
  readonly turn: NextTurn;
  readonly continuesSession: boolean;
  /** What an earlier session answered. */
  readonly lastWords: string | null;
  readonly mail: readonly Mail[];
}

const ANSWER_RULE =
  "Your final answer is the plan itself, whole and in the form that is asked for; no report_result, nothing around it.";

export function decomposePrompt(facts: DecomposeFacts): string {
  const { spec, turn, worktree, settings } = facts;
  const parts = facts.continuesSession
    ? [turn.note ?? "Go on.", ANSWER_RULE, mailPart(facts.mail)]
    : [
        "You plan what a team of agents does. You do none of it yourself.",
        `# Your task: ${spec.title}\n${spec.prompt}`,
        `# Who can be given a task (\`agent\`)\n${rolesOf(settings).join("\n")}`,
        `# Rules\n- Look at the repository in ${worktree}. Change no file and make no commit.\n- End every process that you start.\n- ${ANSWER_RULE}`,
        turn.kind === "start" ? null : earlierPart(facts),
        mailPart(facts.mail),
      ];
  return parts.filter((part) => part !== null).join("\n\n") + "\n";
}

function earlierPart({ turn, lastWords }: DecomposeFacts): string {
  const parts = ["# An earlier answer was not taken"];
  if (turn.note !== null && turn.note !== "") parts.push(`Why:\n${quoted(turn.note, "reason")}`);
  if (lastWords !== null && lastWords !== "") parts.push(`It was:\n${quoted(lastWords, "earlier answer")}`);
  return parts.join("\n");
}

/** Who decomposes gives itself nothing to do. */
const NOT_OFFERED = "orchestrator";
const DEFAULT_ROLE = "coder";

/** One line a role: what it may do, and what its config says that it is for. */
function rolesOf({ roles, providers }: PlanSettings): string[] {
  return Object.values(roles)
    .filter((role) => role.name !== NOT_OFFERED)
    .map(({ name, provider, permissions, systemPrompt }) => {
      if (providers[provider]?.kind === "command") {
        return `- ${name}: no model; its \`prompt\` is a shell command, run in the task's worktree, and what it changes is the result`;
      }
      const what = permissions === "read" ? "looks and reports, changes nothing" : "changes files";
      const told = firstSentence(systemPrompt ?? "");
      return `- ${name}${name === DEFAULT_ROLE ? " (default)" : ""}: ${what}${told === "" ? "" : `; is told: ${told}`}`;
    });
}

const MAX_SENTENCE = 160;

function firstSentence(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  const sentence = /^.*?[.!?](?= |$)/.exec(line)?.[0] ?? line;
  return sentence.length <= MAX_SENTENCE ? sentence : `${sentence.slice(0, MAX_SENTENCE)}…`;
}
