/**
 * Killed again and again, by two at once, or in the middle of what goes wrong anyway: a crash spends no retry, what was
 * never begun spends nothing at all, and one engine is the engine.
 */
import "./crash-build.ts";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { quoted } from "./engine-support.ts";
import { FaultScene, inScene } from "./fault-scene.ts";
import { commandLine, everyPid, isAlive, kill, processesNaming, processesOf } from "../support/processes.js";
import { until } from "../support/until.js";

class Loop extends FaultScene {
  trace(name: string): string {
    return `echo x >> ${quoted(join(this.ground.traces, name))}`;
  }

  /** Starts it as often as it dies. */
  async dieThrough(lines: readonly string[], begin: () => Promise<unknown>): Promise<void> {
    this.dieAt(...lines);
    const begun = begin();
    for (let count = 1; count <= lines.length; count += 1) {
      await this.untilDead(count);
      await begun;
      await this.restart();
    }
  }

  ledger(id: string): unknown {
    return JSON.parse(String(this.column("SELECT ledger FROM tasks WHERE id = ?", id)[0]));
  }
}

/** More than `agents.maxContinuations`. */
const OFTEN = 7;

describe("R1: an attempt that died before its agent was known to run spends nothing, however often", () => {
  test.concurrent.each(["attempt-worktree-made", "attempt-row-written", "attempt-files-written"])(
    "%s",
    async (line) => {
      await inScene(new Loop(), async (scene) => {
        const { repo, ground } = scene;
        await scene.dieThrough(Array<string>(OFTEN).fill(line), () =>
          repo.submit("p", [{ id: "a", prompt: `${scene.trace("starts")}; echo a > a.txt`, retries: 1 }]),
        );
        expect(await repo.settled("p")).toBe("succeeded");
        expect(ground.trace("starts")).toHaveLength(1);
        expect(repo.merges()).toEqual({ a: 1 });
        await scene.stopEngine();
        scene.expectAllEnded();
        expect(scene.ledger("a")).toMatchObject({ retries: 0, continuations: 0, freshSessions: 0 });
      });
    },
  );
});

test.concurrent(
  "R1: an agent that was cut off with the engine five times goes on in its session, and no retry is spent",
  async () => {
    await inScene(new Loop(), async (scene) => {
      const { repo } = scene;
      scene.talk("echo a > a.txt");
      await scene.dieThrough(Array<string>(5).fill("attempt-session-noted"), () =>
        repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder", retries: 0 }]),
      );
      expect(await repo.settled("p")).toBe("succeeded");
      expect(new Set(scene.turns().map(({ sessionId }) => sessionId)).size).toBe(1);
      expect(scene.turns().at(-1)?.prompt).toMatch(/^You were interrupted: the engine that runs you stopped/);
      await scene.stopEngine();
      scene.expectAllEnded();
      expect(scene.ledger("a")).toMatchObject({ retries: 0, continuations: 5 });
    });
  },
);

test.concurrent(
  "R1: killed while it waits to try again, the back-off holds and one retry is spent for one failure",
  async () => {
    await inScene(new Loop({ retry: { baseMs: 20, maxMs: 100 } }), async (scene) => {
      const { repo, ground } = scene;
      const fail = `${scene.trace("starts")}; [ $(wc -l < ${quoted(join(ground.traces, "starts"))}) -gt 1 ] || exit 3; echo a > a.txt`;
      scene.dieAt("attempt-end-written");
      await repo.submit("p", [{ id: "a", prompt: fail, retries: 1 }]);
      await scene.untilDead();
      await scene.restart();
      expect(await repo.settled("p")).toBe("succeeded");
      expect(ground.trace("starts")).toHaveLength(2);
      await scene.stopEngine();
      expect(scene.ledger("a")).toMatchObject({ retries: 1 });
    });
  },
);

describe("D5: killed when a task fails, its dependents do as its failure mode says", () => {
  const MODES = { hard: "blocked", soft: "succeeded", skip: "succeeded" };
  test.concurrent.each(Object.entries(MODES))("%s", async (onFailure, state) => {
    await inScene(new Loop(), async (scene) => {
      const { repo, ground } = scene;
      scene.dieAt("attempt-work-finished", "attempt-end-written");
      await repo.submit("p", [
        { id: "a", prompt: `${scene.trace("starts")}; exit 3`, onFailure },
        { id: "b", prompt: "echo b > b.txt", dependsOn: ["a"] },
      ]);
      await scene.untilDead();
      await scene.restart();
      await scene.untilDead(2);
      await scene.restart();
      expect(await repo.settled("p")).toBe(onFailure === "skip" ? "succeeded" : "failed");
      expect((await repo.states("p"))["b"]).toBe(state);
      // Its end was not known at the first death; at the second it was.
      expect(ground.trace("starts")).toHaveLength(2);
    });
  });
});

/** The candidate twice, the base, the wait; then the repair. */
describe("8: killed while checks fail, the repair is asked for once and what lands has passed", () => {
  const lines = [
    "verify-begun",
    "verify-failed-once",
    "verify-failed-twice",
    "merge-outcome-written",
    "attempt-row-written:2",
    "attempt-session-noted:2",
    "attempt-end-written:2",
    "merge-verified",
  ];
  test.concurrent.each(lines)("%s", async (line) => {
    await inScene(new Loop(), async (scene) => {
      const { repo } = scene;
      scene.talk(
        'case "$TURN_PROMPT" in *"the checks failed there"*) echo good > a.txt;; *) [ -e a.txt ] || echo bad > a.txt;; esac',
      );
      scene.dieAt(line);
      const verify = [`${scene.trace("checks")}; [ ! -e a.txt ] || grep -q good a.txt`];
      await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder", verify }]);
      await scene.untilDead();
      await scene.restart();
      expect(await repo.settled("p")).toBe("succeeded");
      expect(repo.read("a.txt")).toBe("good\n");
      expect(repo.merges()).toEqual({ a: 1 });
      await scene.stopEngine();
      scene.expectAllEnded();
      expect(scene.ledger("a")).toMatchObject({ repairs: 1 });
      expect(new Set(scene.turns().map(({ sessionId }) => sessionId)).size).toBe(1);
      // No commit of the target was without its checks.
      for (const sha of repo.git("log", "--first-parent", "--merges", "--format=%H", "main").split("\n")) {
        expect(repo.git("show", `${sha}:a.txt`)).toBe("good");
      }
    });
  });
});

test.concurrent("S3: many that find the engine dead at once start one, which goes on", async () => {
  await inScene(new Loop(), async (scene) => {
    const { repo, ground } = scene;
    await repo.submit("p", [
      { id: "a", prompt: `${scene.trace("starts")}; echo a > a.txt` },
      {
        id: "b",
        prompt: `${scene.trace("starts")}; while [ ! -e ${quoted(join(ground.traces, "gate"))} ]; do sleep 0.05; done; echo b > b.txt`,
      },
    ]);
    await repo.untilState("p/a", "succeeded");
    const engine = repo.enginePid();
    const guards = repo.guardPids();
    repo.closeClients();
    for (const pid of [engine, ...guards]) kill(pid, "SIGSTOP");
    for (const pid of [engine, ...guards]) kill(pid, "SIGKILL");
    await until("both are dead", () => ![engine, ...guards].some(isAlive));
    const clients = Array.from({ length: 5 }, () =>
      spawn(process.execPath, [ground.program, repo.commonDir, repo.path, "task_status", '{"plan":"p"}'], {
        env: ground.environment,
        stdio: ["ignore", "pipe", "inherit"],
      }),
    );
    const said = await Promise.all(
      clients.map(async (child) => {
        let text = "";
        child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
        await new Promise((resolve) => child.on("close", resolve));
        return (JSON.parse(text.split("\n")[0] ?? "{}") as { engineId?: string }).engineId;
      }),
    );
    expect(new Set(said).size).toBe(1);
    const engines = everyPid().filter(
      (pid) => processesOf(ground.folder).includes(pid) && commandLine(pid).includes("engine-main"),
    );
    expect(engines).toEqual([repo.enginePid()]);
    repo.write("../traces/gate", "");
    expect(await repo.settled("p")).toBe("succeeded");
    expect(ground.trace("starts")).toHaveLength(3);
    expect(repo.merges()).toEqual({ a: 1, b: 1 });
    expect(existsSync(join(repo.stateDir, "engine.json"))).toBe(true);
  });
});

test.concurrent("3: a claim that a waiting task holds is held over the engine's death", async () => {
  await inScene(new Loop(), async (scene) => {
    const { repo, ground } = scene;
    await repo.submit("p", [
      { id: "a", prompt: `${scene.trace("a")}; mkdir -p src; echo a > src/a.txt`, writes: ["src/**"], merge: "manual" },
      { id: "b", prompt: `${scene.trace("b")}; mkdir -p src; echo b > src/b.txt`, writes: ["src/b.txt"] },
    ]);
    await repo.untilState("p/a", "waiting:manual-merge");
    await repo.untilState("p/b", "waiting:lock");
    await repo.killEngine();
    await scene.restart();
    // A look that would let it start has been taken when something else has run.
    await repo.submit("other", [{ id: "c", prompt: "echo c > c.txt" }]);
    expect(await repo.settled("other")).toBe("succeeded");
    expect(await repo.states("p")).toEqual({ a: "waiting:manual-merge", b: "waiting:lock" });
    expect(ground.trace("b")).toEqual([]);
    await repo.control("merge", { task: "p/a" });
    expect(await repo.settled("p")).toBe("succeeded");
    expect(repo.merges()).toEqual({ a: 1, b: 1, c: 1 });
    for (const id of ["a", "b"]) expect(ground.trace(id)).toHaveLength(1);
  });
});

test.concurrent(
  "B7: what hid while the engine lived is ended with it: own session, no environment, its parent gone",
  async () => {
    await inScene(new Loop(), async (scene) => {
      const { repo, ground } = scene;
      const seconds = `86397.${process.pid}${Math.floor(Math.random() * 1e9)}`;
      const gone = quoted(join(ground.traces, "gone"));
      // Its parent lives until the engine has looked at least twice, then nothing but what was seen leads to it.
      const hidden = `( setsid env -i "$(command -v sleep)" ${seconds} & sleep 3; echo x > ${gone} ) &`;
      await repo.submit("p", [{ id: "a", prompt: `${hidden}\nsleep ${seconds}` }]);
      await until(
        "its parent is gone",
        () => ground.trace("gone").length > 0 && processesNaming(`sleep ${seconds}`).length > 1,
      );
      repo.closeClients();
      await repo.killEngine();
      await until("nothing is left", () => processesNaming(seconds).length === 0);
    });
  },
);
