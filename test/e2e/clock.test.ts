/**
 * 6: a clock that is set, and a machine that sleeps, fail nobody. The clock is set in a build of its own, whose wall
 * clock is off by what stands in a file; sleep is what a stopped process sees of it: nothing, and then a later time.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { everyPid, kill, processesOf } from "../support/processes.js";
import { until } from "../support/until.js";
import { makeFaultBuild, removeFaultBuild } from "../tools/fault-build.js";

const CLOCK = `nowMs: () => {
        const { readFileSync } = process.getBuiltinModule("fs");
        try {
            return Date.now() + Number(readFileSync(process.env.HOME + "/clock-offset", "utf8"));
        } catch {
            return Date.now();
        }
    }`;
const dist = await makeFaultBuild({
  ...(process.env["ORCHESTRATOR_DIST"] === undefined ? {} : { dist: process.env["ORCHESTRATOR_DIST"] }),
  changes: [{ file: "clock.js", from: "nowMs: () => Date.now()", to: CLOCK }],
});
process.env["ORCHESTRATOR_DIST"] = dist;
const { Ground, quoted } = await import("./engine-support.ts");

const HOUR_MS = 3_600_000;

let ground: InstanceType<typeof Ground>;
let repo: InstanceType<typeof Ground>["main"];
afterEach(async () => {
  await ground.leave();
});
afterAll(() => removeFaultBuild(dist));

function open(stallMinutes: number): void {
  ground = new Ground({
    providers: StandInClaude.providers,
    agents: { stallMinutes },
    questions: { route: ["human"] },
    retry: { baseMs: HOUR_MS, maxMs: HOUR_MS },
  });
  repo = ground.main;
}

/** One agent that is silent, a command, one whose script asks a person, and one that is tried again after an hour or less. */
async function submit(timeoutMinutes: number): Promise<void> {
  const file = (name: string): string => quoted(join(ground.traces, name));
  const gate = `while [ ! -e ${file("gate")} ]; do sleep 0.5; done`;
  new StandInClaude(ground.home).script(1, `echo x >> ${file("ready")}; ${gate}; echo agent > agent.txt`);
  await repo.submit("night", [
    { id: "agent", agent: "coder", prompt: "PROMPT", writes: ["agent.txt"], timeoutMinutes },
    { id: "command", prompt: `echo x >> ${file("ready")}; ${gate}; echo c > command.txt`, timeoutMinutes },
    { id: "asks", prompt: `orchestrator ask "May I?" > asks.txt`, timeoutMinutes: 10_080 },
    {
      id: "again",
      prompt: `[ -e ${file("crashed")} ] || { touch ${file("crashed")}; kill -9 $$; }; orchestrator ask "And now?" > again.txt`,
    },
  ]);
  await until("all are under way", async () => {
    const { questions } = await repo.status({ plan: "night" });
    const states = await repo.states("night");
    return ground.trace("ready").length === 2 && questions.length === 1 && states["again"] === "waiting:backoff";
  });
}

async function waitsUntilMs(task: string): Promise<number> {
  const { why } = await repo.task(task, ["why"]);
  return Date.parse(why?.until ?? "");
}

async function setClock(hours: number, said: RegExp): Promise<void> {
  writeFileSync(join(ground.home, "clock-offset"), String(hours * HOUR_MS));
  await until("the engine has noticed", () => said.test(repo.log()));
}

/** The answer is given, the gate opened: everything ends well, and nothing was tried twice but what crashed by itself. */
async function expectNobodyFailed(): Promise<void> {
  // One that is asked now: deadlines are looked at.
  await until("it asks", async () =>
    JSON.stringify((await repo.status({ plan: "night" })).questions).includes("And now"),
  );
  const { questions } = await repo.status({ plan: "night" });
  expect(questions.map(({ question }) => question)).toEqual(["May I?", "And now?"]);
  for (const { id } of questions) await repo.call("answer_question", { id, answer: "yes, you may" });
  repo.write("../traces/gate", "");
  expect(await repo.settled("night")).toBe("succeeded");
  const causes = async (id: string): Promise<unknown[]> =>
    (await repo.task(`night/${id}`)).attempts.map(({ cause }) => cause);
  expect([await causes("agent"), await causes("command"), await causes("asks")]).toEqual([[null], [null], [null]]);
  expect(await causes("again")).toEqual(["crashed", null]);
  expect(repo.read("asks.txt")).toContain("yes, you may");
}

test("6: a clock set ahead by days, and back: no deadline, stall, question or lost call; back-off lasts no longer", async () => {
  open(30);
  await submit(60);
  const client = await repo.client();
  const held = client.call("task_status", { plan: "night", waitSeconds: 45, since: (await repo.status({})).seq });
  const dueMs = await waitsUntilMs("night/again");
  // Back first: ahead of it, the back-off is over at once.
  await setClock(-8, /the clock went 2\d{4} s back/);
  expect(await waitsUntilMs("night/again")).toBeLessThan(dueMs - 7.9 * HOUR_MS);
  await setClock(40, /the clock went 17\d{4} s ahead/);
  expect((await held).ok).toBe(true);
  await expectNobodyFailed();
});

test("6: engine and agents that stand still for longer than every limit, as in the machine's sleep", async () => {
  // 12 s without a sign of life, 15 s to the deadline; it sleeps for 25.
  open(0.2);
  await submit(0.25);
  const asleep = processesOf(ground.folder);
  for (const pid of asleep) kill(pid, "SIGSTOP");
  const wakesAtMs = performance.now() + 25_000;
  await until("the night is over", () => performance.now() > wakesAtMs, undefined, 60_000);
  expect(everyPid()).toEqual(expect.arrayContaining(asleep));
  for (const pid of asleep) kill(pid, "SIGCONT");
  await until("the engine has noticed", () => /the clock went \d+ s ahead/.test(repo.log()));
  // Its back-off of up to an hour is not what is tried here.
  await repo.control("retry", { task: "night/again" });
  await expectNobodyFailed();
});
