/**
 * Asks the orchestrator role what agents ask (DESIGN section 8): all questions of a plan that are at its stage go into
 * one turn, in one session a plan that is kept and continued.
 *
 * Always true: one turn at a time in the whole engine, in a slot outside all limits, so that it answers also where every
 * slot is taken by agents that wait for it. A question leaves this stage by an answer, by "cannot know", by any failure,
 * or by its deadline, which stands in its row; nothing here can hold one up. The row of a turn is there before its
 * process, which carries the mark of an attempt: guard and recovery end it like any other. A turn's end and the answers
 * it gave are one transaction, so that none is paid for twice.
 *
 * Never: it gives the role no tools of ours, no writing, and no worktree of a task.
 */
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { TokenUsage, TurnCommand, TurnEnd, TurnReader, TurnRequest } from "../agents/backend.ts";
import { hideSecrets } from "../agents/hide-secrets.ts";
import { makeFolder } from "../make-folder.ts";
import { crashPoint } from "../crash-point.ts";
import { messageOf } from "../errors.ts";
import type { BudgetVerdict } from "../plan/budget.ts";
import { consultationJsonSchema } from "../plan/consultation.ts";
import { letsThrough } from "../plan/provider-choice.ts";
import type { ExitReport, ManagedProcess } from "../process/process-manager.ts";
import type { QuestionDesk } from "../questions/question-desk.ts";
import type { QuestionRow } from "../store/questions.ts";
import { endOf } from "./attempt-end.ts";
import { environmentFor } from "./attempt-request.ts";
import {
  isBroken,
  noteConsultation,
  noteConsulted,
  noteUnwanted,
  promptOf,
  readAnswers,
  type ConsultationTurn,
  type ConsultedRole,
} from "./consultation-notes.ts";
import type { Commit, Parts } from "./parts.ts";
import { CONSULTATION } from "./plan-funds.ts";
import { modelFor } from "./settings.ts";

const CONSULTED_ROLE = "orchestrator";

/** More in one turn would make its prompt long and its answers shallow. */
const MAX_QUESTIONS = 20;

interface TurnResult {
  /** Null: it was not begun, or ended by us. */
  readonly end: TurnEnd | null;
  /** Why there are no answers; null: they are taken. */
  readonly problem: string | null;
}

export class Consultant {
  readonly #parts: Parts;
  readonly #desk: QuestionDesk;
  readonly #commit: Commit;
  #underWay: Promise<void> | null = null;
  #planId: string | null = null;
  #child: ManagedProcess | null = null;
  #hasBegun = false;
  #isStopped = false;

  constructor(parts: Parts, desk: QuestionDesk, commit: Commit) {
    this.#parts = parts;
    this.#desk = desk;
    this.#commit = commit;
    parts.store.onCommit((events) => {
      if (events.some(({ body }) => body.type === "question-routed" && body.stage === "orchestrator")) this.#look();
      else if (events.some(({ body }) => body.type.startsWith("question-"))) this.#endWhenAnswered();
    });
  }

  /** The role itself asks nobody but people, and a shell command knows no answers. */
  canBeAsked({ planId, role }: QuestionRow): boolean {
    const [found] = this.#rolesOf(planId);
    return role !== CONSULTED_ROLE && found !== undefined && found.provider.kind !== "command";
  }

  /** Questions are asked from now on, those that wait already first. Before, the keys that its CLI needs may be lacking. */
  begin(): void {
    this.#hasBegun = true;
    this.#look();
  }

  /** Begins a turn when one is wanted and none is under way. */
  #look(): void {
    if (this.#underWay !== null || !this.#hasBegun || this.#isStopped) return;
    // Not within the transaction that told of the question; all that are asked in this moment go into one turn.
    this.#underWay = new Promise<void>((done) => setImmediate(done))
      .then(() => this.#consult())
      .catch((thrown: unknown) => {
        this.#parts.log("error", `the orchestrator role could not be asked: ${messageOf(thrown)}`, {
          stack: thrown instanceof Error ? thrown.stack : null,
        });
        if (!this.#isStopped) this.#passOnAll(this.#waiting(), "it could not be asked");
      })
      .finally(() => {
        this.#underWay = null;
        this.#planId = null;
        if (this.#waiting().length > 0) this.#look();
      });
  }

  /** A plan that is done needs no worktree for its questions any more. */
  async leave(planId: string): Promise<void> {
    try {
      // Its turn is being ended, for nothing of the plan is asked any more.
      if (this.#planId === planId) await this.#underWay;
      await this.#parts.repository.removeConsultingWorktree(planId);
    } catch (thrown) {
      this.#parts.log("warning", `a worktree for questions of ${planId} stays: ${messageOf(thrown)}`, {});
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    void this.#child?.stop("shutdown");
    await this.#underWay;
  }

  #waiting(): QuestionRow[] {
    if (this.#isStopped) return [];
    return this.#parts.store.questions.listOpen().filter(({ stage }) => stage === "orchestrator");
  }

  async #consult(): Promise<void> {
    const waiting = this.#waiting();
    const planId = waiting[0]?.planId;
    if (planId === undefined) return;
    this.#planId = planId;
    const questions = waiting.filter((question) => question.planId === planId).slice(0, MAX_QUESTIONS);
    let why = "the plan has no such role";
    for (const role of this.#rolesOf(planId)) {
      const turn = await this.#prepare(planId, role, questions);
      const { problem, isProviders } =
        typeof turn === "string" ? { problem: turn, isProviders: true } : await this.#ask(turn, questions);
      if (problem === null || this.#isStopped) return;
      why = problem;
      // An answer that does not fit is the role's, whoever gave it; the next provider is for one that can't be asked.
      if (!isProviders) break;
    }
    this.#passOnAll(questions, why);
  }

  /** Asks one provider: what keeps the questions from being answered (null: nothing), and whether another may do better. */
  async #ask(
    turn: ConsultationTurn,
    questions: readonly QuestionRow[],
  ): Promise<{ readonly problem: string | null; readonly isProviders: boolean }> {
    const earlier = this.#sessionOf(turn);
    const prompt = promptOf(this.#parts, turn.planId, questions, earlier !== null);
    const first = await this.#turn(turn, questions, prompt, earlier);
    if (first.problem === null) return { problem: null, isProviders: false };
    // A form that is not kept is worth one more word; a turn that failed is not.
    const isProviders = first.end !== null && isBroken(first.end);
    const session = first.end === null || isProviders ? null : sessionAfter(first.end);
    if (session === null || this.#isStopped) return { problem: first.problem, isProviders };
    const again = `Your answer does not fit: ${first.problem}\nGive it again in the form asked for.`;
    const { problem } = await this.#turn(turn, questions, again, session);
    return { problem, isProviders: false };
  }

  /** What a turn needs; a text says why there can be none. */
  async #prepare(
    planId: string,
    role: ConsultedRole,
    questions: readonly QuestionRow[],
  ): Promise<ConsultationTurn | string> {
    const { board, repository } = this.#parts;
    if (!board.hasPlan(planId)) return "the plan has no such role";
    const { provider: settings } = role;
    if (this.#isShut(role)) return `its provider ${settings.name} is shut (\`orchestrator ps\` says why)`;
    const verdict = this.#budgetVerdict(planId, role);
    if (verdict.type !== "fits") return `the plan's budget has no room for it (${verdict.type})`;
    const backend = this.#parts.backend(settings.kind);
    try {
      const provider = await backend.locate(settings, environmentFor(this.#parts, settings)["PATH"] ?? "");
      const tip = await repository.branchTip(board.plan(planId).record.target);
      if (tip === null) return "the target branch is gone";
      const worktree = await repository.consultingWorktree(planId, tip);
      crashPoint("consultation-worktree-made");
      const pointer = await readFile(join(worktree, ".git"), "utf8");
      const gitDir = resolve(worktree, pointer.replace(/^gitdir: /, "").trimEnd());
      return { planId, role, backend, provider, place: { worktree, gitDir }, ids: questions.map(({ id }) => id) };
    } catch (thrown) {
      return messageOf(thrown);
    }
  }

  /** It has a slot of its own, but it spends the plan's money like any other. */
  #budgetVerdict(planId: string, { settings, provider }: ConsultedRole): BudgetVerdict {
    const { board } = this.#parts;
    const timeoutMinutes = settings.questions.deadlinesMs.orchestrator / 60_000;
    const spender = { role: CONSULTATION, provider: provider.name, timeoutMinutes };
    return board.plan(planId).budget.verdict(spender, board.uses);
  }

  /** Shut, or with a task as its probe: that one finds out. */
  #isShut({ provider }: ConsultedRole): boolean {
    const { board, clock } = this.#parts;
    return !letsThrough(board, provider.name, clock.nowMs());
  }

  /** The role with each of its providers, in the order of preference. */
  #rolesOf(planId: string): ConsultedRole[] {
    const settings = this.#parts.settingsOf(planId);
    const role = settings.roles[CONSULTED_ROLE];
    if (role === undefined) return [];
    return [role.provider, ...(role.otherProviders ?? [])].flatMap((name) => {
      const provider = settings.providers[name];
      return provider === undefined ? [] : [{ role, provider, settings }];
    });
  }

  /** The plan's own session, when its last turn left one that can be continued. */
  #sessionOf({ planId, backend, provider }: ConsultationTurn): TurnRequest["session"] {
    const last = this.#parts.store.consultations.lastOwnEnd(planId);
    if (last === null || !backend.hasSessions || last.kind !== backend.kind) return null;
    if (last.provider !== provider.name) return null;
    if (last.outcome !== "answered" || last.sessionId === null) return null;
    return { id: last.sessionId, totals: last.totals ?? NO_TOTALS };
  }

  async #turn(
    turn: ConsultationTurn,
    questions: readonly QuestionRow[],
    prompt: string,
    session: TurnRequest["session"],
  ): Promise<TurnResult> {
    const { board, ids } = this.#parts;
    const { planId, role } = turn;
    const id = ids.uuid();
    const verdict = board.hasPlan(planId) ? this.#budgetVerdict(planId, role) : null;
    if (verdict?.type !== "fits") return { end: null, problem: "the plan's budget has no room for it" };
    board.plan(planId).budget.reserve(id, verdict.need);
    try {
      return await this.#fundedTurn(id, turn, questions, prompt, session);
    } finally {
      if (board.hasPlan(planId)) board.plan(planId).budget.release(id);
    }
  }

  async #fundedTurn(
    id: string,
    turn: ConsultationTurn,
    questions: readonly QuestionRow[],
    prompt: string,
    session: TurnRequest["session"],
  ): Promise<TurnResult> {
    const parts = this.#parts;
    const { clock, repository, board } = parts;
    const { planId, role, backend, provider, place, ids } = turn;
    const folder = join(parts.attemptsFolder, id);
    const scratchDir = join(folder, "scratch");
    makeFolder(scratchDir, 0o700);
    const environment = environmentFor(parts, role.provider);
    const request: TurnRequest = {
      attemptId: id,
      prompt,
      session,
      worktree: place.worktree,
      gitDir: place.gitDir,
      gitCommonDir: repository.commonDir,
      scratchDir,
      model: modelFor(role.settings, role.role, provider.name),
      systemPrompt: role.role.systemPrompt,
      tools: role.role.tools,
      permissions: "read",
      mcpServer: null,
      maxCostUsd: board.hasPlan(planId) ? board.plan(planId).budget.headroom(id).usd : null,
      environment,
      outputSchema: consultationJsonSchema(),
    };
    const command = backend.buildTurn(request, provider);
    const reader = hideSecrets(backend.readTurn(request), environment);
    this.#commit(() => noteConsultation(parts, id, turn, prompt, session));
    crashPoint("consultation-row-written");
    for (const file of command.files) {
      makeFolder(dirname(file.path), 0o700);
      await writeFile(file.path, file.content, { mode: 0o600 });
    }
    if (this.#isStopped || this.#stillOpen(ids).length === 0) {
      this.#commit(() => noteUnwanted(parts, id));
      return { end: null, problem: "it was no longer wanted" };
    }
    const report = await this.#run(id, turn, command, environment, reader);
    const { exitCode, signal, stderrTail } = report;
    const turnEnd = reader.end({ exitCode, signal, stderrTail }, clock.nowMs());
    const end = endOf(report, turnEnd, null);
    const own = end.type === "succeeded" || end.type === "failed" ? turnEnd : null;
    const read = readAnswers(own, ids);
    this.#commit(() => {
      noteConsulted(parts, id, turn, { end, report, turnEnd });
      if (typeof read !== "string") this.#carryOut(questions, read);
    });
    crashPoint("consultation-answers-written");
    return { end: own, problem: typeof read === "string" ? read : null };
  }

  /** Runs its process to its end. */
  async #run(
    id: string,
    { planId, role, ids }: ConsultationTurn,
    command: TurnCommand,
    environment: Readonly<Record<string, string>>,
    reader: TurnReader,
  ): Promise<ExitReport> {
    const { store, processes, attemptsFolder } = this.#parts;
    const child = processes.start({
      id,
      label: `${planId} (${CONSULTED_ROLE}, asked ${ids.join(", ")})`,
      file: command.file,
      args: command.args,
      cwd: command.cwd,
      env: { ...environment, ...command.env },
      stdin: command.stdin,
      // Each question leaves by its own deadline; this is only so that nothing runs for ever.
      deadlineMs: role.settings.questions.deadlinesMs.orchestrator,
      killGraceMs: role.settings.killGraceMs,
      outputDir: join(attemptsFolder, id),
      onStdout: (chunk) => void reader.readStdout(chunk),
      onStderr: (chunk) => void reader.readStderr(chunk),
    });
    this.#child = child;
    crashPoint("consultation-process-started");
    this.#commit(() =>
      store.consultations.update(id, { pid: child.pid, processStart: child.identity?.startTime ?? null }),
    );
    crashPoint("consultation-pid-written");
    const report = await child.exited;
    crashPoint("consultation-process-ended");
    this.#child = null;
    return report;
  }

  /** Call within a commit. */
  #carryOut(
    questions: readonly QuestionRow[],
    answers: ReadonlyMap<string, { readonly answer: string | null; readonly why: string }>,
  ): void {
    for (const asked of questions) {
      const question = this.#parts.store.questions.get(asked.id);
      if (question?.state !== "open") continue;
      const said = answers.get(asked.id);
      const answer = said?.answer?.trim() ?? "";
      if (answer !== "") this.#desk.answer(question, answer, "orchestrator");
      else this.#desk.passOn(asked, `the orchestrator can't know: ${said?.why ?? "it gave no answer"}`);
    }
  }

  #passOnAll(questions: readonly QuestionRow[], why: string): void {
    if (this.#isStopped) return;
    const reason = `the orchestrator did not answer: ${why}`.slice(0, 500);
    this.#commit(() => questions.forEach((question) => this.#desk.passOn(question, reason)));
  }

  #stillOpen(ids: readonly string[]): readonly string[] {
    return ids.filter((id) => this.#parts.store.questions.get(id)?.state === "open");
  }

  /** Somebody else was quicker: what it would answer helps nobody any more. */
  #endWhenAnswered(): void {
    const child = this.#child;
    if (child === null) return;
    const row = this.#parts.store.consultations.listOpen().find(({ id }) => id === child.id);
    if (row !== undefined && this.#stillOpen(row.questionIds).length === 0) void child.stop("cancelled");
  }
}

const NO_TOKENS: TokenUsage = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 };
const NO_TOTALS = { tokens: NO_TOKENS, costUsd: null };

function sessionAfter({ sessionId, totals }: TurnEnd): TurnRequest["session"] {
  return sessionId === null ? null : { id: sessionId, totals: totals ?? NO_TOTALS };
}
