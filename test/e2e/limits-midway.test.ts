/** What a machine takes away while agents run: folders, files, descriptors, processes, a disk that can be written. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";
import { attemptsBelow, Ground, quoted, type Repo } from "./engine-support.ts";
import {
  asUser,
  callTool,
  canBeOthers,
  canFailDisks,
  canMount,
  FailingDisk,
  setLimit,
  SmallDisk,
} from "./machine-faults.ts";
import { runCli } from "./run-cli.ts";

let ground: Ground;
let repo: Repo;
const disks: { remove(): void }[] = [];

beforeEach(() => {
  ground = new Ground({ engine: { minFreeMegabytes: 1 } });
  repo = ground.main;
});

afterEach(async () => {
  for (const disk of disks.splice(0)) disk.remove();
  await ground.leave();
});

/** What was at the folder lies on the disk then. */
function onDisk<Disk extends { remove(): void }>(folder: string, make: () => Disk): Disk {
  const before = `${folder} before`;
  if (existsSync(folder)) renameSync(folder, before);
  const disk = make();
  disks.push(disk);
  if (existsSync(before)) execFileSync("cp", ["-a", `${before}/.`, folder]);
  return disk;
}

/** Writes its name when it starts, waits for its gate, then writes to everything that a command may write to. */
function gated(id: string): string {
  const gate = quoted(join(ground.traces, `gate-${id}`));
  const wait = `while [ ! -e ${gate} ]; do sleep 0.05; done`;
  return `echo ${id} >> ${quoted(join(ground.traces, "starts"))}; ${wait}; echo said > /dev/stderr && echo ${id} > ${id}.txt`;
}

const PLAN = [
  { id: "a", writes: ["a.txt"] },
  { id: "b", writes: ["b.txt"], dependsOn: ["a"], verify: ["echo checked > /dev/stderr && mktemp"] },
];

function tasks(): { id: string; prompt: string }[] {
  return PLAN.map((task) => ({ ...task, prompt: gated(task.id) }));
}

function open(...ids: readonly string[]): void {
  for (const id of ids) writeFileSync(join(ground.traces, `gate-${id}`), "");
}

async function untilStarted(id: string): Promise<void> {
  await until(`${id} has started`, () => ground.trace("starts").includes(id));
}

/** The plan is made and its first agent runs; answers the engine's pid. */
async function started(): Promise<number> {
  await repo.submit("p", tasks());
  await untilStarted("a");
  return repo.enginePid();
}

async function expectAllDone(engine: number, starts: readonly string[] = ["a", "b"]): Promise<void> {
  expect(await repo.settled("p")).toBe("succeeded");
  expect(repo.enginePid()).toBe(engine);
  expect(ground.trace("starts")).toEqual(starts);
  expect(repo.merges()).toEqual({ a: 1, b: 1 });
}

test("B6: the folder for temporary files removed: agents and checks that start later have another, and all is done", async () => {
  const engine = await started();
  rmSync(join(ground.folder, "tmp"), { recursive: true });
  await until("the engine has seen it", () => repo.log().includes("TMPDIR"));
  open("a", "b");
  await expectAllDone(engine);
});

test.skipIf(!canMount)("the folder for temporary files full: agents run and merges happen all the same", async () => {
  const disk = onDisk(join(ground.folder, "tmp"), () => new SmallDisk(join(ground.folder, "tmp"), 64));
  const engine = await started();
  disk.fill();
  open("a", "b");
  await expectAllDone(engine);
  expect((await runCli(repo, ["doctor"])).stdout).toMatch(/room +the disk of temporary files/);
});

test("an attempt's folder removed while its agent runs: its work is merged, and what it said is in its history", async () => {
  const engine = await started();
  rmSync(join(repo.stateDir, "attempts"), { recursive: true });
  expect((await runCli(repo, ["logs", "p/a"])).code).toBe(0);
  open("a", "b");
  await expectAllDone(engine);
  const turns = await runCli(repo, ["logs", "p/a", "--turns"]);
  expect(turns).toMatchObject({ code: 0, stdout: expect.stringContaining("said") });
  expect(await callTool(repo, "task_status", { task: "p/a", include: ["output"] })).toMatchObject({ isError: false });
});

test("S3: all attempts' folders removed and the engine killed: the next one goes on with the task", async () => {
  await started();
  await repo.killEngine();
  rmSync(join(repo.stateDir, "attempts"), { recursive: true });
  repo.closeClients();
  open("a", "b");
  expect((await runCli(repo, ["status"])).stdout).toContain("p was interrupted");
  await expectAllDone(repo.enginePid(), ["a", "a", "b"]);
});

describe.skipIf(process.platform !== "linux")("limits that are reached in the middle", () => {
  test("no descriptor left: who asks is told what to do, and work that is done is merged once there are some", async () => {
    const engine = await started();
    setLimit(engine, "nofile", readdirSync(`/proc/${engine}/fd`).length - 2);
    open("a", "b");
    await until("it is logged, also without a descriptor", () => /EMFILE|[Tt]oo many/.test(repo.log()));
    // The ended agent's descriptors may be enough to answer.
    const { code, stderr } = await runCli(repo, ["status"]);
    expect(`${code} ${stderr}`).toMatch(/^0 |^3 .*too many files are open.*ulimit -n/s);
    setLimit(engine, "nofile", 1024);
    repo.closeClients();
    await expectAllDone(engine);
  });

  test.skipIf(!canBeOthers)(
    "no process more: work that is done waits for git, and all goes on with processes",
    async () => {
      const uid = 54_321;
      repo.write(
        "../plan.json",
        JSON.stringify({ name: "p", tasks: tasks().map((task) => ({ ...task, agent: "command" })) }),
      );
      execFileSync("chown", ["-R", `${uid}:${uid}`, ground.folder]);
      // Root has no such limit.
      const shell = `exec setpriv ${asUser(uid).join(" ")} "$@";`;
      const ran = await runCli(repo, ["run", join(ground.folder, "plan.json"), "--detach"], { shell });
      expect(ran).toMatchObject({ code: 0 });
      await untilStarted("a");
      const engine = repo.enginePid();
      setLimit(engine, "nproc", 1, uid);
      open("a", "b");
      await until(
        "it is told",
        () => repo.log().includes("can't be committed yet"),
        () => repo.log(),
      );
      expect(repo.log()).toMatch(/no more processes may be started/);
      expect((await runCli(repo, ["status"], { shell })).stdout).toMatch(/a +running/);
      setLimit(engine, "nproc", 4096, uid);
      expect((await runCli(repo, ["status", "p", "--watch"], { shell })).code).toBe(0);
      expect(ground.trace("starts")).toEqual(["a", "b"]);
      expect(repo.enginePid()).toBe(engine);
    },
  );
});

describe.skipIf(!canMount)("no room for files, only for bytes", () => {
  test("on the state's disk: nothing new is started, who asks is told, and all goes on with room", async () => {
    const disk = onDisk(repo.stateDir, () => new SmallDisk(repo.stateDir, 40_000, 300));
    const engine = await started();
    disk.fillWithFiles();
    open("a", "b");
    await until("the engine holds", async () => ((await repo.status({})).notices ?? []).length > 0);
    const status = await runCli(repo, ["status"]);
    expect(status).toMatchObject({ code: 0, stdout: expect.stringMatching(/no room for more files.*df -i/) });
    disk.free();
    await expectAllDone(engine);
  });

  test("at an engine's start: exit 3 with what to do, and nothing is left behind", async () => {
    const disk = onDisk(repo.stateDir, () => new SmallDisk(repo.stateDir, 40_000, 300));
    disk.fillWithFiles();
    const ran = await runCli(repo, ["status"]);
    expect(ran).toMatchObject({ code: 3, stderr: expect.stringMatching(/could not start: .*disk is full.*df -i/) });
    expect((await runCli(repo, ["doctor"])).stdout).toMatch(/room +the disk of the state has no room for more files/);
    disk.free();
    expect(await repo.submit("p", [{ id: "x", prompt: "true", writes: [] }])).toBe("p");
    expect(await repo.settled("p")).toBe("succeeded");
  });

  test("P5: on the disk of git's objects: work that is done is committed once there is room, and is not done again", async () => {
    const objects = join(repo.commonDir, "objects");
    const disk = onDisk(objects, () => new SmallDisk(objects, 40_000, 600));
    const engine = await started();
    disk.fillWithFiles();
    await until("the engine holds", async () => ((await repo.status({})).notices ?? []).length > 0);
    open("a", "b");
    disk.free();
    await expectAllDone(engine);
  });
});

test.skipIf(!canFailDisks)(
  "R4: the state's disk turns read-only under an engine: it ends with all it ran, says so, and the next one goes on",
  async () => {
    const disk = onDisk(repo.stateDir, () => new FailingDisk(repo.stateDir, join(ground.folder, "image")));
    const engine = await started();
    const agents = attemptsBelow(engine);
    disk.fail();
    const refused = await runCli(repo, ["pause", "p"]);
    expect(refused.code).toBe(3);
    await until("nothing of it runs", () => ![engine, ...agents].some(isAlive));
    repo.closeClients();
    expect(await runCli(repo, ["status"])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/read-only.*mount it for writing/),
    });
    await until("nothing holds the disk", () => {
      try {
        disk.mend();
        return true;
      } catch {
        return false;
      }
    });
    open("a", "b");
    expect(await repo.settled("p")).toBe("succeeded");
    expect(repo.merges()).toEqual({ a: 1, b: 1 });
  },
);
