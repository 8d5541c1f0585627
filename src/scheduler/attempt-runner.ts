/**
 * One attempt at a task, from its worktree to its end. Answers how it ended and what is to be written with that end;
 * the caller writes both in one transaction. Never throws for what the world does: that is an end.
 *
 * The order of the effects is the recovery's map: (1) the worktree (`prepare-attempt.ts`), which can be made again;
 * (2) the attempt's row, before a process exists; (3) the process, found again by the mark in its environment; (4) its
 * pid in the row; (5) the end. What dies in between is decided by `recover.ts`.
 */
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { hideSecrets } from "../agents/hide-secrets.ts";
import { makeFolder } from "../make-folder.ts";
import { crashPoint } from "../crash-point.ts";
import type { AgentEvent, TurnCommand, TurnReader, TurnRequest } from "../agents/backend.ts";
import { AppError, messageOf } from "../errors.ts";
import { DECOMPOSE_TASK } from "../plan/decomposition.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../plan/records.ts";
import { isReview } from "../plan/workflow.ts";
import type { QuestionDesk } from "../questions/question-desk.ts";
import type { ExitReport, ManagedProcess, StopReason } from "../process/process-manager.ts";
import { gitVariables } from "./agent-git.ts";
import { endOf, failure, stoppedBy, writeBrokenEnd, writeEnd, type Ended } from "./attempt-end.ts";
import { AttemptHistory } from "./attempt-history.ts";
import { noteRunning, noteSession, noteStart } from "./attempt-notes.ts";
import { requestFor, taskVariables, type Prepared } from "./attempt-request.ts";
import { finishWork } from "./finish-work.ts";
import { followUpVariables } from "./follow-up-variables.ts";
import { markDelivered, undeliveredMail, type Mail } from "./mail.ts";
import { OpenTurn } from "./open-turn.ts";
import { descriptorWait, machineWait } from "./machine-wait.ts";
import type { Commit, Parts } from "./parts.ts";
import { prepareAttempt, type Preparing } from "./prepare-attempt.ts";
import { judge, stepFiles } from "./review.ts";
import { askedInstead } from "./question-wait.ts";
import { OpenTools, watchForStall } from "./stall-watch.ts";
import { takeDecomposition } from "./take-decomposition.ts";
import { tellUserState, userStateBefore } from "./tell-user-state.ts";

interface LiveAttempt extends Preparing {
  readonly id: string;
  /** Its agent has ended; what it did is being committed. */
  isFinishing: boolean;
  /** The conversation it goes on with. */
  session: TurnRequest["session"];
  /** Less time is left of the plan's budget than the task's own deadline gives. */
  isBoundByBudget: boolean;
  /** While its CLI can be told more. */
  turn: OpenTurn | null;
}

interface Spawning {
  readonly command: TurnCommand;
  readonly environment: TurnRequest["environment"];
  readonly reader: TurnReader;
  readonly history: AttemptHistory;
  /** For the raw output. */
  readonly folder: string;
  /** What the prompt tells. */
  readonly mail: readonly Mail[];
}

export class AttemptRunner {
  readonly #parts: Parts;
  readonly #commit: Commit;
  readonly #desk: QuestionDesk;
  readonly #live = new Map<TaskKey, LiveAttempt>();

  constructor(parts: Parts, commit: Commit, desk: QuestionDesk) {
    this.#parts = parts;
    this.#commit = commit;
    this.#desk = desk;
  }

  attemptOf(key: TaskKey): string | null {
    return this.#live.get(key)?.id ?? null;
  }

  /** Ends the task's attempt, also one that is only being prepared. The first reason counts. */
  stop(key: TaskKey, reason: StopReason): void {
    const live = this.#live.get(key);
    if (live === undefined || live.stopReason !== null) return;
    live.stopReason = reason;
    void live.process?.stop(reason);
  }

  stopAll(reason: StopReason): void {
    for (const key of this.#live.keys()) this.stop(key, reason);
  }

  /** What was asked to end has no more of its grace. */
  endNow(planId: string): void {
    for (const [key, live] of this.#live) {
      if (live.stopReason !== null && key.startsWith(`${planId}/`)) live.process?.endNow();
    }
  }

  /** As `stopAll`, save what has only its work to be committed. */
  stopAtWork(reason: StopReason): void {
    for (const [key, live] of this.#live) if (!live.isFinishing) this.stop(key, reason);
  }

  /** Says what is new to the task's agent in the middle of its turn, where its CLI can hear it. */
  tell(task: TaskRecord): void {
    const turn = this.#live.get(taskKey(task))?.turn;
    const mail = turn == null ? [] : undeliveredMail(this.#parts, task);
    turn?.tell(mail);
    if (mail.length > 0) crashPoint("mail-told");
  }

  async run(task: TaskRecord): Promise<Ended<AttemptEnd>> {
    const key = taskKey(task);
    const live: LiveAttempt = {
      id: this.#parts.ids.uuid(),
      slot: this.#freeSlot(),
      process: null,
      stopReason: null,
      isFinishing: false,
      session: null,
      isBoundByBudget: false,
      turn: null,
    };
    this.#live.set(key, live);
    try {
      const prepared = await prepareAttempt(this.#parts, this.#desk, task, live);
      if (!("place" in prepared)) return { end: prepared, write: () => {} };
      if (live.stopReason !== null) return { end: stoppedBy(live.stopReason), write: () => {} };
      return await this.#turn(task, live, prepared);
    } catch (thrown) {
      return await this.#broken(task, live, thrown);
    } finally {
      this.#live.delete(key);
    }
  }

  /** What we could not do ourselves (no room, no descriptors, a bug) ends this attempt and nothing else. */
  async #broken(task: TaskRecord, live: LiveAttempt, thrown: unknown): Promise<Ended<AttemptEnd>> {
    await live.process?.stop("cancelled");
    const message = `the attempt could not be carried out: ${messageOf(thrown)}`;
    const stack = thrown instanceof Error ? thrown.stack : null;
    this.#parts.log("error", `${taskKey(task)}: ${message}`, { stack });
    const wait = machineWait(this.#parts, thrown);
    const end: AttemptEnd =
      wait === null ? failure("spawn-failed", message, "see engine.log") : { type: "not-started", wait };
    return { end, write: () => writeBrokenEnd(this.#parts, live.id, end) };
  }

  #freeSlot(): number {
    const taken = new Set([...this.#live.values()].map((live) => live.slot));
    let slot = 0;
    while (taken.has(slot)) slot += 1;
    return slot;
  }

  async #turn(task: TaskRecord, live: LiveAttempt, prepared: Prepared): Promise<Ended<AttemptEnd>> {
    const { clock, attemptsFolder } = this.#parts;
    const { backend, provider } = prepared;
    // Others were started while its worktree was made: asked again, while nothing is written down of it.
    const wait = descriptorWait(this.#parts);
    if (wait !== null) return { end: { type: "not-started", wait }, write: () => {} };
    const folder = join(attemptsFolder, live.id);
    makeFolder(join(folder, "scratch"), 0o700);
    const { request, mail } = requestFor(this.#parts, task, prepared, {
      attemptId: live.id,
      scratchDir: join(folder, "scratch"),
    });
    live.session = request.session;
    let command: TurnCommand;
    try {
      command = backend.buildTurn(request, provider);
    } catch (thrown) {
      if (!(thrown instanceof AppError)) throw thrown;
      return { end: failure("invalid-request", thrown.message, null), write: () => {} };
    }
    const startedAtMs = clock.nowMs();
    const told = stepFiles(prepared.step, request.scratchDir);
    const history = new AttemptHistory(this.#parts, task, live.id);
    this.#commit(() => {
      noteStart(this.#parts, task, prepared, { attemptId: live.id, request, startedAtMs, mail });
      // With its row: what was said to an agent that is killed a moment later can be read back.
      history.prompt(request.prompt);
      history.flush();
    });
    crashPoint("attempt-row-written");
    for (const file of [...command.files, ...told.files]) {
      makeFolder(dirname(file.path), 0o700);
      await writeFile(file.path, file.content, { mode: 0o600 });
    }
    crashPoint("attempt-files-written");
    const reader = hideSecrets(backend.readTurn(request), request.environment);
    const environment = {
      ...request.environment,
      ...told.variables,
      ...(await followUpVariables(this.#parts, task, backend.kind, folder)),
    };
    const spawning = { command, environment, reader, history, folder, mail };
    const report = await this.#spawn(task, live, prepared, spawning);
    live.isFinishing = true;
    crashPoint("attempt-process-ended");
    const { exitCode, signal, stderrTail } = report;
    const turnEnd = reader.end({ exitCode, signal, stderrTail }, clock.nowMs());
    const said = this.#blameMachine(report, endOf(report, turnEnd, live.stopReason, live.isBoundByBudget));
    const spoken = askedInstead(this.#parts.store, task, live.id, backend, said);
    const isCommand = backend.kind === "command";
    const judgement = judge(this.#parts, task, live.id, { end: spoken, turnEnd, isCommand });
    const work =
      task.id === DECOMPOSE_TASK && spoken.type === "succeeded"
        ? takeDecomposition(this.#parts, task, prepared.settings, turnEnd.structured)
        : await finishWork(this.#parts, task, prepared, live.id, judgement, () => live.stopReason !== null);
    crashPoint("attempt-work-finished");
    const { end } = work;
    const write = (): void => {
      history.note(end.type === "failed" ? `failed (${end.cause}): ${end.message}` : end.type);
      writeEnd(this.#parts, task, prepared, { attemptId: live.id, end, report, turnEnd });
      work.write();
      if (end.type === "succeeded" || end.type === "asked") {
        markDelivered(this.#parts, [...mail, ...(live.turn?.heard ?? [])], live.id);
      }
      // A command that is done waits for nothing, and can't be told anything any more.
      if (end.type === "succeeded" && !backend.hasSessions)
        this.#desk.withdraw(task.planId, task.id, "it went on alone", task.step);
      if (end.type === "succeeded") this.#keepLastWords(task, turnEnd.finalText);
    };
    return { end, write };
  }

  async #spawn(
    task: TaskRecord,
    live: LiveAttempt,
    prepared: Prepared,
    { command, environment, reader, history, folder, mail }: Spawning,
  ): Promise<ExitReport> {
    const { processes } = this.#parts;
    const tools = new OpenTools();
    const take = (events: readonly AgentEvent[]): void => {
      for (const event of events) {
        history.event(event);
        tools.take(event);
        live.turn?.take(event);
        if (event.type !== "session") continue;
        const { sessionId } = event;
        // A session's id is kept as soon as it is known: an agent that is killed a second later goes on with it.
        const totals = live.session?.id === sessionId ? live.session.totals : null;
        this.#commit(() => noteSession(this.#parts, task, prepared, { attemptId: live.id, sessionId, totals }));
        crashPoint("attempt-session-noted");
      }
    };
    const env = { ...environment, ...command.env };
    const usersState = await userStateBefore(this.#parts);
    const child = processes.start({
      id: live.id,
      label: `${taskKey(task)} (${prepared.provider.name})`,
      file: command.file,
      args: command.args,
      cwd: command.cwd,
      env: {
        ...env,
        ...(await gitVariables(this.#parts, prepared, env)),
        ...taskVariables(task, prepared.slot),
      },
      stdin: command.stdin,
      keepStdinOpen: command.hearsMore === true,
      deadlineMs: this.#deadlineMs(task, live),
      killGraceMs: prepared.settings.killGraceMs,
      outputDir: folder,
      onStdout: (chunk) => take(reader.readStdout(chunk)),
      onStderr: (chunk) => take(reader.readStderr(chunk)),
    });
    live.process = child;
    live.turn = this.#openTurn(child, prepared, command, mail, (text) => history.prompt(text));
    crashPoint("attempt-process-started");
    if (live.stopReason !== null) void child.stop(live.stopReason);
    const endStallWatch = this.#watch(task, live, prepared, child, tools);
    this.#commit(() => noteRunning(this.#parts, task, live.id, prepared.provider.name, child));
    crashPoint("attempt-pid-written");
    // What was said since the prompt was put together.
    this.tell(task);
    const report = await child.exited;
    live.turn?.end();
    endStallWatch();
    live.process = null;
    await tellUserState(this.#parts, this.#commit, task, live.id, usersState);
    return report;
  }

  /** The task's own, or what is left of its plan's minutes where that is less. */
  #deadlineMs({ planId, id, spec }: TaskRecord, live: LiveAttempt): number {
    const left = this.#parts.board.plan(planId).budget.headroom(id).minutes ?? Infinity;
    live.isBoundByBudget = left < spec.timeoutMinutes;
    return Math.max(MIN_DEADLINE_MS, Math.min(left, spec.timeoutMinutes) * 60_000);
  }

  /** A program that was not started for want of something, or failed while a disk was full, is not to blame. */
  #blameMachine(report: ExitReport, end: AttemptEnd): AttemptEnd {
    if (end.type !== "failed") return end;
    const wait = report.outcome === "spawn-failed" ? machineWait(this.#parts, report.error) : null;
    if (wait !== null) return { type: "not-started", wait };
    const shortage = this.#parts.room?.room.shortage ?? null;
    const isOwnVerdict = end.cause === "command-failed" || end.cause === "no-result";
    if (shortage === null || !isOwnVerdict) return end;
    // It may have filled the disk itself, so a retry is spent.
    return { ...end, cause: "crashed", message: `${end.message}; meanwhile ${shortage}` };
  }

  #openTurn(
    child: ManagedProcess,
    { backend }: Prepared,
    { hearsMore }: TurnCommand,
    carried: readonly Mail[],
    onHeard: (text: string) => void,
  ): OpenTurn | null {
    const { lineFor } = backend;
    if (hearsMore !== true || lineFor === null) return null;
    const { clock, ids } = this.#parts;
    return new OpenTurn({ clock, child, lineFor, newId: () => ids.uuid(), carried, onHeard });
  }

  #watch(
    task: TaskRecord,
    { id: attemptId }: LiveAttempt,
    prepared: Prepared,
    child: ManagedProcess,
    tools: OpenTools,
  ): () => void {
    if (prepared.backend.kind === "command") return () => {};
    const onNote = (message: string): void => {
      const body = { type: "attempt-note", message } as const;
      const where = { planId: task.planId, taskId: task.id, attemptId };
      this.#commit(() => this.#parts.store.events.append({ ...where, body }));
    };
    return watchForStall(this.#parts, child, {
      stallMs: prepared.settings.stallMs,
      onNote,
      isAsking: () => this.#desk.isHolding(attemptId),
      openTool: () => tools.oldest(),
    });
  }

  /** What an agent says last stands for the report it did not give. */
  #keepLastWords(task: TaskRecord, finalText: string): void {
    const { store } = this.#parts;
    // Dependents build on what was done, not on what was said about it.
    if (isReview(task)) return;
    const summary = finalText.trim().slice(-MAX_LAST_WORDS);
    if (summary === "" || store.tasks.getWork(task.planId, task.id)?.report != null) return;
    store.tasks.setWork(task.planId, task.id, { report: { status: "unreported", summary } });
  }
}

const MAX_LAST_WORDS = 2_000;
/** Of a budget that was lowered to nothing while the worktree was made. */
const MIN_DEADLINE_MS = 1;
