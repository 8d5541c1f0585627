// How soon an engine with much in its store is ready, against one with nothing but a plan of one task: from the start of
// the process to its welcome to the first client. And what much costs when it runs: `task_status`, its size, memory.
// Plans are made by the engine itself (and cancelled, for those that ended); a million events are written to the file.
import { createRequire } from "node:module";
import { join } from "node:path";
import { compare } from "./compare.js";
import { atMost, median } from "./figures.js";
import { Ground, MEBIBYTE, mebibytes, memoryOf, pause } from "./ground.js";

export const title = "Much in the store";

const TASKS = 10_000;
const A_PLAN = 1000;
const EVENTS = 1_000_000;
const PROMISED = 2;
const ROUNDS = 7;
/** Of a tool's answer, which a model reads. */
const MOST_ANSWER_BYTES = 32 * 1024;
const MOST_MEMORY_BYTES = 64 * MEBIBYTE;

const Database = createRequire(import.meta.url)("better-sqlite3");

export async function measure() {
  const grounds = [];
  const made = async (fill) => {
    const ground = new Ground({ limits: { agents: 1 } });
    grounds.push(ground);
    await ground.run("first", [{ id: "only", prompt: "true" }]);
    await fill(ground);
    return ground;
  };
  try {
    const empty = await made(async () => undefined);
    const open = await made((ground) => makePlans(ground, "pause"));
    const ended = await made((ground) => makePlans(ground, "cancel"));
    const old = await made(writeEvents);
    const cases = [
      { name: "one task", run: () => startMs(empty) },
      { name: `${TASKS} tasks, all open`, promised: PROMISED, run: () => startMs(open) },
      { name: `${TASKS} tasks, all ended`, promised: PROMISED, run: () => startMs(ended) },
      { name: `${EVENTS} events`, promised: PROMISED, run: () => startMs(old) },
    ];
    const rows = await compare(cases, { rounds: ROUNDS, warmUps: 1 });
    const asked = await compare(
      [
        { name: "task_status: one task", run: () => askMs(empty, "task_status", {}) },
        { name: "… ten plans of a thousand open tasks", run: () => askMs(open, "task_status", {}) },
        { name: "… one of them", run: () => askMs(open, "task_status", { plan: "much-0" }) },
        { name: "… one task of it", run: () => askMs(open, "task_status", { task: "much-0/t7", include: ["why"] }) },
        { name: "… after a million events", promised: PROMISED, run: () => askMs(old, "task_status", {}) },
        {
          name: "read_log of one task, after a million events",
          run: () => askMs(old, "read_log", { task: "first/only" }),
        },
        { name: "read_log from the end, after a million events", run: () => askMs(old, "read_log", { since: EVENTS }) },
      ],
      { rounds: ROUNDS, warmUps: 2 },
    );
    const figures = await figuresOf(empty, open, ended);
    return [
      ...rows.map(({ name, medianMs, ratio, promised, isMet }) => ({
        name: `ready with ${name}`,
        figure: `${medianMs.toFixed(0)} ms, × ${ratio.toFixed(2)}`,
        ...(isMet === undefined ? {} : { promised: `× ${promised}`, isMet }),
      })),
      ...asked.map(({ name, medianMs, ratio, promised, isMet }) => ({
        name,
        figure: `${medianMs.toFixed(1)} ms, × ${ratio.toFixed(2)}`,
        ...(isMet === undefined ? {} : { promised: `× ${promised}`, isMet }),
      })),
      ...figures,
    ];
  } finally {
    for (const ground of grounds) await ground.leave();
  }
}

async function makePlans(ground, action) {
  for (let plan = 0; plan * A_PLAN < TASKS; plan++) {
    const tasks = Array.from({ length: A_PLAN }, (_, index) => ({
      id: `t${index}`,
      agent: "command",
      prompt: "echo a task that does some work and says so",
      writes: [`src/part-${index}/**`],
      dependsOn: index < 10 ? [] : [`t${index - 10}`, `t${index - 7}`],
    }));
    await ground.call("create_plan", { name: `much-${plan}`, tasks, maxConcurrent: 1 });
    await ground.call("control", { action, plan: `much-${plan}` });
  }
}

/** As many as a repository gathers in years; each about a task of a plan long ended. */
async function writeEvents(ground) {
  await ground.stop();
  const database = new Database(join(ground.stateDir, "state.db"));
  const body = JSON.stringify({
    type: "task-state",
    from: "ready",
    to: "running",
    wait: null,
    cause: null,
    message: null,
  });
  const insert = database.prepare(
    "INSERT INTO events (at_ms, plan_id, task_id, attempt_id, body) VALUES (?, ?, ?, NULL, ?)",
  );
  database.transaction(() => {
    for (let event = 0; event < EVENTS; event++) insert.run(event, `old-${event % 997}`, `t${event % 31}`, body);
  })();
  database.close();
}

async function startMs(ground) {
  await ground.stop();
  const beganMs = performance.now();
  await ground.connect();
  return performance.now() - beganMs;
}

async function askMs(ground, name, input) {
  const beganMs = performance.now();
  await ground.call(name, input);
  return performance.now() - beganMs;
}

async function figuresOf(empty, open, ended) {
  const resident = async (ground) => {
    await ground.stop();
    await ground.connect();
    const samples = [];
    for (let second = 0; second < 5; second++) {
      await pause(1000);
      samples.push(memoryOf(ground.enginePid()).residentBytes);
    }
    return median(samples);
  };
  const alone = await resident(empty);
  const size = async (input) => JSON.stringify(await open.call("task_status", input)).length;
  const sizes = [await size({}), await size({ plan: "much-0" }), await size({ plan: "much-0", include: ["why"] })];
  return [
    atMost("resident memory beyond one task's: all open", (await resident(open)) - alone, MOST_MEMORY_BYTES, mebibytes),
    atMost("… all ended", (await resident(ended)) - alone, MOST_MEMORY_BYTES / 4, mebibytes),
    atMost("the largest answer of task_status", Math.max(...sizes), MOST_ANSWER_BYTES, (bytes) => `${bytes} bytes`),
  ];
}
