import { existsSync } from "node:fs";
import { z } from "zod";
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import { handToPerson } from "../plan/hand-over-to-person.ts";
import type { TaskKey } from "../plan/records.ts";
import type { SessionRow } from "../store/sessions.ts";
import { modelFor } from "../scheduler/settings.ts";
import type { ActingCall, Operation } from "./operation.ts";
import { nextLine, TASK_NAME } from "./shapes.ts";

const input = z.strictObject({
  task: TASK_NAME,
  dryRun: z.boolean().optional().describe("Only tells what would be run: nothing is paused."),
});

const output = z.object({
  summary: z.string(),
  next: z.string(),
  task: z.string(),
  /** What to run; null: a shell of the person's own choice. */
  file: z.string().nullable(),
  args: z.array(z.string()),
  cwd: z.string(),
  /** Names the `env` of the config that the program needs; values never pass through here. */
  provider: z.string(),
  session: z.string().nullable(),
  /** Its command starts anew on resume: what was done by hand does not go on. */
  startsAnew: z.boolean(),
});

type Input = z.infer<typeof input>;
type Output = z.infer<typeof output>;

export const openTask: Operation<Input, Output> = {
  name: "open_task",
  title: "Take a task over by hand",
  description: "Pauses a task and tells the command that opens its agent's conversation in its worktree.",
  audience: "operator",
  isTool: false,
  isReading: false,
  input,
  output,
  run: open,
  text: (result) => [result.summary, nextLine(result.next)].join("\n"),
};

/** An agent that is ended has `agents.killGraceSeconds`, and what it leaves behind as long again. */
const STANDS_WITHIN_MS = 120_000;

async function open(app: App, value: Input, call: ActingCall): Promise<Output> {
  const key = await app.findTask(value.task);
  // Looked up before anything is paused: what can't be opened is refused with nothing done.
  const found = await whatToRun(app, key);
  if (value.dryRun === true) return { ...found, summary: `This would open ${key}; nothing was paused.` };
  await untilItStands(app, key, call);
  // Its last turn may have begun a session only now.
  return await whatToRun(app, key);
}

async function untilItStands(app: App, key: TaskKey, call: ActingCall): Promise<void> {
  const { board, bus, clock } = app.parts;
  const stands = (): boolean => app.scheduler.commit(() => handToPerson(board, key));
  if (stands()) return;
  await new Promise<void>((resolve, reject) => {
    const end = (settle: () => void): void => {
      unsubscribe();
      cancel();
      call.signal.removeEventListener("abort", onAbort);
      settle();
    };
    const unsubscribe = bus.onEvent((event) => {
      if (event.body.type !== "task-state" || `${event.planId}/${event.taskId}` !== key) return;
      // Not in the listener: a commit of ours would come before others have heard of this one.
      setImmediate(() => {
        if (board.node(key).record.state === "running") return;
        try {
          if (stands()) end(resolve);
        } catch (thrown) {
          end(() => reject(thrown instanceof Error ? thrown : new Error(String(thrown))));
        }
      });
    });
    const cancel = clock.schedule(STANDS_WITHIN_MS, () =>
      end(() => reject(new AppError("TASK_STATE", `${key} does not end; \`orchestrator why ${key}\``))),
    );
    const onAbort = (): void => end(resolve);
    call.signal.addEventListener("abort", onAbort);
  });
}

async function whatToRun(app: App, key: TaskKey): Promise<Output> {
  const { board, store, repository } = app.parts;
  const { record } = board.node(key);
  const { planId, id } = record;
  const settings = app.settingsOfPlan(planId).plan;
  // Who does the task is the first step of its workflow; the others only judge.
  const [first] = record.workflow.steps;
  const name = first?.provider ?? record.provider;
  const provider = settings.providers[name];
  const cwd = store.tasks.getWork(planId, id)?.worktree ?? repository.worktrees.pathOf(planId, id);
  const isDone = record.state === "succeeded" || record.state === "skipped";
  // handToPerson says it better where the task itself is the reason.
  if (!isDone && record.ledger.attempts > 0 && !existsSync(cwd)) {
    throw new AppError("TASK_STATE", `can't open ${key}: its worktree ${cwd} is not there`);
  }
  const plain = { next: `orchestrator resume ${key}`, task: key, cwd, provider: name };
  const backend = provider === undefined ? null : app.parts.backend(provider.kind);
  const sessions = store.sessions.listByTask(planId, id).toReversed();
  const session = sessions.find((row) => row.role === first?.agent && canOpen(row, cwd, backend?.kind ?? null)) ?? null;
  if (provider === undefined || backend === null || backend.openArguments === null || session === null) {
    const why = backend?.hasSessions === true ? "has no conversation that could go on" : "is a command";
    const summary = `${key} is yours, and paused; it ${why}, so this is a shell in its worktree.`;
    return { ...plain, summary, file: null, args: [], session: null, startsAnew: backend?.hasSessions !== true };
  }
  const role = settings.roles[session.role];
  const model = role === undefined ? null : modelFor(settings, role, name);
  const path = app.parts.baseEnvironment()["PATH"] ?? "";
  const located = await backend.locate(provider, provider.env["PATH"] ?? path);
  const args = backend.openArguments({ sessionId: session.sessionId, worktree: cwd, model }, located);
  const summary = `${key} is yours, and paused: its agent's conversation in its worktree.`;
  return { ...plain, summary, file: located.file, args: [...args], session: session.sessionId, startsAnew: false };
}

function canOpen(row: SessionRow, worktree: string, kind: string | null): boolean {
  return row.isUsable && row.worktree === worktree && row.kind === kind;
}
