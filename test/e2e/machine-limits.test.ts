/**
 * What a machine runs out of, met by the real engine: room on each of the disks, and descriptors. A full disk is a small
 * tmpfs, which needs root; where none can be mounted those tests are skipped.
 */
import { execFileSync } from "node:child_process";
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Ground, attemptsBelow, quoted, type Repo } from "./engine-support.ts";
import { callTool, canMount, SmallDisk } from "./machine-faults.ts";
import { runCli } from "./run-cli.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
const disks: SmallDisk[] = [];

beforeEach(() => {
  ground = new Ground({ engine: { minFreeMegabytes: 1 } });
  repo = ground.main;
});

afterEach(async () => {
  for (const disk of disks.splice(0)) disk.remove();
  await ground.leave();
});

/** What was at the folder lies on the disk then. */
function smallDisk(folder: string, kilobytes: number): SmallDisk {
  const before = `${folder} before`;
  if (existsSync(folder)) renameSync(folder, before);
  const disk = new SmallDisk(folder, kilobytes);
  if (existsSync(before)) execFileSync("cp", ["-a", `${before}/.`, folder]);
  disks.push(disk);
  return disk;
}

/** Writes its name when it starts, waits for its gate, then does `work`. */
function gated(id: string, work: string): string {
  const gate = quoted(join(ground.traces, `gate-${id}`));
  return `echo ${id} >> ${quoted(join(ground.traces, "starts"))}; while [ ! -e ${gate} ]; do sleep 0.05; done; ${work}`;
}

function open(id: string): void {
  repo.write(`../traces/gate-${id}`, "");
}

async function untilStarted(...ids: string[]): Promise<void> {
  await until(`${ids.join(", ")} have started`, () => ids.every((id) => ground.trace("starts").includes(id)));
}

async function untilHeld(): Promise<void> {
  await until("the engine holds", async () => ((await repo.status({})).notices ?? []).length > 0);
}

describe.skipIf(!canMount)("a full disk", () => {
  test("of the state: agents that run are stopped in order, calls are refused with what to do, all goes on with room", async () => {
    const disk = smallDisk(repo.stateDir, 14_000);
    await repo.submit("p", [
      { id: "done", prompt: gated("done", "echo done > done.txt"), writes: ["done.txt"] },
      { id: "long", prompt: gated("long", "echo long > long.txt"), writes: ["long.txt"] },
      { id: "last", prompt: "echo last > last.txt", writes: ["last.txt"], dependsOn: ["done", "long"] },
    ]);
    await untilStarted("done", "long");
    const engine = repo.enginePid();
    const agents = attemptsBelow(engine);
    disk.fill();
    // Ends in the very moment in which the disk is full.
    open("done");
    await untilHeld();
    await until("no agent runs", () => !agents.some(isAlive));

    const status = await runCli(repo, ["status"]);
    expect(status).toMatchObject({ code: 0, stdout: expect.stringContaining("free some space") });
    expect((await runCli(repo, ["why", "p/last"])).code).toBe(0);
    expect((await runCli(repo, ["why", "p/long"])).stdout).toContain(repo.stateDir);
    expect(await callTool(repo, "task_status", {})).toMatchObject({
      isError: false,
      text: expect.stringContaining("Nothing new is started"),
    });
    const refused = await runCli(repo, ["pause", "p"]);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/disk is full.*Free some space/s);
    expect(await callTool(repo, "control", { action: "pause", plan: "p" })).toMatchObject({
      isError: true,
      text: expect.stringContaining("STATE_UNUSABLE"),
    });

    open("long");
    disk.free();
    expect(await repo.settled("p")).toBe("succeeded");
    expect(repo.enginePid()).toBe(engine);
    expect(repo.merges()).toEqual({ done: 1, long: 1, last: 1 });
    // Cut off by the full disk, it was started again; what had ended was not.
    const starts = ground.trace("starts");
    expect(starts.filter((id) => id === "long")).toHaveLength(2);
    expect(starts.filter((id) => id === "done").length).toBeLessThanOrEqual(2);
  });

  test("of the state: an engine that meets it at its start says so, changes nothing, and goes on with room", async () => {
    const disk = smallDisk(repo.stateDir, 14_000);
    await repo.submit("p", [{ id: "a", prompt: gated("a", "echo a > a.txt"), writes: ["a.txt"] }]);
    await untilStarted("a");
    await repo.killEngine();
    repo.closeClients();
    disk.fill();
    // The dead engine's reserve is room enough to tell how things stand.
    const first = await runCli(repo, ["status"]);
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining("free some space") });
    await repo.killEngine();
    disk.fill();
    for (const args of [["status"], ["why", "p/a"], ["pause", "p"]]) {
      const ran = await runCli(repo, args);
      expect(ran.code, args.join(" ")).toBe(3);
      expect(ran.stderr).toMatch(/disk is full.*Free some space/s);
    }
    expect(await callTool(repo, "task_status", {})).toMatchObject({
      isError: true,
      text: expect.stringMatching(/disk is full.*Free some space/s),
    });
    const doctor = await runCli(repo, ["doctor"]);
    expect(doctor.code).toBe(3);
    expect(doctor.stdout).toMatch(/room +the disk of the state has 0 MB left/);
    disk.free();
    open("a");
    expect((await runCli(repo, ["status"])).stdout).toContain("ended without a word: p was interrupted");
    expect(await repo.settled("p")).toBe("succeeded");
    expect(repo.merges()).toEqual({ a: 1 });
  });

  test("P5: of the worktrees: no task fails for it; the plan goes on once there is room", async () => {
    repo.commit("big", { "big.bin": "x".repeat(1_500_000) });
    const disk = smallDisk(join(ground.home, ".orchestrator", "worktrees"), 4_000);
    disk.fill(1_300);
    await repo.submit("p", [
      { id: "a", prompt: "echo a > a.txt", writes: ["a.txt"] },
      { id: "b", prompt: "echo b > b.txt", writes: ["b.txt"], dependsOn: ["a"] },
    ]);
    // More room than `minFreeMegabytes`, and less than a worktree takes: git itself meets the end of the disk.
    await repo.untilState("p/a", "waiting:machine");
    expect((await repo.task("p/a")).why).toMatchObject({
      message: expect.stringContaining("free some space"),
      until: expect.any(String),
    });
    disk.free();
    await repo.control("retry", { task: "p/a" });
    expect(await repo.settled("p")).toBe("succeeded");
    expect(repo.merges()).toEqual({ a: 1, b: 1 });
  });

  test("of git's objects: work that is done is committed and merged once there is room, and is not done again", async () => {
    const disk = smallDisk(join(repo.commonDir, "objects"), 4_000);
    await repo.submit("p", [
      {
        id: "a",
        prompt: gated("a", "head -c 20000 /dev/urandom > a.txt; touch '../../a is done'"),
        writes: ["a.txt"],
      },
      { id: "b", prompt: "echo b > b.txt", writes: ["b.txt"], dependsOn: ["a"] },
    ]);
    await untilStarted("a");
    disk.fill();
    await untilHeld();
    open("a");
    await until(
      "it is told",
      () => repo.log().includes("its work can't be committed yet"),
      () => repo.log(),
    );
    expect((await repo.states("p"))["a"]).toBe("running");
    disk.free();
    expect(await repo.settled("p")).toBe("succeeded");
    expect(ground.trace("starts")).toEqual(["a"]);
    expect(repo.merges()).toEqual({ a: 1, b: 1 });
  });
});

describe.skipIf(process.platform !== "linux")("few descriptors", () => {
  test("too few for an engine: it is not started, and the number that is needed is told", async () => {
    const shell = "ulimit -n 100;";
    const ran = await runCli(repo, ["status"], { shell });
    expect(ran.code).toBe(3);
    expect(ran.stderr).toMatch(/only 100 files may be open.*needs 192.*ulimit -n/);
    expect((await runCli(repo, ["doctor"], { shell: "ulimit -n 300;" })).stdout).toMatch(/descriptors +only 300/);
  });

  test("more agents than descriptors: the rest waits and is started later; none fails, each runs once", async () => {
    repo.write(
      "../plan.json",
      JSON.stringify({ name: "first", tasks: [{ id: "t", agent: "command", prompt: gated("t", "true"), writes: [] }] }),
    );
    const started = await runCli(repo, ["run", "../plan.json", "--detach"], { shell: "ulimit -n 192;" });
    expect(started).toMatchObject({ code: 0 });
    await untilStarted("t");
    // Each takes a descriptor of the engine.
    for (let count = 0; count < 120; count += 1) await repo.client();
    const ids = Array.from({ length: 30 }, (_, index) => `t${index}`);
    ground.configure({ limits: { agents: 40 } });
    await repo.submit(
      "many",
      ids.map((id) => ({ id, prompt: gated(id, "true"), writes: [] })),
      { maxConcurrent: 40 },
    );
    await until(
      "some wait for descriptors",
      async () => Object.values(await repo.states("many")).includes("waiting:machine"),
      () => repo.log(),
      60_000,
    );
    const { plans } = await repo.status({ plan: "many", include: ["why"] });
    expect(plans[0]?.tasks.map(({ why }) => why?.message)).toContainEqual(
      expect.stringContaining("too many files are open"),
    );
    for (const id of ["t", ...ids]) open(id);
    repo.closeClients();
    expect(await repo.settled("many")).toBe("succeeded");
    expect(ground.trace("starts").toSorted()).toEqual(["t", ...ids].toSorted());
  });
});
