/** The life of questions over a real store and real timers; the board is what the tests hear of it. */
import { describe, expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../src/clock.ts";
import type { Hold } from "../../src/questions/held-calls.ts";
import { QuestionDesk, type Asked, type AskOutcome } from "../../src/questions/question-desk.ts";
import type { QuestionSettings } from "../../src/questions/route.ts";
import type { QuestionRow } from "../../src/store/questions.ts";
import type { Store } from "../../src/store/store.ts";
import { sampleAttempt, samplePlan, sampleTask, temporaryStore } from "../store/support.ts";

const NEVER = 3_600_000;

interface Scene {
  readonly store: Store;
  readonly desk: QuestionDesk;
  readonly settled: QuestionRow[];
  readonly errors: unknown[];
  ask(text: string, more?: Partial<Asked & Hold>): Promise<AskOutcome>;
}

/** Two tasks that run, and a desk; `again` opens another desk on the same store, as an engine's restart does. */
function scene(settings: Partial<QuestionSettings> = {}, again?: Store): Scene {
  const store = again ?? temporaryStore();
  if (again === undefined) {
    store.plans.insert(samplePlan("p"));
    store.tasks.insertMany([sampleTask("p", "a", 1), sampleTask("p", "b", 2)]);
    for (const id of ["a", "b"]) store.attempts.insert(sampleAttempt(`attempt-${id}`, "p", id));
  }
  const settled: QuestionRow[] = [];
  const errors: unknown[] = [];
  const desk = new QuestionDesk({
    store,
    clock: systemClock,
    commit: (work) => store.transaction(work),
    settingsOf: () => ({
      holdMs: NEVER,
      route: ["memory", "parent", "orchestrator", "human"],
      parentQuietMs: NEVER,
      deadlinesMs: { parent: NEVER, orchestrator: NEVER, human: NEVER },
      ...settings,
    }),
    hasOrchestrator: () => true,
    onSettled: (question) => settled.push(question),
    onError: (thrown) => errors.push(thrown),
  });
  desk.start();
  onTestFinished(() => {
    desk.stop();
    expect(errors).toEqual([]);
  });
  const ask: Scene["ask"] = (text, more = {}) => {
    const { canPark = true, signal = new AbortController().signal, progress = () => undefined, ...asked } = more;
    const taskId = asked.taskId ?? "a";
    return desk.ask(
      {
        planId: "p",
        taskId,
        attemptId: `attempt-${taskId}`,
        role: "coder",
        text,
        options: [],
        context: null,
        requestKey: null,
        ...asked,
      },
      { canPark, signal, progress },
    );
  };
  return { store, desk, settled, errors, ask };
}

function answer({ store, desk }: Scene, id: string, words = "yes"): void {
  store.transaction(() => desk.answer(desk.requireOpen(id), words, "human"));
}

function types({ store }: Scene): string[] {
  return store.events
    .since(0, { limit: 100 })
    .map(({ body }) => ("stage" in body ? `${body.type} ${String(body.stage)}` : body.type));
}

describe("X4: a question's life", () => {
  it("is a row before anyone waits, and an answer ends the held call at once", async () => {
    const life = scene({ route: ["human"] });
    const asked = life.ask("May I?");
    expect(life.store.questions.get("q1")).toMatchObject({ state: "open", stage: "human" });
    expect(life.desk.isHolding("attempt-a")).toBe(true);
    answer(life, "q1");
    expect(await asked).toMatchObject({ type: "settled", question: { answer: "yes", answeredBy: "human" } });
    expect(life.desk.isHolding("attempt-a")).toBe(false);
    expect(types(life)).toEqual(["question-asked", "question-routed human", "question-answered"]);
    // Given to that attempt; delivered once it has ended well, else the next is told again.
    expect(life.store.questions.listUndelivered("p", "a")).toMatchObject([{ carriedBy: "attempt-a" }]);
    life.store.questions.markDelivered("attempt-a");
    expect(life.store.questions.listUndelivered("p", "a")).toEqual([]);
  });

  it("is parked when the time to hold is over, and only where an agent can be continued", async () => {
    const life = scene({ route: ["human"], holdMs: 20 });
    expect(await life.ask("One?")).toMatchObject({ type: "parked" });
    expect(await life.ask("Two?", { taskId: "b", canPark: false })).toMatchObject({ type: "waiting" });
    expect(life.desk.openParked("p", "a")).toMatchObject([{ id: "q1" }]);
    expect(life.desk.openParked("p", "b")).toEqual([]);
  });

  it("goes from one to the next by its deadlines, and expires after the last", async () => {
    const deadlinesMs = { parent: 20, orchestrator: 20, human: 20 };
    const life = scene({ deadlinesMs });
    life.desk.parents.begin();
    const outcome = await life.ask("Anyone?");
    expect(outcome.question).toMatchObject({ state: "expired", answeredBy: "nobody" });
    expect(outcome.question.answer).toContain("your own judgement");
    expect(types(life)).toEqual([
      "question-asked",
      "question-routed parent",
      "question-routed orchestrator",
      "question-routed human",
      "question-expired",
    ]);
  });

  it("6: keeps its deadlines over a restart", async () => {
    const before = scene({ route: ["human"], holdMs: 1, deadlinesMs: { parent: 1, orchestrator: 1, human: 300 } });
    await before.ask("Still there?");
    before.desk.stop();
    const after = scene({}, before.store);
    const expired = new Promise<void>((resolve) => {
      after.store.onCommit((events) => events.forEach(({ body }) => body.type === "question-expired" && resolve()));
    });
    await expired;
    expect(after.settled).toMatchObject([{ id: "q1", state: "expired" }]);
  });

  it("is answered by anybody, whoever is asked by now; the first answer counts and says by whom", async () => {
    const life = scene({ holdMs: 1 });
    life.desk.parents.begin();
    await life.ask("Which?");
    expect(life.store.questions.get("q1")).toMatchObject({ stage: "parent" });
    answer(life, "q1", "the left one");
    expect(() => life.desk.requireOpen("q1")).toThrow(/answered already, by human: the left one/);
    expect(() => life.desk.requireOpen("q2")).toThrow(/no question "q2"; no question is open/);
  });

  it("who can't know passes it on, once", async () => {
    const life = scene({ holdMs: 1 });
    await life.ask("Which?");
    const asked = life.desk.requireOpen("q1");
    expect(asked.stage).toBe("orchestrator");
    for (const _time of [1, 2]) life.store.transaction(() => life.desk.passOn(asked, "can't know"));
    expect(life.desk.requireOpen("q1").stage).toBe("human");
  });

  it("asked again by the same task it is one question, by another it is remembered", async () => {
    const life = scene({ route: ["memory", "human"] });
    const both = Promise.all([life.ask("Tabs?"), life.ask(" tabs? ")]);
    answer(life, "q1", "spaces");
    expect((await both).map(({ question }) => [question.id, question.answer])).toEqual([
      ["q1", "spaces"],
      ["q1", "spaces"],
    ]);
    const other = await life.ask("TABS?", { taskId: "b" });
    expect(other.question).toMatchObject({ id: "q2", answeredBy: "memory", answer: "spaces" });
    const about = life.ask("Tabs?", { taskId: "b", context: "in the Makefile" });
    expect(life.desk.requireOpen("q3")).toMatchObject({ stage: "human" });
    answer(life, "q3");
    await about;
  });

  it("nobody's answer is remembered by nobody", async () => {
    const life = scene({ route: ["memory", "human"], deadlinesMs: { parent: 1, orchestrator: 1, human: 20 } });
    expect((await life.ask("Anyone?")).question.state).toBe("expired");
    expect((await life.ask("Anyone?", { taskId: "b" })).question).toMatchObject({ id: "q2", state: "expired" });
  });

  it("a repeat under its key finds its row, another question under it is refused", async () => {
    const life = scene({ route: ["human"], holdMs: 1 });
    const [first, second] = [await life.ask("A?", { requestKey: "k" }), await life.ask("A?", { requestKey: "k" })];
    expect(second.question.id).toBe(first.question.id);
    await expect(life.ask("B?", { requestKey: "k" })).rejects.toMatchObject({ code: "REQUEST_KEY_REUSED" });
    await expect(life.ask("A?", { requestKey: "k", taskId: "b" })).rejects.toMatchObject({
      code: "REQUEST_KEY_REUSED",
    });
  });

  it("a caller that went away leaves its question open and not parked", async () => {
    const life = scene({ route: ["human"] });
    const away = new AbortController();
    const asked = life.ask("Hello?", { signal: away.signal });
    away.abort();
    expect(await asked).toMatchObject({ type: "waiting" });
    expect(life.desk.requireOpen("q1")).toMatchObject({ isParked: false });
    // The engine of the next start continues no agent only for it to ask again.
    life.desk.parkOrphans(() => true);
    expect(life.desk.openParked("p", "a")).toHaveLength(1);
  });

  it("a task that ended takes its questions along, and one task can't ask without end", async () => {
    const life = scene({ route: ["human"], holdMs: 1 });
    for (let count = 0; count < 20; count += 1) await life.ask(`Question ${count}?`);
    await expect(life.ask("One more?")).rejects.toMatchObject({ code: "TASK_STATE" });
    await life.ask("Mine?", { taskId: "b" });
    life.store.transaction(() => life.desk.withdraw("p", "a", "the task is cancelled"));
    expect(life.store.questions.listOpen()).toMatchObject([{ taskId: "b" }]);
    expect(() => life.desk.requireOpen("q1")).toThrow(/withdrawn/);
  });

  it("6: a clock that jumped over all deadlines never has the asker go on before now", async () => {
    const life = scene({ route: ["human"], holdMs: 1 });
    const { question } = await life.ask("Which one?");
    const overdue = { ...question, stageUntilMs: question.askedAtMs - NEVER };
    expect(life.desk.latestEndMs(overdue)).toBeGreaterThanOrEqual(question.askedAtMs);
  });
});
