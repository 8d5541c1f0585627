/** What a model is told of this server before it sees the tools. Short: it is in every request of every turn. */

interface Instructions {
  readonly begin: string;
  /** Said of a tool only where it is offered: what is promised and then missing costs a model a turn. */
  readonly tools: Readonly<Record<string, string>>;
  readonly end: string;
}

const FOR_OPERATORS: Instructions = {
  begin:
    "Turns a goal into a plan: a DAG of tasks, each done by an agent CLI of its own in its own git worktree and merged back " +
    "through a queue. The work goes on when you end your turn.",
  tools: {
    create_plan:
      "tasks with dependencies, or a goal alone. Declare `writes` so that tasks can run side by side. dryRun shows what would happen.",
    spawn_agent: "one agent, alone or in a plan; with `task`, a word to an agent that is there.",
    task_status: "what runs, waits or ended, and why. waitSeconds waits for the next news instead of polling.",
    answer_question: "agents ask you; task_status shows their questions first. Answer before anything else.",
    control: "pauses, resumes, cancels, retries, skips, merges, approves or releases a plan or a task.",
  },
  end: "Every answer has `summary` and `next`. Follow `next` when unsure.",
};

const FOR_SATELLITES: Instructions = {
  begin: "You are one agent of a larger plan and work on one task in a git worktree of your own.",
  tools: {
    task_context: "your task, the goal, what the tasks before yours reported, who else works where.",
    ask_orchestrator:
      'ask instead of guessing when a decision is not yours. If it answers "parked", end your turn at once; you will be continued with the answer.',
    report_result: "call it once, last, with what you did. Work that nobody reported may count as unfinished.",
  },
  end: "Stay in your worktree and on your branch; do not push, merge or change other branches.",
};

export function instructionsFor(role: "operator" | "satellite", offered: readonly string[]): string {
  const { begin, tools, end } = role === "operator" ? FOR_OPERATORS : FOR_SATELLITES;
  const lines = Object.entries(tools).filter(([name]) => offered.includes(name));
  return [begin, ...lines.map(([name, text]) => `- ${name}: ${text}`), end].join("\n");
}
