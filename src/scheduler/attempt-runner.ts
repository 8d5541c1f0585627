/**
 * One attempt at a task, from its worktree to its end. Answers how it ended and what is to be written with that end;
 * the caller writes both in one transaction. Never throws for what the world does: that is an end.
 *
 * The order of the effects is the recovery's map: (1) the worktree, which can be made again; (2) the attempt's row,
 * before a process exists; (3) the process, found again by the mark in its environment; (4) its pid in the row; (5) the
 * end. What dies in between is decided by `recover.ts`.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type {
  AgentBackend,
  AgentEvent,
  ResolvedProvider,
  TurnCommand,
  TurnEnd,
  TurnReader,
  TurnRequest,
} from "../agents/backend.ts";
import { AppError, hasCode } from "../errors.ts";
import { DECOMPOSE_TASK, decompositionJsonSchema } from "../plan/decomposition.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../plan/records.ts";
import type { ExitReport, ManagedProcess, StopReason } from "../process/process-manager.ts";
import type { AttemptRow } from "../store/attempts.ts";
import { AttemptHistory } from "./attempt-history.ts";
import type { Commit, Parts } from "./parts.ts";
import { takeDecomposition } from "./take-decomposition.ts";
import { promptFor } from "./prompt.ts";
import type { PlanSettings, ProviderSettings, RoleSettings } from "./settings.ts";
import { openWorktree, type TaskPlace } from "./task-place.ts";
import { finishWork } from "./finish-work.ts";

export interface Ended<End> {
  readonly end: End;
  /** Rows that belong to the end; call inside its transaction. */
  readonly write: () => void;
}

interface LiveAttempt {
  readonly id: string;
  process: ManagedProcess | null;
  stopReason: StopReason | null;
}

interface Prepared {
  readonly place: TaskPlace;
  readonly role: RoleSettings;
  readonly settings: PlanSettings;
  readonly providerSettings: ProviderSettings;
  readonly provider: ResolvedProvider;
  readonly backend: AgentBackend;
}

/** Set on an attempt's children so that scripts find their way back; see `process/` for the mark itself. */
const TASK_VARIABLE = "ORCHESTRATOR_TASK";

export class AttemptRunner {
  readonly #parts: Parts;
  readonly #commit: Commit;
  readonly #live = new Map<TaskKey, LiveAttempt>();

  constructor(parts: Parts, commit: Commit) {
    this.#parts = parts;
    this.#commit = commit;
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

  async run(task: TaskRecord): Promise<Ended<AttemptEnd>> {
    const key = taskKey(task);
    const live: LiveAttempt = { id: this.#parts.ids.uuid(), process: null, stopReason: null };
    this.#live.set(key, live);
    try {
      const prepared = await this.#prepare(task);
      if (!("place" in prepared)) return { end: prepared, write: () => {} };
      if (live.stopReason !== null) return { end: stoppedBy(live.stopReason), write: () => {} };
      return await this.#turn(task, live, prepared);
    } finally {
      this.#live.delete(key);
    }
  }

  /** Everything that can be refused before the attempt counts. */
  async #prepare(task: TaskRecord): Promise<Prepared | AttemptEnd> {
    const key = taskKey(task);
    const settings = this.#parts.settingsOf(task.planId);
    const role = settings.roles[task.spec.agent];
    const providerSettings = settings.providers[task.provider];
    if (role === undefined || providerSettings === undefined) {
      throw new AppError("INTERNAL", `the pinned config of ${key} lacks its role or provider`);
    }
    const missing = this.#missingVariable(providerSettings);
    if (missing !== null) {
      const message = `provider ${providerSettings.name} needs the variable ${missing}, which no client has brought`;
      const command = `${missing}=… orchestrator retry ${key}`;
      return { type: "not-started", wait: { code: "auth", message, command, untilMs: null } };
    }
    const backend = this.#parts.backend(providerSettings.kind);
    let provider: ResolvedProvider;
    try {
      provider = await backend.locate(providerSettings, this.#environment(providerSettings)["PATH"] ?? "");
    } catch (thrown) {
      if (!hasCode(thrown, "AGENT_CLI_MISSING")) throw thrown;
      const wait = {
        code: "spawn-failed",
        message: thrown.message,
        command: `orchestrator retry ${key}`,
        untilMs: null,
      } as const;
      return { type: "not-started", wait };
    }
    const place = await openWorktree(this.#parts, task, { isRepeatable: !backend.hasSessions });
    if (place.type === "wait") return { type: "not-started", wait: place.wait };
    if (place.type === "failed") return failure("worktree-failed", place.message, null);
    return { place: place.place, role, settings, providerSettings, provider, backend };
  }

  /** A variable named outright in `passEnv` that nobody brought; patterns are optional by nature. */
  #missingVariable(provider: ProviderSettings): string | null {
    const names = provider.passEnv.filter((name) => !name.endsWith("*"));
    const brought = this.#parts.providerEnvironment(names);
    return names.find((name) => brought[name] === undefined && provider.env[name] === undefined) ?? null;
  }

  async #turn(task: TaskRecord, live: LiveAttempt, prepared: Prepared): Promise<Ended<AttemptEnd>> {
    const { store, clock, attemptsFolder } = this.#parts;
    const { place, role, backend, provider } = prepared;
    const folder = join(attemptsFolder, live.id);
    await mkdir(join(folder, "scratch"), { recursive: true, mode: 0o700 });
    const request = this.#request(task, live, prepared, join(folder, "scratch"));
    let command: TurnCommand;
    try {
      command = backend.buildTurn(request, provider);
    } catch (thrown) {
      if (!(thrown instanceof AppError)) throw thrown;
      return { end: failure("invalid-request", thrown.message, null), write: () => {} };
    }
    const startedAtMs = clock.nowMs();
    this.#commit(() => {
      store.attempts.insert({
        id: live.id,
        planId: task.planId,
        taskId: task.id,
        number: task.ledger.attempts,
        role: role.name,
        provider: provider.name,
        kind: backend.kind,
        model: role.model,
        state: "starting",
        pid: null,
        processStart: null,
        sessionId: request.session?.id ?? null,
        turnKind: task.nextTurn.kind,
        startedAtMs,
        endedAtMs: null,
        outcome: null,
        cause: null,
        message: null,
        exitCode: null,
        signal: null,
        costUsd: null,
        tokens: null,
        finalText: null,
        denials: [],
        straysKilled: 0,
      });
      store.tasks.setWork(task.planId, task.id, {
        branch: place.branch,
        worktree: place.path,
        baseSha: place.baseSha,
        startedAtMs: place.startedAtMs ?? startedAtMs,
      });
    });
    for (const file of command.files) {
      await mkdir(dirname(file.path), { recursive: true, mode: 0o700 });
      await writeFile(file.path, file.content, { mode: 0o600 });
    }
    const history = new AttemptHistory(this.#parts, task, live.id);
    history.prompt(request.prompt);
    const reader = backend.readTurn(request);
    const report = await this.#spawn(task, live, prepared, command, reader, history, folder);
    const turnEnd = reader.end(
      { exitCode: report.exitCode, signal: report.signal, stderrTail: report.stderrTail },
      clock.nowMs(),
    );
    return await this.#finish(task, live, prepared, { report, turnEnd, history, startedAtMs });
  }

  #request(task: TaskRecord, live: LiveAttempt, prepared: Prepared, scratchDir: string): TurnRequest {
    const { store, board, engineId, satellite } = this.#parts;
    const { place, role, backend } = prepared;
    const session = this.#sessionFor(task, prepared);
    const plan = board.plan(task.planId);
    const isCommand = backend.kind === "command";
    const prompt = isCommand
      ? task.spec.prompt
      : promptFor({
          spec: task.spec,
          goal: plan.record.goal,
          branch: place.branch,
          target: plan.record.target,
          worktree: place.path,
          turn: place.isFirst ? { kind: "start", note: null } : task.nextTurn,
          continuesSession: session !== null,
          dependencies: task.spec.dependsOn.map((id) => ({
            id,
            title: plan.nodes.get(id)?.record.spec.title ?? id,
            summary: store.tasks.getWork(task.planId, id)?.report?.summary ?? null,
          })),
          lastWords: session === null ? lastWordsOf(this.#parts, task) : null,
          hasTools: backend.hasMcp,
        });
    const mark = `${engineId}/${live.id}`;
    return {
      attemptId: live.id,
      prompt,
      session,
      worktree: place.path,
      gitDir: place.gitDir,
      gitCommonDir: this.#parts.repository.commonDir,
      scratchDir,
      model: role.model,
      systemPrompt: role.systemPrompt,
      tools: role.tools,
      permissions: role.permissions,
      mcpServer: backend.hasMcp
        ? { name: "orchestrator-mcp", ...satellite.pipe, env: { ...satellite.environment, ORCHESTRATOR_ATTEMPT: mark } }
        : null,
      outputSchema: task.id === DECOMPOSE_TASK ? decompositionJsonSchema() : null,
    };
  }

  /** The conversation to go on with: only in the worktree it began in, and only when nothing says to start afresh. */
  #sessionFor(task: TaskRecord, { place, role, backend }: Prepared): TurnRequest["session"] {
    if (!backend.hasSessions || task.nextTurn.kind === "start" || task.nextTurn.kind === "hand-over") return null;
    const session = this.#parts.store.sessions.latest(task.planId, task.id, role.name);
    if (session === null || !session.isUsable || session.kind !== backend.kind || session.worktree !== place.path)
      return null;
    const nothing = { tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 }, costUsd: null };
    return { id: session.sessionId, totals: session.totals ?? nothing };
  }

  async #spawn(
    task: TaskRecord,
    live: LiveAttempt,
    prepared: Prepared,
    command: TurnCommand,
    reader: TurnReader,
    history: AttemptHistory,
    folder: string,
  ): Promise<ExitReport> {
    const { processes, store } = this.#parts;
    const take = (events: readonly AgentEvent[]): void => {
      for (const event of events) {
        history.event(event);
        if (event.type === "session") this.#noteSession(task, live, prepared, event.sessionId);
      }
    };
    const child = processes.start({
      id: live.id,
      label: `${taskKey(task)} (${prepared.provider.name})`,
      file: command.file,
      args: command.args,
      cwd: command.cwd,
      env: {
        ...this.#environment(prepared.providerSettings),
        ...prepared.backend.defaultEnv,
        ...prepared.providerSettings.env,
        ...command.env,
        [TASK_VARIABLE]: taskKey(task),
      },
      stdin: command.stdin,
      deadlineMs: task.spec.timeoutMinutes * 60_000,
      killGraceMs: prepared.settings.killGraceMs,
      outputDir: folder,
      onStdout: (chunk) => take(reader.readStdout(chunk)),
      onStderr: (chunk) => take(reader.readStderr(chunk)),
    });
    live.process = child;
    if (live.stopReason !== null) void child.stop(live.stopReason);
    this.#commit(() => {
      store.attempts.update(live.id, {
        state: "running",
        pid: child.pid,
        processStart: child.identity?.startTime ?? null,
      });
      const body = {
        type: "attempt-started",
        number: task.ledger.attempts,
        provider: prepared.provider.name,
        pid: child.pid,
      } as const;
      store.events.append({ planId: task.planId, taskId: task.id, attemptId: live.id, body });
    });
    const report = await child.exited;
    live.process = null;
    return report;
  }

  /** A session's id is kept as soon as it is known: an agent that is killed a second later goes on with it. */
  #noteSession(task: TaskRecord, live: LiveAttempt, { role, backend, place }: Prepared, sessionId: string): void {
    const { store } = this.#parts;
    this.#commit(() => {
      const known = store.sessions.latest(task.planId, task.id, role.name);
      store.sessions.save({
        planId: task.planId,
        taskId: task.id,
        role: role.name,
        kind: backend.kind,
        sessionId,
        worktree: place.path,
        totals: known?.sessionId === sessionId ? known.totals : null,
        lastAttemptId: live.id,
        isUsable: true,
      });
      store.attempts.update(live.id, { sessionId });
      store.events.append({
        planId: task.planId,
        taskId: task.id,
        attemptId: live.id,
        body: { type: "attempt-session", sessionId },
      });
    });
  }

  #environment(provider: ProviderSettings): Record<string, string> {
    const { satellite } = this.#parts;
    const base = this.#parts.baseEnvironment();
    const patterns = [...this.#parts.backend(provider.kind).defaultPassEnv, ...provider.passEnv];
    const path = provider.env["PATH"] ?? base["PATH"] ?? "";
    return { ...base, ...this.#parts.providerEnvironment(patterns), PATH: `${satellite.binFolder}:${path}` };
  }

  async #finish(
    task: TaskRecord,
    live: LiveAttempt,
    prepared: Prepared,
    {
      report,
      turnEnd,
      history,
      startedAtMs,
    }: { report: ExitReport; turnEnd: TurnEnd; history: AttemptHistory; startedAtMs: number },
  ): Promise<Ended<AttemptEnd>> {
    const { store, clock } = this.#parts;
    const { role, backend, place } = prepared;
    const spoken = endOf(report, turnEnd, live.stopReason);
    const work =
      task.id === DECOMPOSE_TASK && spoken.type === "succeeded"
        ? takeDecomposition(this.#parts, task, prepared.settings, turnEnd.structured)
        : await finishWork(this.#parts, task, prepared.place, prepared.settings, live.id, spoken);
    const { end } = work;
    const endedAtMs = clock.nowMs();
    const sessionId = turnEnd.sessionId;
    const write = (): void => {
      history.flush();
      history.note(end.type === "failed" ? `failed (${end.cause}): ${end.message}` : end.type);
      store.attempts.update(live.id, {
        state: "ended",
        endedAtMs,
        ...outcomeOf(end),
        exitCode: report.exitCode,
        signal: report.signal,
        costUsd: turnEnd.costUsd,
        tokens: turnEnd.usage,
        finalText: turnEnd.finalText,
        denials: [...turnEnd.permissionDenials],
        straysKilled: report.straysKilled,
        ...(sessionId === null ? {} : { sessionId }),
      });
      if (sessionId !== null && backend.hasSessions) {
        store.sessions.save({
          planId: task.planId,
          taskId: task.id,
          role: role.name,
          kind: backend.kind,
          sessionId,
          worktree: place.path,
          totals: turnEnd.totals,
          lastAttemptId: live.id,
          isUsable: true,
        });
      }
      if (end.type === "succeeded") store.roles.recordDuration(role.name, endedAtMs - startedAtMs);
      const tokens = turnEnd.usage === null ? null : turnEnd.usage.inputTokens + turnEnd.usage.outputTokens;
      store.events.append({
        planId: task.planId,
        taskId: task.id,
        attemptId: live.id,
        body: {
          type: "attempt-ended",
          number: task.ledger.attempts,
          outcome: end.type === "succeeded" ? "succeeded" : "failed",
          cause: end.type === "failed" ? end.cause : null,
          message: end.type === "failed" ? end.message : null,
          costUsd: turnEnd.costUsd,
          tokens,
        },
      });
      if (turnEnd.permissionDenials.length > 0) {
        const message = `was denied: ${turnEnd.permissionDenials.slice(0, 10).join("; ")}`;
        store.events.append({
          planId: task.planId,
          taskId: task.id,
          attemptId: live.id,
          body: { type: "attempt-note", message },
        });
      }
      work.write();
      if (
        end.type === "succeeded" &&
        store.tasks.getWork(task.planId, task.id)?.report == null &&
        turnEnd.finalText.trim() !== ""
      ) {
        // What an agent says last stands for the report it did not give.
        const summary = turnEnd.finalText.trim().slice(-2_000);
        store.tasks.setWork(task.planId, task.id, { report: { status: "unreported", summary } });
      }
    };
    return { end, write };
  }
}

/** What the process's end and the agent's words together mean. The first cause wins: what we did ourselves comes first. */
function endOf(report: ExitReport, turn: TurnEnd, wished: StopReason | null): AttemptEnd {
  const reason = report.stopReason ?? (report.outcome === "stopped" ? wished : null);
  if (report.outcome === "spawn-failed") {
    return failure(
      "spawn-failed",
      report.error ?? "the program could not be started",
      "check that it is installed and may be run",
    );
  }
  if (reason !== null) return stoppedBy(reason);
  if (turn.outcome === "succeeded") return { type: "succeeded", hasChanges: true, message: null };
  const { cause, message, remedy, retryAfterMs, resetsAtMs } = turn;
  return { type: "failed", cause, message, remedy, retryAfterMs, resetsAtMs };
}

/** An attempt's end as its row tells it. */
function outcomeOf(end: AttemptEnd): Pick<AttemptRow, "outcome" | "cause" | "message"> {
  switch (end.type) {
    case "succeeded":
      return { outcome: "succeeded", cause: null, message: null };
    case "failed":
      return { outcome: "failed", cause: end.cause, message: end.message };
    case "interrupted":
      return { outcome: "failed", cause: "engine-crash", message: "the engine was stopped" };
    case "stopped":
      return { outcome: "failed", cause: "cancelled", message: "stopped by the operator" };
    case "not-started":
      return { outcome: "failed", cause: "spawn-failed", message: end.wait.message };
  }
}

function stoppedBy(reason: StopReason): AttemptEnd {
  switch (reason) {
    case "timed-out":
      return failure("timed-out", "the task's deadline passed", null);
    case "stalled":
      return failure("stalled", "nothing came from the agent for too long", null);
    case "output-limit":
      return failure("crashed", "the agent printed more than is allowed", null);
    case "shutdown":
      return { type: "interrupted" };
    case "paused":
    case "cancelled":
      return { type: "stopped" };
  }
}

function failure(
  cause: Extract<AttemptEnd, { type: "failed" }>["cause"],
  message: string,
  remedy: string | null,
): AttemptEnd {
  return { type: "failed", cause, message, remedy, retryAfterMs: null, resetsAtMs: null };
}

function lastWordsOf(parts: Parts, task: TaskRecord): string | null {
  return parts.store.attempts.listByTask(task.planId, task.id).at(-1)?.finalText ?? null;
}
