// Stands in for src/app.ts in the engine's tests: an app whose behaviour is given by `<stateDir>/fake.json` (read
// whenever it is asked) and that keeps what was done in `<stateDir>/journal.jsonl`, as the store would.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const operator = (name, isReading) => ({
  name,
  title: name,
  description: `The ${name} of the tests.`,
  audience: "operator",
  isReading,
  inputSchema: { $schema: "https://json-schema.org/draft/2020-12/schema", type: "object", properties: {} },
  outputSchema: {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    properties: { value: {} },
    required: ["value"],
  },
});

const TOOLS = [
  operator("echo", true),
  operator("change", false),
  operator("change_then_hang", false),
  operator("fail", true),
  operator("throw", true),
  operator("wait", true),
  operator("steps", true),
  operator("environment", true),
  operator("crash", true),
  operator("who", true),
  { ...operator("ask_orchestrator", false), audience: "satellite" },
];

export function toolListings() {
  return TOOLS;
}

export async function createApp({ commonDir, mainWorktree, stateDir, engineVersion, log, stopEngine }) {
  const journalFile = join(stateDir, "journal.jsonl");
  const settings = () => {
    const file = join(stateDir, "fake.json");
    return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  };
  const journal = () =>
    existsSync(journalFile)
      ? readFileSync(journalFile, "utf8")
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : [];
  const note = (entry) => appendFileSync(journalFile, `${JSON.stringify(entry)}\n`);
  const listeners = new Set();
  const events = [];
  const taken = {};
  let isStopped = false;
  if (settings().failToStart) throw new Error("the fake app was told not to start");
  note({ what: "started", pid: process.pid, version: engineVersion, commonDir, mainWorktree });

  const ok = (value) => ({ ok: true, structured: { value }, text: `text: ${JSON.stringify(value)}` });
  const failed = (code, message) => ({ ok: false, code, message, details: {} });
  const aborted = (signal) =>
    new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve())));

  const changeOnce = (input, key) => {
    const earlier = key === null ? undefined : journal().find((entry) => entry.what === "change" && entry.key === key);
    if (earlier !== undefined) return earlier.answer;
    const answer = { done: journal().filter((entry) => entry.what === "change").length + 1, input };
    note({ what: "change", key, answer });
    return answer;
  };

  const operations = {
    echo: (input) => ok(input),
    change: (input, { requestKey }) => ok(changeOnce(input, requestKey)),
    change_then_hang: async (input, { requestKey, signal }) => {
      const answer = changeOnce(input, requestKey);
      while (settings().hang && !isStopped && !signal.aborted) await new Promise((resolve) => setTimeout(resolve, 10));
      return ok(answer);
    },
    fail: () => failed("TASK_NOT_FOUND", "No task x. Call task_status to see them."),
    throw: () => {
      throw new Error("a bug in the fake app");
    },
    wait: async (_input, { signal }) => {
      note({ what: "waiting" });
      await aborted(signal);
      note({ what: "aborted" });
      return ok("aborted");
    },
    steps: (input, { progress }) => {
      for (let step = 1; step <= 3; step++) progress(`step ${step}`);
      return ok("done");
    },
    environment: () => ok({ process: process.env, taken, cwd: process.cwd() }),
    crash: () => process.kill(process.pid, "SIGKILL"),
    who: (_input, { caller, requestKey }) => ok({ caller, requestKey, pid: process.pid }),
    ask_orchestrator: (input) => ok({ parked: input }),
    big: (input) => ok("x".repeat(input.bytes)),
    uncaught: () => {
      setTimeout(() => {
        throw new Error("thrown outside of any call");
      }, 0);
      return ok(null);
    },
    emit: (input) => {
      for (let count = 0; count < (input.count ?? 1); count++)
        events.push({ seq: events.length + 1, name: input.name });
      for (const listener of listeners) listener(events.at(-1));
      return ok(events.length);
    },
    stop: () => {
      stopEngine("asked to");
      return ok("stopping");
    },
  };

  return {
    engineId: "fake-engine",
    identify: async ({ mark, place, clientName }) => {
      if (place.includes("identify-throws")) throw new Error("identify failed");
      return mark === null
        ? { role: "operator", cwd: place, clientName }
        : { role: "satellite", attemptId: mark, planId: "p", taskId: "t" };
    },
    passEnvPatterns: () => ["PROVIDER_KEY", "ANTHROPIC_*"],
    takeEnvironment: (variables) => Object.assign(taken, variables),
    tools: () => TOOLS,
    call: async (name, input, call) => {
      const run = operations[name];
      return run === undefined ? failed("USAGE", `No operation ${name}`) : run(input, call);
    },
    canMove: () => settings().canMove ?? false,
    isStateInPlace: () => true,
    isUnused: () => settings().isUnused ?? false,
    liveAgents: () => settings().liveAgents ?? 0,
    openPlans: () => [],
    lastClientLeft: () => note({ what: "lastClientLeft" }),
    onLastClientExit: () => settings().onLastClientExit ?? "continue",
    idleExitSeconds: () => settings().idleExitSeconds ?? 300,
    setRestartPending: (version) => note({ what: "restartPending", version }),
    stop: async (reason) => {
      isStopped = true;
      note({ what: "stopped", reason });
      log.write("the fake app stopped");
    },
    onEvent: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    eventsAfter: (seq, limit) => events.slice(seq, seq + limit),
  };
}
