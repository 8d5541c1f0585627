/** What an agent is told at the start of a turn. Pure. Never begins with `/` or `-`, which some CLIs take for commands. */
import type { NextTurn, TaskSpec } from "../plan/records.ts";
import type { Mail } from "./mail.ts";
import { block, cutBeginning, MAX_QUOTED_CHARACTERS, quoted } from "./quoted.ts";
import { rejectedPart, reviewAgain, reviewPrompt } from "./review-prompt.ts";
import type { StepFacts } from "./review.ts";

export interface PromptFacts {
  readonly spec: TaskSpec;
  readonly goal: string | null;
  readonly branch: string;
  readonly target: string;
  readonly worktree: string;
  readonly turn: NextTurn;
  /** Whose conversation goes on: in its own the agent knows its task already; nobody's is a new one. */
  readonly conversation: "its own" | "the earlier task's" | "nobody's";
  /** The ended task that this one continues. */
  readonly before: { readonly spec: TaskSpec; readonly isMerged: boolean } | null;
  /** What the tasks that this one depends on reported. */
  readonly dependencies: readonly { readonly id: string; readonly title: string; readonly summary: string | null }[];
  /** What an earlier session of this task said last, for a hand-over. */
  readonly lastWords: string | null;
  /** Whether the satellite tools reach the agent. */
  readonly hasTools: boolean;
  /** What it has not been told yet. */
  readonly mail: readonly Mail[];
  /** Whether the role may change files. */
  readonly mayWrite: boolean;
  /** What the checks of its last merge on trial printed, while no turn of the first step has answered it. */
  readonly failedChecks: string | null;
  /** Its place in the task's workflow; null without one. */
  readonly step: StepFacts | null;
}

export function promptFor(facts: PromptFacts): string {
  if (facts.conversation === "its own") return continuation(facts);
  const { spec, turn, step } = facts;
  if (step !== null && step.number > 1) {
    const handsOver = turn.kind !== "start" && turn.kind !== "review";
    return reviewPrompt({ ...facts, step }, [handsOver ? handOverPart(facts) : null, mailPart(facts.mail)]);
  }
  if (facts.conversation === "the earlier task's") return followUp(facts);
  return joined([
    "You carry out one task of a larger plan, alone in your own git worktree.",
    facts.goal === null ? null : `# The goal of the whole plan\n${facts.goal}`,
    `# Your task: ${spec.title}\n${spec.prompt}`,
    beforePart(facts),
    dependencyPart(facts),
    rulesPart(facts),
    turn.kind === "start" ? null : handOverPart(facts),
    rejectedIn(facts),
    checksIn(facts),
    mailPart(facts.mail),
  ]);
}

function joined(parts: readonly (string | null)[]): string {
  return `${parts.filter((part) => part !== null).join("\n\n")}\n`;
}

/** The agent remembers what it did for the task before; what it must know is that this is another branch. */
function followUp(facts: PromptFacts): string {
  const { spec, turn, before, branch, target } = facts;
  const became = before?.isMerged === true ? `was merged into ${target}` : "has ended";
  return joined([
    `Your work on "${before?.spec.title ?? spec.title}" ${became}. Now you are told something new, which is a task of its own: ` +
      `you are in the same folder, on the new branch ${branch}.`,
    turn.kind === "start" || turn.note === null ? null : turn.note,
    `# A message to you from the operator\n${block(spec.prompt, "message")}`,
    rulesPart(facts),
    mailPart(facts.mail),
  ]);
}

function beforePart({ before, target }: PromptFacts): string | null {
  if (before === null) return null;
  const became = before.isMerged ? `Its work is in ${target} and so in your worktree.` : "Its work was not merged.";
  return `# What this goes on from\nAn agent whose conversation can't be continued carried out the task "${before.spec.title}". ${became} Its task was:\n${quoted(before.spec.prompt, "earlier task")}`;
}

/** The conversation goes on: what it is told anew, beside the mail that it has not read. */
function continuation(facts: PromptFacts): string {
  const { step, turn } = facts;
  const isReview = step !== null && step.number > 1;
  return joined([
    isReview ? reviewAgain({ ...facts, step }) : whyItGoesOn(facts),
    // Also where the attempt that was to be told of it was cut off before it had read it.
    isReview || turn.kind === "rejected" ? null : rejectedIn(facts),
    isReview ? null : checksIn(facts),
    mailPart(facts.mail),
  ]);
}

/** What reviewers found that the first step has not answered yet. */
function rejectedIn({ step }: PromptFacts): string | null {
  if (step === null || step.number > 1 || step.openRejects.length === 0) return null;
  return `# Your work was rejected\n${rejectedPart(step.openRejects)}`;
}

/** Also where the turn that was to repair it was cut off before it had read the output, or failed. */
function checksIn({ turn, failedChecks }: PromptFacts): string | null {
  if (failedChecks === null || turn.kind === "repair") return null;
  return `# What is to be repaired
${CHECKS_FAILED}

${quoted(failedChecks, "checks")}`;
}

const CHECKS_FAILED =
  "Your work was merged with the target branch on trial, and the checks failed there. Repair it in your worktree. The output of the checks:";

function whyItGoesOn(facts: PromptFacts): string {
  const { spec, turn, mail, hasTools } = facts;
  if (turn.kind === "repair") {
    return `This is about your work on "${spec.title}". ${CHECKS_FAILED}\n\n${quoted(turn.note ?? "", "checks")}`;
  }
  const report = hasTools ? "call report_result again" : "say in a few sentences what you did";
  if (turn.kind === "rejected") {
    return (
      `${rejectedIn(facts) ?? turn.note ?? ""}\nYour task is still "${spec.title}", in the same worktree. When it is mended, ${report}: ` +
      "what you did, and what you answer to each finding."
    );
  }
  if (turn.kind === "message" && mail.length > 0) {
    return `Your task "${spec.title}" goes on, in the same worktree and on the same branch: you are told something new. Carry it out, then ${report}.`;
  }
  return (
    `${turn.note ?? "Go on."}\n\nYour task is still "${spec.title}". Look at what is there already (git status, git log) ` +
    "before you change anything, finish the task, and say in a few sentences what you did."
  );
}

/** What was said to the agent while it did not listen. Each speaker's words stand in a block of their own, uncut. */
export function mailPart(mail: readonly Mail[]): string | null {
  if (mail.length === 0) return null;
  const pieces = mail.map((piece) =>
    piece.kind === "message"
      ? `# A message to you from ${piece.from}\n${block(piece.text, "message")}`
      : `# The answer to your question\nYou asked:\n${block(piece.question, "question")}\n${piece.from} answers:\n${block(piece.answer, "answer")}`,
  );
  return pieces.join("\n\n");
}

function dependencyPart({ dependencies }: PromptFacts): string | null {
  if (dependencies.length === 0) return null;
  const lines = dependencies.map(({ id, title, summary }) => {
    const words = summary === null || summary === "" ? "(no report)" : cutBeginning(summary, MAX_QUOTED_CHARACTERS);
    return `- ${id} (${title}): ${words.replaceAll("\n", "\n  ")}`;
  });
  return `# What the tasks before yours did (their work is in your worktree)\n${lines.join("\n")}`;
}

function rulesPart({ spec, branch, target, worktree, hasTools }: PromptFacts): string {
  const rules = [
    `Work only inside ${worktree}, on the branch ${branch} that is checked out there. It will be merged into ${target} for you: do not switch branches, merge, rebase or push.`,
    "Commit your work as you go; what you leave uncommitted is committed for you.",
    spec.writes === null
      ? null
      : spec.writes.length === 0
        ? "Change no files: this task only looks."
        : `Change only files that match: ${spec.writes.join(", ")}. Other agents work on the rest.`,
    "End every process that you start.",
    hasTools
      ? "When you are done, call the tool report_result of the server orchestrator-mcp with a short summary; task_context tells what the other tasks are."
      : "When you are done, say in a few sentences what you did.",
  ];
  return `# Rules\n${rules
    .filter((rule) => rule !== null)
    .map((rule) => `- ${rule}`)
    .join("\n")}`;
}

function handOverPart({ turn, lastWords }: PromptFacts): string {
  const parts = ["# An earlier session worked on this task already"];
  parts.push("Its work is in your worktree (git log, git status, git diff): go on from there.");
  // A reject is told in a part of its own.
  if (turn.kind !== "rejected" && turn.note !== null && turn.note !== "")
    parts.push(`Why it ended:\n${quoted(turn.note, "reason")}`);
  if (lastWords !== null && lastWords !== "") parts.push(`What it said last:\n${quoted(lastWords, "last words")}`);
  return parts.join("\n");
}
