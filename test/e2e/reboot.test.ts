/** The machine is restarted in the middle of a plan: in a build that takes the boot's id from a file. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { makeFaultBuild, removeFaultBuild } from "../tools/fault-build.js";
import { isAlive, kill, processesNaming } from "../support/processes.js";
import { until } from "../support/until.js";

const dist = await makeFaultBuild({
  changes: [
    {
      file: "process/linux-process-table.js",
      from: `readProc("/proc/sys/kernel/random/boot_id")`,
      to: `readProc(process.env.HOME + "/boot-id")`,
    },
  ],
});
process.env["ORCHESTRATOR_DIST"] = dist;
const { Ground, quoted } = await import("./engine-support.ts");
const { runCli } = await import("./run-cli.ts");
afterAll(() => removeFaultBuild(dist));

let ground: InstanceType<typeof Ground>;
let repo: InstanceType<typeof Ground>["main"];
let stranger = 0;
beforeEach(() => {
  ground = new Ground();
  repo = ground.main;
  boot("one");
});
afterEach(async () => {
  if (stranger !== 0) kill(stranger, "SIGKILL");
  await ground.leave();
});

const boot = (id: string): void => writeFileSync(join(ground.home, "boot-id"), `${id}\n`);

/** The first try of it becomes a process that nothing marks as ours, as the one that gets its pid after a restart. */
async function plan(): Promise<void> {
  const seconds = `86399.${process.pid}`;
  const [runs, gate] = ["runs", "gate"].map((name) => quoted(join(ground.traces, name)));
  const cut = `echo cut >> ${runs}; [ -e ${gate} ] || exec env -i "$(command -v sleep)" ${seconds}; echo cut > cut.txt`;
  await repo.submit("night", [
    { id: "done", prompt: `echo done >> ${runs}; echo done > done.txt` },
    { id: "cut", prompt: cut, dependsOn: ["done"] },
    { id: "next", prompt: `echo next >> ${runs}; cp cut.txt next.txt`, dependsOn: ["cut"] },
  ]);
  await until("the second task runs", () => processesNaming(`sleep ${seconds}`).length === 1);
  [stranger = 0] = processesNaming(`sleep ${seconds}`);
}

/** All are gone in the same instant, save the one that stands for whoever gets its pid. */
async function lose(): Promise<void> {
  repo.closeClients();
  const both = [repo.enginePid(), ...repo.guardPids()];
  for (const pid of both) kill(pid, "SIGSTOP");
  for (const pid of both) kill(pid, "SIGKILL");
  await until("they are dead", () => !both.some(isAlive));
  ground.repositories[0]?.write("../traces/gate", "");
}

test("3.1: doctor and status name the plan and the command that continues it; it goes on, and no stranger is ended", async () => {
  await plan();
  await lose();
  boot("two");
  expect((await runCli(repo, ["doctor"])).stdout).toMatch(
    /the machine was restarted; plans that were interrupted: night;.*\n.*orchestrator status night/,
  );
  expect((await runCli(repo, ["status"])).stdout).toMatch(
    /the machine was restarted: night was interrupted; 1 task was under way\. What can go on goes on now, by itself/,
  );
  expect(await repo.settled("night")).toBe("succeeded");
  expect(ground.trace("runs")).toEqual(["done", "cut", "cut", "next"]);
  expect(repo.merges()).toEqual({ done: 1, cut: 1, next: 1 });
  expect((await repo.task("night/cut")).attempts.map(({ cause }) => cause)).toEqual(["engine-crash", null]);
  expect(isAlive(stranger)).toBe(true);
});

test("3.1: without a restart of the machine that process is the agent's, and ended", async () => {
  await plan();
  await lose();
  await repo.client();
  expect(isAlive(stranger)).toBe(false);
  expect(await repo.settled("night")).toBe("succeeded");
});
