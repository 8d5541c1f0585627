/** A verb's way to the engine: finds the repository, connects, and calls operations with their types. */
import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { connectClient, type CallOptions, type EngineClient } from "../engine/client.ts";
import { toAppError } from "../engine/protocol.ts";
import { discoverRepository, type FoundRepository } from "../engine/repository-paths.ts";
import { stateFolderOf } from "../engine/state-folder.ts";
import type { answerQuestion } from "../operations/answer-question.ts";
import type { askOrchestrator } from "../operations/ask-orchestrator.ts";
import type { control } from "../operations/control.ts";
import type { createPlan } from "../operations/create-plan.ts";
import type { endNow } from "../operations/end-now.ts";
import type { engineInfo } from "../operations/engine-info.ts";
import type { gitHooks } from "../operations/git-hooks.ts";
import type { listQuestions } from "../operations/list-questions.ts";
import type { lookAtGit } from "../operations/look-at-git.ts";
import type { openTask } from "../operations/open-task.ts";
import type { Operation } from "../operations/operation.ts";
import type { readDiff } from "../operations/read-diff.ts";
import type { readLog } from "../operations/read-log.ts";
import type { reportResult } from "../operations/report-result.ts";
import type { spawnAgent } from "../operations/spawn-agent.ts";
import type { taskContext } from "../operations/task-context.ts";
import type { taskStatus } from "../operations/task-status.ts";
import type { updatePlan } from "../operations/update-plan.ts";
import { hasCode } from "../errors.ts";

/** The operations that verbs use. Types only: the engine checks what is sent. */
interface Operations {
  readonly create_plan: typeof createPlan;
  readonly update_plan: typeof updatePlan;
  readonly spawn_agent: typeof spawnAgent;
  readonly task_status: typeof taskStatus;
  readonly answer_question: typeof answerQuestion;
  readonly list_questions: typeof listQuestions;
  readonly ask_orchestrator: typeof askOrchestrator;
  readonly control: typeof control;
  readonly read_log: typeof readLog;
  readonly read_diff: typeof readDiff;
  readonly open_task: typeof openTask;
  readonly end_now: typeof endNow;
  readonly engine_info: typeof engineInfo;
  readonly report_result: typeof reportResult;
  readonly git_hooks: typeof gitHooks;
  readonly look_at_git: typeof lookAtGit;
  readonly task_context: typeof taskContext;
}
export type OperationName = keyof Operations;
type InputOf<Op> = Op extends Operation<infer Input, infer _Output> ? Input : never;
type OutputOf<Op> = Op extends Operation<infer _Input, infer Output> ? Output : never;
export type Input<Name extends OperationName> = InputOf<Operations[Name]>;
export type Output<Name extends OperationName> = OutputOf<Operations[Name]>;

export interface EngineSession {
  readonly client: EngineClient;
  readonly repository: FoundRepository;
  /** Throws AppError with the code that the operation answered. */
  call<Name extends OperationName>(name: Name, input: Input<Name>, options?: CallOptions): Promise<Output<Name>>;
  /**
   * Lets go of the engine. Where nothing was here before and nothing was planned, the engine goes too and takes its
   * folder with it; answers when it has. Never rejects; may be called twice.
   */
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly repo: string | null;
  /** Default: true. */
  readonly mayStart?: boolean;
  readonly environment?: NodeJS.ProcessEnv;
  /** `close` waits for an unused engine to be gone with its folder, also when it was here before. */
  readonly waitsForUnused?: boolean;
}

/** Throws NOT_A_REPOSITORY, ENGINE_UNREACHABLE and whatever keeps an engine from starting. */
export async function openEngineSession(options: SessionOptions): Promise<EngineSession> {
  const repository = findRepositoryFor(options.repo);
  const stateFolder = stateFolderOf(repository.commonDir).path;
  const isNew = !existsSync(stateFolder);
  const client = await connectClient({
    commonDir: repository.commonDir,
    place: repository.place,
    clientName: "orchestrator",
    mayStart: options.mayStart ?? true,
    ...(options.environment === undefined ? {} : { environment: options.environment }),
  });
  const session = sessionOf(client, repository);
  if (!isNew && options.waitsForUnused !== true) return session;
  return { ...session, close: () => closeNew(session, stateFolder) };
}

/** The engine leaves by itself; whoever looks into the repository after a refused plan should find nothing of it. */
const GONE_WITHIN_MS = 5000;
const LOOK_AGAIN_MS = 20;

async function closeNew(session: EngineSession, stateFolder: string): Promise<void> {
  const info = await session.client.call("engine_info", {});
  await session.close();
  if (!info.ok || info.structured["isUnused"] !== true) return;
  const deadlineMs = performance.now() + GONE_WITHIN_MS;
  while (existsSync(stateFolder) && performance.now() < deadlineMs) await delay(LOOK_AGAIN_MS);
}

/** Null when no engine runs; starts none. */
export async function openRunningEngine(repo: string | null): Promise<EngineSession | null> {
  try {
    return await openEngineSession({ repo, mayStart: false });
  } catch (thrown) {
    if (hasCode(thrown, "ENGINE_UNREACHABLE") && thrown.details["running"] === false) return null;
    throw thrown;
  }
}

export function findRepositoryFor(repo: string | null): FoundRepository {
  // CLAUDE_PROJECT_DIR is for hosts that start servers elsewhere; a person means the folder they stand in.
  return discoverRepository({ repo, cwd: tryCwd(), projectDir: null, roots: null });
}

export function sessionOf(client: EngineClient, repository: FoundRepository): EngineSession {
  return {
    client,
    repository,
    call: async <Name extends OperationName>(name: Name, input: Input<Name>, options?: CallOptions) => {
      const result = await client.call(name, input, options);
      // The engine is of this package and checked what it answers.
      if (result.ok) return result.structured as unknown as Output<Name>;
      throw toAppError(result);
    },
    close: () => {
      client.close();
      return Promise.resolve();
    },
  };
}

function tryCwd(): string | null {
  try {
    return process.cwd();
  } catch {
    return null;
  }
}
