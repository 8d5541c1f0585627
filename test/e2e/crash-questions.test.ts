/**
 * Killed around a question: it is asked once and answered once, and its answer reaches the agent's own session in its
 * own worktree; the orchestrator role goes on with its own session too, and is paid once for each answer that it gave.
 */
import "./crash-build.ts";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { quoted, type Fields } from "./engine-support.ts";
import { FaultScene, inScene } from "./fault-scene.ts";
import { until } from "../support/until.js";

const QUESTION = "Which colour?";
const DEADLINES = { parentMinutes: 10, orchestratorMinutes: 10, humanMinutes: 10 };

function questions(more: Fields = {}): Fields {
  return { questions: { route: ["memory", "human"], holdSeconds: 0, deadlines: DEADLINES, ...more } };
}

class Asking extends FaultScene {
  /** Each task's agent leaves uncommitted work, asks, and finishes with the answer, in this turn or in another. */
  async submit(ids: readonly string[], agent: "coder" | "command" = "coder"): Promise<void> {
    const { ground, repo } = this;
    const client = `node ${quoted(ground.program)} ${quoted(repo.commonDir)} ${quoted(repo.path)}`;
    const ask = `${client} ask_orchestrator '${JSON.stringify({ question: QUESTION })}'`;
    const task = 'task=$(basename "$PWD")';
    const finish = `if [ -e draft-$task.txt ]; then cat draft-$task.txt > out-$task.txt; echo blue >> out-$task.txt; rm draft-$task.txt; fi; echo $task >> ${quoted(join(ground.traces, "ends"))}`;
    const asks = `echo draft > draft-$task.txt; ${ask} > "$HOME/asked"; if grep -q '"status":"answered"' "$HOME/asked"; then ${finish}; fi`;
    this.talk(`${task}\ncase "$TURN_PROMPT" in *"# The answer to your question"*) ${finish};; *) ${asks};; esac`);
    const command = `${task}\nanswer=$(orchestrator ask "${QUESTION}") && echo draft > draft-$task.txt && ${finish}`;
    const tasks = ids.map((id, index) => ({
      id,
      agent,
      prompt: agent === "coder" ? `PROMPT-${id}` : command,
      writes: [`out-${id}.txt`, `draft-${id}.txt`],
      dependsOn: ids.slice(0, index).slice(-1),
    }));
    await repo.submit("talk", tasks);
  }

  async untilOpen(id: string): Promise<void> {
    const state = async (): Promise<string> => {
      const { questions: rows } = await this.repo.call("list_questions", { id }).catch(() => ({ questions: [] }));
      return (rows as { state: string }[])[0]?.state ?? "";
    };
    await until(
      `${id} is open`,
      async () => (await state()) === "open",
      () => this.repo.log().slice(-2000),
    );
  }

  async answer(id: string): Promise<void> {
    await this.repo.call("answer_question", { id, answer: "blue" });
  }

  async expectAskedOnce(ids: readonly string[]): Promise<void> {
    const { repo } = this;
    expect(await repo.settled("talk")).toBe("succeeded");
    for (const id of ids) expect(repo.read(`out-${id}.txt`)).toBe("draft\nblue\n");
    expect(repo.merges()).toEqual(Object.fromEntries(ids.map((id) => [id, 1])));
    await this.stopEngine();
    this.expectAllEnded();
    expect(this.column("SELECT number FROM questions ORDER BY number")).toEqual(ids.map((_, index) => index + 1));
    expect(this.column("SELECT state FROM questions WHERE is_delivered = 0")).toEqual([]);
    expect(this.events("question-asked")).toHaveLength(ids.length);
    expect(this.events("question-answered").length + this.events("question-expired").length).toBe(ids.length);
  }

  /** One conversation in one worktree, in which the answer was heard; again only where a turn that had it was cut off. */
  expectOneSession(most = 1): void {
    const turns = this.turns();
    expect(new Set(turns.map(({ sessionId, cwd }) => `${sessionId} ${cwd}`)).size).toBe(1);
    expect(turns.slice(1).every(({ resumed }) => resumed)).toBe(true);
    const heard = turns.filter(({ prompt }) => prompt.includes("# The answer to your question"));
    expect(heard.length).toBeGreaterThanOrEqual(1);
    expect(heard.length).toBeLessThanOrEqual(most);
  }
}

describe("6: killed between a question and its parking, it is asked once", () => {
  test.concurrent.each(["question-asked", "question-released", "attempt-process-ended", "attempt-end-written"])(
    "%s",
    async (line) => {
      await inScene(new Asking(questions()), async (scene) => {
        scene.dieAt(line);
        await scene.submit(["a"]);
        await scene.untilDead();
        await scene.restart();
        await scene.untilOpen("q1");
        await scene.repo.untilState("talk/a", "waiting:question");
        await scene.answer("q1");
        await scene.expectAskedOnce(["a"]);
        scene.expectOneSession();
        expect(scene.turns()).toHaveLength(2);
      });
    },
  );
});

/** From the answer on. The first ends before the answer's own call is answered: it is sent again, and answers once. */
const WAKES = [
  "request-carried-out",
  "decisions-written",
  "attempt-row-written",
  "attempt-process-started",
  "attempt-pid-written",
  "attempt-session-noted",
  "attempt-process-ended",
  "attempt-work-finished",
  "attempt-end-written",
];

describe("6 S4: killed between an answer and the end of the turn that has it, the answer is heard", () => {
  test.concurrent.each(WAKES)("%s", async (line) => {
    await inScene(new Asking(questions()), async (scene) => {
      await scene.submit(["a"]);
      await scene.repo.untilState("talk/a", "waiting:question");
      scene.dieAt(line);
      await scene.answer("q1");
      await scene.untilDead();
      await scene.restart();
      await scene.expectAskedOnce(["a"]);
      scene.expectOneSession(2);
      expect(scene.events("question-answered")).toHaveLength(1);
    });
  });
});

test.concurrent("6: an answer that a held call had, and whose turn was then cut off, is heard again", async () => {
  await inScene(new Asking(questions({ holdSeconds: 60 })), async (scene) => {
    await scene.submit(["a"]);
    await scene.untilOpen("q1");
    scene.dieAt("question-released");
    await scene.answer("q1");
    await scene.untilDead();
    await scene.restart();
    await scene.expectAskedOnce(["a"]);
    scene.expectOneSession();
  });
});

test.concurrent("6: an answer out of memory, killed as soon as it is written, is heard", async () => {
  await inScene(new Asking(questions()), async (scene) => {
    scene.dieAt("question-asked:2");
    await scene.submit(["a", "b"]);
    await scene.repo.untilState("talk/a", "waiting:question");
    await scene.answer("q1");
    await scene.untilDead();
    await scene.restart();
    await scene.expectAskedOnce(["a", "b"]);
    expect(scene.column("SELECT answered_by FROM questions ORDER BY number")).toEqual(["human", "memory"]);
  });
});

test.concurrent(
  "6: killed when a deadline has just passed, the question expires once and its asker goes on",
  async () => {
    const deadlines = { ...DEADLINES, humanMinutes: 0.05 };
    await inScene(new Asking(questions({ deadlines })), async (scene) => {
      scene.dieAt("question-deadlines-taken");
      await scene.submit(["a"]);
      await scene.untilDead();
      await scene.restart();
      await scene.expectAskedOnce(["a"]);
      expect(scene.events("question-expired")).toHaveLength(1);
    });
  },
);

test.concurrent("6: a command that asks is run again after the death, and waits for the same question", async () => {
  await inScene(new Asking(questions()), async (scene) => {
    scene.dieAt("question-asked");
    await scene.submit(["a"], "command");
    await scene.untilDead();
    await scene.restart();
    await scene.untilOpen("q1");
    await scene.answer("q1");
    await scene.expectAskedOnce(["a"]);
  });
});

/** Whether the orchestrator's answer had been read when the engine died: then nobody asks it again. */
const CONSULTATIONS: Readonly<Record<string, "asked-again" | "maybe" | "once">> = {
  "consultation-worktree-made:2": "once",
  "consultation-row-written:2": "once",
  "consultation-process-started:2": "maybe",
  "consultation-pid-written:2": "maybe",
  "consultation-process-ended:2": "asked-again",
  "consultation-answers-written:2": "once",
};

describe("X4 S4: killed while the orchestrator role thinks, it is asked again in its own session, and answers once", () => {
  test.concurrent.each(Object.entries(CONSULTATIONS))("%s", async (line, turns) => {
    await inScene(new Asking(questions({ route: ["orchestrator", "human"] })), async (scene) => {
      // It answers to both ids; one that was not asked for is passed over.
      const answers = ["q1", "q2"].map((id) => ({ id, answer: `blue, for ${id}`, why: "the plan says so" }));
      scene.claude.structured({ answers });
      scene.dieAt(line);
      await scene.submit(["a", "b"]);
      await scene.untilDead();
      await scene.restart();
      await scene.expectAskedOnce(["a", "b"]);
      expect(scene.column("SELECT answered_by FROM questions")).toEqual(["orchestrator", "orchestrator"]);
      const asked = scene.answers();
      expect(new Set(asked.map(({ sessionId }) => sessionId)).size).toBe(1);
      expect(asked.slice(1).every(({ resumed }) => resumed)).toBe(true);
      const most = { once: 2, maybe: 3, "asked-again": 3 }[turns];
      expect(asked.length).toBeLessThanOrEqual(most);
      expect(scene.column("SELECT id FROM consultations WHERE outcome = 'answered'")).toHaveLength(2);
    });
  });
});
