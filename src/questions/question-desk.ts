/**
 * Owns the life of questions: asked → routed from one to the next by deadlines → answered, expired or withdrawn.
 *
 * Always true: a question is a row before anyone waits for its answer, and each step of its life is one transaction with
 * the event that tells it and with what it changes on the board. Deadlines are in the rows, so that they hold over
 * restarts; one timer stands at the earliest. What several callers wait for (a held call, the orchestrator role) begins
 * with the committed event, never before. One question never waits for another.
 *
 * Never: it does not know the board, agents or transports; what an answer means for a task is told by `onSettled`.
 */
import type { Clock } from "../clock.ts";
import { crashPoint } from "../crash-point.ts";
import { AppError } from "../errors.ts";
import type { EventBody, StoredEvent } from "../events/event.ts";
import type { AnsweredBy } from "../plan/question.ts";
import type { QuestionRow } from "../store/questions.ts";
import type { Store } from "../store/store.ts";
import { HeldCalls, type Hold } from "./held-calls.ts";
import { ParentPresence } from "./parent-presence.ts";
import { latestEndMs, nextStep, NOBODYS_ANSWER, samenessOf, type QuestionSettings } from "./route.ts";

export interface QuestionDeskParts {
  readonly store: Store;
  readonly clock: Clock;
  /** Runs a change in one transaction with its rows and events. */
  readonly commit: <Result>(work: () => Result) => Result;
  readonly settingsOf: (planId: string) => QuestionSettings;
  /** Whether the orchestrator role can be asked this. */
  readonly hasOrchestrator: (question: QuestionRow) => boolean;
  /** Called within the transaction in which a question stopped being open. */
  readonly onSettled: (question: QuestionRow) => void;
  /** A bug: what a timer had to do could not be done. */
  readonly onError: (thrown: unknown) => void;
  /** Called before deadlines are judged: a jump of the clock moves them first. */
  readonly beforeDeadlines?: () => void;
}

export interface Asked {
  readonly planId: string;
  readonly taskId: string;
  readonly attemptId: string;
  readonly role: string;
  readonly text: string;
  readonly options: readonly string[];
  readonly context: string | null;
  /** Repeated with the same key, it is the same question. */
  readonly requestKey: string | null;
}

export interface AskOutcome {
  readonly type: "settled" | "parked" | "waiting";
  readonly question: QuestionRow;
}

/** More open questions of one task than this are a loop, not a doubt. */
const MAX_OPEN_PER_TASK = 20;
/** The wall clock may be set: look again after a minute at most, so that a jump delays nothing for long. */
const LONGEST_TIMER_MS = 60_000;
/** Texts in events are for reading along; the row has the whole. */
const MAX_EVENT_TEXT = 2_000;

export class QuestionDesk {
  readonly parents: ParentPresence;
  readonly #parts: QuestionDeskParts;
  readonly #calls: HeldCalls;
  #cancelTimer: (() => void) | null = null;
  #isArmDue = false;
  #isStopped = false;

  constructor(parts: QuestionDeskParts) {
    this.#parts = parts;
    this.parents = new ParentPresence(parts.clock);
    this.#calls = new HeldCalls(parts.clock);
    parts.store.onCommit((events) => this.#hear(events));
  }

  /**
   * At an engine's start no agent of before lives: whose session can be continued waits for its answer rather than
   * being continued only to ask again. Call once, before anything is started.
   */
  parkOrphans(hasSessions: (kind: string) => boolean): void {
    const { store } = this.#parts;
    store.transaction(() => {
      for (const { id, attemptId, isParked } of store.questions.listOpen()) {
        const kind = store.attempts.get(attemptId)?.kind;
        if (!isParked && kind !== undefined && hasSessions(kind)) store.questions.update(id, { isParked: true });
      }
    });
  }

  /** Takes up deadlines again. Call once, when the board is there. */
  start(): void {
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer?.();
    this.#calls.stop();
  }

  /**
   * Asks and holds the call until there is an answer, `holdMs` are over, or the caller is gone. Throws
   * REQUEST_KEY_REUSED, or TASK_STATE when the task has too many open questions.
   */
  async ask(asked: Asked, hold: Hold): Promise<AskOutcome> {
    const { holdMs } = this.#parts.settingsOf(asked.planId);
    const { id } = this.#parts.commit(() => this.#put(asked));
    crashPoint("question-asked");
    const waiting = { id, attemptId: asked.attemptId, holdMs };
    await this.#calls.untilEnded(waiting, hold, () => this.#required(id));
    // Nobody is there to take an answer or to be told to stop: what there is comes with the next turn.
    if (hold.signal.aborted || this.#isStopped) return { type: "waiting", question: this.#required(id) };
    const outcome = this.#parts.commit(() => this.#release(id, asked, hold.canPark));
    crashPoint("question-released");
    return outcome;
  }

  /** True while a call of that attempt is held: it is silent for a good reason. */
  isHolding(attemptId: string): boolean {
    return this.#calls.isHolding(attemptId);
  }

  /** Throws QUESTION_NOT_FOUND, or QUESTION_ANSWERED when it is open no more. */
  requireOpen(id: string): QuestionRow {
    const question = this.#parts.store.questions.get(id);
    if (question === null) {
      const open = this.#parts.store.questions.listOpen().map((row) => row.id);
      const hint = open.length === 0 ? "no question is open" : `open are: ${open.slice(0, 10).join(", ")}`;
      throw new AppError("QUESTION_NOT_FOUND", `there is no question ${JSON.stringify(id.slice(0, 40))}; ${hint}`);
    }
    if (question.state === "open") return question;
    throw new AppError("QUESTION_ANSWERED", whyNotOpen(question), {
      details: { id, state: question.state, by: question.answeredBy, answer: question.answer?.slice(0, 500) ?? null },
    });
  }

  /** Settles an open question. Call within a commit, after `requireOpen`. */
  answer(question: QuestionRow, answer: string, by: AnsweredBy): void {
    this.#settle(question, { state: "answered", answer, answeredBy: by });
  }

  /** Goes on to the next in the route: who was asked can't know. Call within a commit. Does nothing when it moved on. */
  passOn(question: QuestionRow, reason: string): void {
    const now = this.#parts.store.questions.get(question.id);
    if (now?.state !== "open" || now.stage !== question.stage) return;
    this.#advance(now, reason);
  }

  /**
   * A task that ended, or whose agent decided by itself, waits for no answer any more: open questions are withdrawn,
   * answers that it was not given count as delivered. `step`: only what this step of its workflow asked, for an answer
   * to another step's agent is still to be told to that one. Call within a commit.
   */
  withdraw(planId: string, taskId: string, reason: string, step: number | null = null): void {
    const { questions, attempts } = this.#parts.store;
    for (const question of questions.listByTask(planId, taskId)) {
      if (step !== null && attempts.get(question.attemptId)?.step !== step) continue;
      if (question.state === "open") {
        this.#settle(question, { state: "withdrawn", isDelivered: true }, reason);
      } else if (!question.isDelivered) questions.update(question.id, { isDelivered: true });
    }
  }

  open(planId: string, taskId: string): QuestionRow[] {
    return this.#parts.store.questions.listByTask(planId, taskId).filter(({ state }) => state === "open");
  }

  /** Questions without whose answer the task does not go on. */
  openParked(planId: string, taskId: string): QuestionRow[] {
    return this.open(planId, taskId).filter(({ isParked }) => isParked);
  }

  /**
   * When the asker goes on even if nobody answers; not before now, also where the clock jumped over all deadlines and
   * nobody has looked yet. Null: the question is not open.
   */
  latestEndMs({ planId, state, stage, stageUntilMs }: QuestionRow): number | null {
    if (state !== "open" || stage === null || stageUntilMs === null) return null;
    return Math.max(this.#parts.clock.nowMs(), latestEndMs(stage, stageUntilMs, this.#parts.settingsOf(planId)));
  }

  /** The clock jumped: whoever is asked has as long as before. Call within a commit. */
  moveDeadlines(byMs: number): void {
    const { store } = this.#parts;
    for (const { id, stageUntilMs } of store.questions.listOpen()) {
      if (stageUntilMs !== null) store.questions.update(id, { stageUntilMs: stageUntilMs + byMs });
    }
    this.#armSoon();
  }

  #put(asked: Asked): QuestionRow {
    const { store, clock } = this.#parts;
    const { planId, taskId, attemptId, role, text, options, context, requestKey } = asked;
    const sameness = samenessOf(text, options, context);
    const known = requestKey === null ? null : store.questions.findByKey(requestKey);
    if (known !== null) {
      if (known.sameness === sameness && known.planId === planId && known.taskId === taskId) return known;
      throw new AppError("REQUEST_KEY_REUSED", `the key was used before, for question ${known.id}; use a new key`);
    }
    const earlier = store.questions.listByTask(planId, taskId);
    const same = earlier.find((row) => row.sameness === sameness && (row.state === "open" || isUndelivered(row)));
    if (same !== undefined) {
      const changed = { attemptId, ...(same.requestKey === null && requestKey !== null ? { requestKey } : {}) };
      store.questions.update(same.id, changed);
      return { ...same, ...changed };
    }
    if (earlier.filter((row) => row.state === "open").length >= MAX_OPEN_PER_TASK) {
      throw new AppError(
        "TASK_STATE",
        `${planId}/${taskId} has ${MAX_OPEN_PER_TASK} open questions: end your turn; you will be continued with the answers`,
      );
    }
    const question = store.questions.insert({
      planId,
      taskId,
      attemptId,
      role,
      text,
      options,
      context,
      sameness,
      requestKey,
      state: "open",
      stage: null,
      stageUntilMs: null,
      isParked: false,
      askedAtMs: clock.nowMs(),
      answer: null,
      answeredBy: null,
      answeredAtMs: null,
      carriedBy: null,
      isDelivered: false,
    });
    const { id } = question;
    this.#tell(question, { type: "question-asked", id, question: cut(text), options: [...options] });
    this.#advance(question, null);
    return question;
  }

  /** Asks the next in the route; at its end nobody is left. */
  #advance(question: QuestionRow, reason: string | null): void {
    const { store, clock, settingsOf, hasOrchestrator } = this.#parts;
    const { id, planId } = question;
    const settings = settingsOf(planId);
    const step = nextStep(
      question.stage,
      settings,
      {
        remembered: store.questions.findRemembered(planId, question.sameness)?.answer ?? null,
        isParentThere: this.parents.isThere(settings.parentQuietMs),
        hasOrchestrator: hasOrchestrator(question),
      },
      clock.nowMs(),
    );
    switch (step.type) {
      case "answered":
        return this.#settle(question, { state: "answered", answer: step.answer, answeredBy: "memory" });
      case "nobody":
        return this.#settle(question, { state: "expired", answer: NOBODYS_ANSWER, answeredBy: "nobody" });
      case "ask": {
        const { stage, untilMs } = step;
        store.questions.update(id, { stage, stageUntilMs: untilMs });
        return this.#tell(question, { type: "question-routed", id, stage, untilMs, reason });
      }
    }
  }

  #settle(
    question: QuestionRow,
    changes: Partial<Pick<QuestionRow, "state" | "answer" | "answeredBy" | "isDelivered">>,
    reason: string | null = null,
  ): void {
    const { store, clock } = this.#parts;
    const { id } = question;
    const settled = { ...question, ...changes, stage: null, stageUntilMs: null, answeredAtMs: clock.nowMs() };
    store.questions.update(id, { ...changes, stage: null, stageUntilMs: null, answeredAtMs: settled.answeredAtMs });
    this.#tell(question, settledEvent(settled, reason));
    this.#parts.onSettled(settled);
  }

  #tell({ planId, taskId, attemptId }: QuestionRow, body: EventBody): void {
    this.#parts.store.events.append({ planId, taskId, attemptId, body });
  }

  /** The end of a held call: with the answer, or parked, or to be held again. */
  #release(id: string, asked: Asked, canPark: boolean): AskOutcome {
    const { store } = this.#parts;
    const question = this.#required(id);
    if (question.state !== "open") {
      store.questions.carry([id], asked.attemptId);
      return { type: "settled", question };
    }
    if (!canPark) return { type: "waiting", question };
    store.questions.update(id, { isParked: true });
    return { type: "parked", question };
  }

  #required(id: string): QuestionRow {
    const question = this.#parts.store.questions.get(id);
    if (question === null) throw new AppError("INTERNAL", `question ${id} is gone`);
    return question;
  }

  #hear(events: readonly StoredEvent[]): void {
    for (const { body } of events) {
      switch (body.type) {
        case "question-answered":
        case "question-expired":
        case "question-withdrawn":
          this.#calls.end(body.id);
          this.#armSoon();
          break;
        case "question-routed":
          this.#armSoon();
          break;
        default:
      }
    }
  }

  /** Many questions of one moment need one look at the deadlines. */
  #armSoon(): void {
    if (this.#isArmDue || this.#isStopped) return;
    this.#isArmDue = true;
    setImmediate(() => {
      this.#isArmDue = false;
      this.#guarded(() => this.#arm());
    });
  }

  #arm(): void {
    if (this.#isStopped) return;
    const { store, clock } = this.#parts;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    const dueMs = store.questions.nextDueMs();
    if (dueMs === null) return;
    const leftMs = Math.max(0, dueMs - clock.nowMs());
    this.#cancelTimer = clock.schedule(Math.min(leftMs, LONGEST_TIMER_MS), () => this.#guarded(() => this.#tick()));
  }

  #tick(): void {
    if (this.#isStopped) return;
    const { store, clock, commit, beforeDeadlines } = this.#parts;
    beforeDeadlines?.();
    const due = store.questions.listDue(clock.nowMs());
    if (due.length > 0) {
      commit(() => due.forEach((question) => this.#advance(question, "nobody answered in time")));
      crashPoint("question-deadlines-taken");
    }
    this.#arm();
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#parts.onError(thrown);
    }
  }
}

/** There is an answer, and no attempt is known to have taken it in. */
function isUndelivered({ state, isDelivered }: QuestionRow): boolean {
  return (state === "answered" || state === "expired") && !isDelivered;
}

function settledEvent({ id, state, answer, answeredBy }: QuestionRow, reason: string | null): EventBody {
  if (state === "withdrawn") return { type: "question-withdrawn", id, reason: reason ?? "" };
  if (state === "expired") return { type: "question-expired", id };
  return { type: "question-answered", id, answer: cut(answer ?? ""), by: answeredBy ?? "human" };
}

function whyNotOpen({ id, planId, taskId, state, answer, answeredBy }: QuestionRow): string {
  const task = `${planId}/${taskId}`;
  if (state === "withdrawn")
    return `question ${id} of ${task} was withdrawn: the task ended, or its agent decided itself`;
  if (state === "expired") return `question ${id} of ${task} expired: its agent was told to use its own judgement`;
  return `question ${id} of ${task} was answered already, by ${answeredBy ?? "somebody"}: ${cutTo(answer ?? "", 200)}`;
}

function cut(text: string): string {
  return cutTo(text, MAX_EVENT_TEXT);
}

function cutTo(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`;
}
