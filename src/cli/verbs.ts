/** The table of verbs: everything the command line offers. What a verb does is loaded when it is asked for. */
import type { OptionSpec, Verb } from "./verb.ts";

const none = { min: 0, max: 0, what: "nothing" };
const yes: OptionSpec = { type: "boolean", short: "y", help: "do not ask" };
const detach: OptionSpec = { type: "boolean", help: "do not wait for the end" };

function steer(name: string, help: string, what = "PLAN|PLAN/TASK"): Verb {
  return {
    name,
    usage: what,
    help,
    options: {},
    positionals: { min: 1, max: 1, what },
    load: async () => (await import("./verbs/control.ts")).runControl,
  };
}

export const VERBS: readonly Verb[] = [
  {
    name: "run",
    usage: "FILE [--concurrent N] [--into NAME] [--dry-run] [--detach]",
    help: "carry out the plan in FILE (JSON or YAML, - for standard input)",
    details: [
      "Ends with 0 when all succeeded, 1 when something failed or is blocked, 4 when nothing can move without a person.",
      "Ctrl-C pauses the plan: agents end, their work is kept, and `orchestrator resume PLAN` goes on. With --json each",
      'event is one line, and the last line is {"type":"summary",…}.',
    ],
    options: {
      concurrent: { type: "string", value: "N", help: "agents of this plan at once (default: limits.agents)" },
      into: { type: "string", value: "NAME", help: "merge into a new branch of this name" },
      "dry-run": { type: "boolean", help: "check everything, tell what would happen, change nothing" },
      detach,
    },
    positionals: { min: 1, max: 1, what: "FILE" },
    load: async () => (await import("./verbs/run.ts")).runRun,
  },
  {
    name: "plan",
    usage: "GOAL [--yes] [--into NAME] [--detach]",
    help: "have a goal decomposed into tasks, look at them, start them",
    options: {
      yes,
      into: { type: "string", value: "NAME", help: "merge into a new branch of this name" },
      detach,
    },
    positionals: { min: 1, max: 1, what: "GOAL" },
    load: async () => (await import("./verbs/plan.ts")).runPlan,
  },
  {
    name: "spawn",
    usage: "PROMPT [--agent ROLE] [--plan PLAN] [--after a,b] [--writes GLOB]…",
    help: "start one agent (PROMPT - is standard input)",
    options: {
      agent: { type: "string", value: "ROLE", help: "a role of the config (default: coder)" },
      id: { type: "string", value: "ID", help: "the task's id (default: made from the prompt)" },
      plan: { type: "string", value: "PLAN", help: "add it to this plan (default: a plan of its own)" },
      after: { type: "string", value: "a,b", multiple: true, help: "tasks of the plan that must be done first" },
      writes: { type: "string", value: "GLOB", multiple: true, help: "files it will write; may be repeated" },
    },
    positionals: { min: 1, max: 1, what: "PROMPT" },
    load: async () => (await import("./verbs/spawn.ts")).runSpawn,
  },
  {
    name: "tell",
    usage: "PLAN/TASK MESSAGE|-",
    help: "say something to a task's agent, whatever it does",
    details: [
      "An agent at work hears it in this turn or right after it, one that waits in its next turn; a task that failed or was",
      "cancelled is opened again, and one that is done goes on in a new task. The answer says which, and names the task.",
    ],
    options: {},
    positionals: { min: 2, max: 2, what: "PLAN/TASK MESSAGE" },
    load: async () => (await import("./verbs/tell.ts")).runTell,
  },
  {
    name: "edit",
    usage: "PLAN FILE|-",
    help: "change a plan that runs: FILE is JSON or YAML with add, change and drop",
    options: {},
    positionals: { min: 2, max: 2, what: "PLAN FILE" },
    load: async () => (await import("./verbs/edit.ts")).runEdit,
  },
  {
    name: "status",
    usage: "[PLAN|PLAN/TASK] [--watch]",
    help: "how plans and tasks stand",
    options: { watch: { type: "boolean", short: "w", help: "show changes as they come; ends with the plan" } },
    positionals: { min: 0, max: 1, what: "PLAN" },
    load: async () => (await import("./verbs/status.ts")).runStatus,
  },
  {
    name: "why",
    usage: "PLAN/TASK",
    help: "why a task is not running, and the command that clears it",
    options: {},
    positionals: { min: 1, max: 1, what: "PLAN/TASK" },
    load: async () => (await import("./verbs/why.ts")).runWhy,
  },
  {
    name: "logs",
    usage: "[PLAN|PLAN/TASK] [-f] [--turns]",
    help: "what happened, event by event",
    options: {
      follow: { type: "boolean", short: "f", help: "go on with what happens now" },
      turns: { type: "boolean", help: "a task's conversation instead of events" },
    },
    positionals: { min: 0, max: 1, what: "PLAN" },
    load: async () => (await import("./verbs/logs.ts")).runLogs,
  },
  {
    name: "diff",
    usage: "PLAN/TASK",
    help: "what a task changed",
    options: {},
    positionals: { min: 1, max: 1, what: "PLAN/TASK" },
    load: async () => (await import("./verbs/diff.ts")).runDiff,
  },
  {
    name: "ps",
    usage: "",
    help: "the engine and the processes it runs",
    options: {},
    positionals: none,
    load: async () => (await import("./verbs/ps.ts")).runPs,
  },
  steer("pause", "end agents, keep their work and sessions; `resume` goes on"),
  steer("resume", "go on with what was paused or planned"),
  steer("cancel", "end for good; work done so far is kept"),
  steer("retry", "run again what failed, was cancelled or waits"),
  steer("skip", "count a task as done", "PLAN/TASK"),
  steer("merge", "merge now, also what is to be merged by hand"),
  steer("approve", "let through what waits for approval"),
  steer("release", "free the write claim of a waiting task", "PLAN/TASK"),
  {
    name: "stop",
    usage: "",
    help: "end the engine and all it runs; work is kept",
    options: {},
    positionals: none,
    load: async () => (await import("./verbs/stop.ts")).runStop,
  },
  {
    name: "serve",
    usage: "",
    help: "run the engine here, in the foreground",
    options: {},
    positionals: none,
    load: async () => (await import("./verbs/serve.ts")).runServe,
  },
  {
    name: "mcp",
    usage: "",
    help: "be the MCP server of an agent CLI (standard input and output)",
    options: {},
    positionals: none,
    load: () => Promise.reject(new Error("main.ts and command.ts run it without this table")),
  },
  {
    name: "init",
    usage: "[--yes] [--dry-run] [--undo]",
    help: "set up this repository and register in the agent CLIs that are here",
    details: [
      "Writes a config to begin with, installs the git hooks, and registers this program as MCP server orchestrator-mcp in",
      "Claude Code, Codex and Goose. Says what it changes, file by file; what is there already stays as it is. Ends with 1",
      "when something was left for a person.",
    ],
    options: {
      yes,
      "dry-run": { type: "boolean", help: "only show what would be done" },
      undo: { type: "boolean", help: "take back what init did" },
    },
    positionals: none,
    load: async () => (await import("./verbs/init.ts")).runInit,
  },
  {
    name: "doctor",
    usage: "",
    help: "check what is needed here and say what mends it",
    options: {},
    positionals: none,
    load: async () => (await import("./verbs/doctor.ts")).runDoctor,
  },
  {
    name: "config",
    usage: "get [KEY] | set KEY VALUE | unset KEY | schema | path",
    help: "read and change the configuration",
    options: {
      project: { type: "boolean", help: "change the project's file, not the user's" },
    },
    positionals: { min: 1, max: 3, what: "get, set, unset, schema or path" },
    load: async () => (await import("./verbs/config.ts")).runConfig,
  },
  {
    name: "trust",
    usage: "[--yes | --show]",
    help: "trust this repository's own config as it is now",
    options: { yes, show: { type: "boolean", help: "only show what it says and whether it is trusted" } },
    positionals: none,
    load: async () => (await import("./verbs/trust.ts")).runTrust,
  },
  {
    name: "hooks",
    usage: "install | uninstall | status",
    help: "git hooks that tell the engine to look at what git did",
    details: [
      "They join the hooks that are there (husky's, lefthook's, any core.hooksPath), cost git next to nothing, and wake an",
      "engine where follow-ups are configured and trusted. `uninstall` puts everything back as it was.",
    ],
    options: {},
    positionals: { min: 1, max: 1, what: "install, uninstall or status" },
    load: async () => (await import("./verbs/hooks.ts")).runHooks,
  },
  {
    name: "wake",
    usage: "",
    help: "start the engine and have it look at what git did (for git hooks: says nothing, ends with 0)",
    options: {},
    positionals: none,
    load: async () => (await import("./verbs/wake.ts")).runWake,
  },
  {
    name: "context",
    usage: "",
    help: "for an agent or its script: its own task and what surrounds it",
    options: {},
    positionals: none,
    load: async () => (await import("./verbs/satellite.ts")).runContext,
  },
  {
    name: "report",
    usage: "SUMMARY|- [--status succeeded|failed] [--verdict approve|reject]",
    help: "for an agent or its script: report the result of its task",
    options: {
      status: { type: "string", value: "STATUS", help: "succeeded (default), or failed when it can't be done" },
      verdict: { type: "string", value: "VERDICT", help: "approve or reject, for reviewers and testers" },
    },
    positionals: { min: 1, max: 1, what: "SUMMARY" },
    load: async () => (await import("./verbs/satellite.ts")).runReport,
  },
  {
    name: "demo",
    usage: "[--keep]",
    help: "watch a plan run in a throw-away repository; needs no agent CLI",
    options: { keep: { type: "boolean", help: "keep the folder" } },
    positionals: none,
    load: async () => (await import("./verbs/demo.ts")).runDemo,
  },
];

/** Promised and not there yet: told apart from a typing error. */
export const LATER_VERBS: readonly string[] = ["open", "questions", "answer", "undo", "tui", "clean", "ask"];
