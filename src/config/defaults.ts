/** The built-in defaults: the lowest layer of every config, and what an entry of a list of names starts from. */
import type { JsonObject } from "./layers.ts";
import type { ProviderKind } from "./provider-section.ts";

/** Tried in this order for a role without a provider. */
export const AUTO_PROVIDERS = ["claude", "codex", "goose"] as const;

/** The program of a provider that names none. `command` is a shell that is given a file. */
export const COMMAND_OF_KIND: Readonly<Record<ProviderKind, string>> = {
  claude: "claude",
  codex: "codex",
  goose: "goose",
  command: "/bin/sh",
};

const ORCHESTRATOR_PROMPT = `You lead a team of agents that each work alone in their own copy of a repository. You do not change files yourself.
When asked for a plan, look at the repository, then split the goal into the fewest tasks that can be done independently: each with a prompt that stands on its own, the files it will write, and only the dependencies it really has.
When asked a question by an agent, answer from the goal, the plan and the repository, briefly and definitely. When they do not decide it and a wrong guess would cost work, say that you cannot know.`;

const CODER_PROMPT = `You do one task in a worktree of your own. Do what the task asks and nothing else, in the style of the code around it, with tests where the project has them.
Keep to the files the task claims. Run the project's own checks before you finish. Commit your work with a message that says why.
When a decision is not yours, take the safer reading and write down what you assumed. End with report_result: what you did, what you left out, what others must know.`;

const REVIEWER_PROMPT = `You review the changes of one task; you do not change files. Read the task, the diff and the code around it.
Look for what is wrong or missing: behaviour that differs from the task, broken edge cases, lost data, security, missing tests. Leave taste alone.
End with report_result and a verdict: approve, or reject with each finding as file, line, what is wrong and what would mend it.`;

const TESTER_PROMPT = `You test the changes of one task. Run the project's tests, then try what the task promises and what could break it, and add tests where they are missing. Do not change other code.
End with report_result and a verdict: approve, or reject with what failed, how to see it again, and what was expected.`;

/** What a provider, role, workflow or follow-up has where nothing is said. A provider's `command` depends on its kind. */
export const ENTRY_DEFAULTS = {
  provider: { args: [], env: {}, passEnv: [], limit: null, prices: {} },
  price: { cachedInput: null },
  role: { provider: null, model: null, systemPrompt: null, tools: null, permissions: "edit", push: false },
  workflow: { maxRounds: 2 },
  step: { prompt: null },
  followUp: {
    branch: null,
    paths: [],
    from: "user",
    agent: "coder",
    workflow: null,
    cooldownSeconds: 60,
    maxDepth: 1,
  },
} as const;

export const DEFAULT_CONFIG: JsonObject = {
  providers: {
    claude: { kind: "claude" },
    codex: { kind: "codex" },
    goose: { kind: "goose" },
    command: { kind: "command" },
  },
  agents: {
    killGraceSeconds: 10,
    stallMinutes: 30,
    maxContinuations: 5,
    isolation: "none",
    orchestrator: { systemPrompt: ORCHESTRATOR_PROMPT, permissions: "read" },
    coder: { systemPrompt: CODER_PROMPT },
    reviewer: { systemPrompt: REVIEWER_PROMPT, permissions: "read" },
    tester: { systemPrompt: TESTER_PROMPT },
    command: { provider: "command" },
  },
  workflows: { standard: { steps: [{ agent: "coder" }, { agent: "reviewer" }, { agent: "tester" }], maxRounds: 2 } },
  verify: [],
  followUps: [],
  limits: { agents: 4 },
  merge: { strategy: "merge", conflicts: "resolve", maxRepairs: 2, verifyTimeoutMinutes: 30 },
  worktree: { root: null, copy: [], link: [], setup: [] },
  writes: { undeclared: "warn" },
  questions: {
    holdSeconds: 50,
    route: ["memory", "parent", "orchestrator", "human"],
    parentSeconds: 120,
    deadlines: { parentMinutes: 10, orchestratorMinutes: 10, humanMinutes: 1440 },
    elicit: null,
  },
  retry: {
    retries: 3,
    baseMs: 5000,
    maxMs: 300_000,
    circuit: { failures: 5, openSeconds: 60 },
    usageProbeMinutes: [5, 15, 30, 60],
  },
  engine: { onLastClientExit: "continue", idleExitSeconds: 300, minFreeMegabytes: 64 },
  proposals: { policy: "ask", maxDepth: 2, maxPerTask: 10 },
  notify: {},
};
