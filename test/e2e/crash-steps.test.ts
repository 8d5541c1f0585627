/**
 * Killed between the steps of a workflow, around what agents report and propose, what is said to them, and a goal's
 * decomposition: each verdict counts once, each message is heard, each task is added once.
 */
import "./crash-build.ts";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { quoted } from "./engine-support.ts";
import { FaultScene, inScene } from "./fault-scene.ts";
import { until } from "../support/until.js";

class Steps extends FaultScene {
  /** A satellite's call, as the scripted agent's shell says it. */
  call(name: string, input: object): string {
    const { ground, repo } = this;
    return `node ${quoted(ground.program)} ${quoted(repo.commonDir)} ${quoted(repo.path)} ${name} '${JSON.stringify(input)}' >> "$HOME/said"`;
  }

  trace(name: string): string {
    return `echo x >> ${quoted(join(this.ground.traces, name))}`;
  }

  async goOn(): Promise<void> {
    await this.untilDead();
    await this.restart();
  }
}

const WORKFLOW = {
  agents: { reviewer: { provider: "claude" } },
  workflows: { checked: { steps: [{ agent: "coder" }, { agent: "reviewer" }], maxRounds: 2 } },
};

/** coder, reviewer (reject), coder, reviewer (approve), each an attempt. */
const STEP_DEATHS = [
  "attempt-process-ended:1",
  "attempt-end-written:1",
  "attempt-row-written:2",
  "attempt-pid-written:2",
  "request-carried-out:2",
  "attempt-process-ended:2",
  "attempt-work-finished:2",
  "attempt-end-written:2",
  "attempt-row-written:3",
  "attempt-session-noted:3",
  "attempt-work-finished:3",
  "attempt-end-written:3",
  "attempt-work-finished:4",
  "attempt-end-written:4",
];

describe("W1 S3: killed within a workflow, each verdict counts once and each step goes on in its own session", () => {
  test.concurrent.each(STEP_DEATHS)("%s", async (line) => {
    await inScene(new Steps(WORKFLOW), async (scene) => {
      const { repo } = scene;
      const verdict = (word: string): string =>
        scene.call("report_result", { status: "succeeded", summary: `it is ${word}`, verdict: word });
      scene.talk(
        `case "$TURN_PROMPT" in\n*"You judge the work"*|*"since you looked at it"*|*"still judge"*)\n` +
          `if grep -q good work.txt; then ${verdict("approve")}; else ${verdict("reject")}; fi;;\n` +
          `*"was rejected"*) echo good > work.txt; ${scene.trace("mended")};;\n*) [ -e work.txt ] || echo bad > work.txt;; esac`,
      );
      scene.dieAt(line);
      await repo.submit("p", [
        { id: "a", prompt: "PROMPT-A", agent: "coder", workflow: "checked" },
        { id: "b", prompt: "cp work.txt copy.txt", dependsOn: ["a"] },
      ]);
      await scene.goOn();
      expect(await repo.settled("p")).toBe("succeeded");
      expect(repo.read("copy.txt")).toBe("good\n");
      expect(repo.merges()).toEqual({ a: 1, b: 1 });
      const { attempts } = await repo.task("p/a");
      const verdicts = attempts.flatMap((attempt) => (attempt.verdict == null ? [] : [attempt.verdict]));
      const told = scene.events("verdict").map((body) => (JSON.parse(String(body)) as { verdict: string }).verdict);
      await scene.stopEngine();
      scene.expectAllEnded();
      expect(told).toEqual(["reject", "approve"]);
      expect(new Set(verdicts)).toEqual(new Set(["reject", "approve"]));
      expect(scene.column("SELECT ledger ->> '$.rounds' FROM tasks WHERE id = 'a'")).toEqual([1]);
      // The coder's and the reviewer's. One that was cut off before its CLI had begun a session has none to go on with.
      const sessions = new Set(scene.turns().map(({ sessionId }) => sessionId));
      expect(sessions.size).toBeLessThanOrEqual(line.startsWith("attempt-pid") ? 3 : 2);
    });
  });
});

const FOLLOW_UP = { title: "Write the docs", prompt: "echo docs >> docs.txt", agent: "command" };

describe("4: killed around what an agent proposes, it joins the plan once", () => {
  test.concurrent.each([
    "request-carried-out:2",
    "attempt-process-ended",
    "attempt-work-finished",
    "attempt-end-written",
  ])("%s", async (line) => {
    await inScene(new Steps(), async (scene) => {
      const { repo } = scene;
      const report = { status: "succeeded", summary: "done", followUps: [FOLLOW_UP] };
      scene.talk(`echo a > a.txt; ${scene.call("report_result", report)}`);
      scene.dieAt(line);
      await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder" }]);
      await scene.goOn();
      await repo.untilState("p/write-the-docs", "waiting:approval");
      scene.dieAt("request-carried-out");
      await repo.control("approve", { task: "p/write-the-docs" });
      expect(scene.deaths()).toHaveLength(2);
      expect(await repo.settled("p")).toBe("succeeded");
      expect(await repo.states("p")).toEqual({ a: "succeeded", "write-the-docs": "succeeded" });
      expect(repo.read("docs.txt")).toBe("docs\n");
      expect(scene.events("task-added")).toHaveLength(1);
      await scene.stopEngine();
      scene.expectAllEnded();
    });
  });
});

describe("D1: killed around a decomposition, its tasks are added once", () => {
  test.concurrent.each([
    "request-carried-out",
    "attempt-row-written",
    "attempt-process-ended",
    "attempt-work-finished",
    "attempt-end-written",
  ])("%s", async (line) => {
    await inScene(new Steps(), async (scene) => {
      const { repo, claude } = scene;
      const task = (id: string): object => ({ id, title: id, agent: "command", prompt: `echo ${id} >> ${id}.txt` });
      const tasks = [task("one"), { ...task("two"), dependsOn: ["one"] }];
      claude.structured({ tasks });
      await repo.client();
      scene.dieAt(line);
      await repo.call("create_plan", { name: "goal", goal: "Two files", start: true });
      await scene.goOn();
      await until("its tasks are there", async () => Object.keys(await repo.states("goal")).length === 3);
      expect(await repo.settled("goal")).toBe("succeeded");
      expect(repo.merges()).toEqual({ one: 1, two: 1 });
      for (const id of ["one", "two"]) expect(repo.read(`${id}.txt`)).toBe(`${id}\n`);
      await scene.stopEngine();
      scene.expectAllEnded();
      expect(scene.events("task-added")).toHaveLength(2);
      expect(scene.answers().length).toBeLessThanOrEqual(2);
      expect(new Set(scene.answers().map(({ sessionId }) => sessionId)).size).toBe(1);
    });
  });
});

describe("6: killed around what is said to an agent at work, it is heard", () => {
  const lines = [
    "request-carried-out",
    "mail-told",
    "attempt-process-ended",
    "attempt-work-finished",
    "attempt-end-written",
  ];
  test.concurrent.each(lines)("%s", async (line) => {
    await inScene(new Steps(), async (scene) => {
      const { repo, ground } = scene;
      const gate = quoted(join(ground.traces, "gate"));
      scene.talk(`echo a > a.txt; ${scene.trace("begun")}; while [ ! -e ${gate} ]; do sleep 0.05; done`);
      await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder" }]);
      await until("it works", () => ground.trace("begun").length > 0);
      scene.dieAt(line);
      const said = repo.call("spawn_agent", { task: "p/a", prompt: "MORE-OF-IT" });
      // It sends the call again itself; what comes later than its answer needs the turn's end.
      await Promise.race([said, scene.untilDead()]);
      repo.write("../traces/gate", "");
      await said;
      await scene.goOn();
      expect(await repo.settled("p")).toBe("succeeded");
      await scene.stopEngine();
      scene.expectAllEnded();
      expect(scene.events("message")).toHaveLength(1);
      expect(scene.column("SELECT text FROM messages")).toEqual(["MORE-OF-IT"]);
      expect(scene.column("SELECT id FROM messages WHERE delivered_by IS NULL")).toEqual([]);
      const late = join(ground.home, "late.ndjson");
      const heard = [
        ...scene.turns().map(({ prompt }) => prompt),
        ...(existsSync(late) ? readFileSync(late, "utf8").split("\n") : []),
      ].filter((text) => text.includes("MORE-OF-IT"));
      expect(heard.length).toBeGreaterThanOrEqual(1);
      expect(heard.length).toBeLessThanOrEqual(2);
      expect(new Set(scene.turns().map(({ sessionId }) => sessionId)).size).toBe(1);
      expect(repo.merges()).toEqual({ a: 1 });
    });
  });
});

describe("4: a call that changes something, killed before its answer and sent again, answers as at first", () => {
  const ask = { task: "p/x" };
  /** What brings the task to where the call fits, and the state that it leads to. */
  const CALLS: Readonly<Record<string, { before?: readonly string[]; state: string }>> = {
    pause: { state: "waiting:paused" },
    resume: { before: ["pause"], state: "running" },
    cancel: { state: "cancelled" },
    skip: { state: "skipped" },
    retry: { before: ["cancel"], state: "running" },
  };
  test.concurrent.each(Object.entries(CALLS))("%s", async (action, { before = [], state }) => {
    await inScene(new Steps(), async (scene) => {
      const { repo } = scene;
      await repo.submit("p", [{ id: "x", prompt: "sleep 60" }]);
      await repo.untilState("p/x", "running");
      for (const first of before) {
        await repo.control(first, ask);
        await repo.untilState("p/x", first === "pause" ? "waiting:paused" : "cancelled");
      }
      scene.dieAt("request-carried-out");
      const answer = await repo.control(action, ask);
      expect(scene.deaths()).toEqual(["request-carried-out"]);
      expect(answer).toMatchObject({ action, plan: "p" });
      await repo.untilState("p/x", state);
    });
  });

  test.concurrent("update_plan, spawn_agent, another turn of an agent that has ended", async () => {
    await inScene(new Steps(), async (scene) => {
      const { repo } = scene;
      scene.talk("echo a >> a.txt");
      await repo.submit("p", [{ id: "a", prompt: "PROMPT-A", agent: "coder" }]);
      expect(await repo.settled("p")).toBe("succeeded");
      const die = async (name: string, input: object, count: number): Promise<void> => {
        scene.dieAt("request-carried-out");
        await repo.call(name, { ...input });
        expect(scene.deaths()).toHaveLength(count);
      };
      const more = (id: string): object => ({ id, agent: "command", prompt: `echo ${id} >> ${id}.txt` });
      await die("update_plan", { plan: "p", add: [more("b")] }, 1);
      await die("spawn_agent", { plan: "p", agent: "command", prompt: "echo c >> c.txt", title: "c" }, 2);
      await die("spawn_agent", { task: "p/a", prompt: "AGAIN" }, 3);
      expect(await repo.settled("p")).toBe("succeeded");
      expect(Object.keys(await repo.states("p")).toSorted()).toEqual(["a", "a-2", "b", "c"]);
      expect(repo.read("a.txt")).toBe("a\na\n");
      for (const id of ["b", "c"]) expect(repo.read(`${id}.txt`)).toBe(`${id}\n`);
      expect(scene.turns()).toHaveLength(2);
      expect(repo.merges()).toEqual({ a: 1, "a-2": 1, b: 1, c: 1 });
    });
  });
});
