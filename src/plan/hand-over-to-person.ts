/** A person takes a task over by hand: its agent is paused, and told afterwards that somebody was there. Pure. */
import { AppError } from "../errors.ts";
import type { Board } from "./board.ts";
import { controlTask } from "./controls.ts";
import { taskKey, type TaskKey } from "./records.ts";
import { isEnded, type Wait } from "./task-state.ts";

const NOTE =
  "A person worked in your worktree meanwhile, maybe in this very conversation: look at what changed (git status, git log, git diff) before you do anything, keep it, and go on from there.";

/**
 * Asks for the pause, which a running attempt has to end for first. False: ask again when the task moved. True: it
 * stands, and goes on by `resume` alone. Throws TASK_STATE where there is nothing to take over.
 */
export function handToPerson(board: Board, key: TaskKey): boolean {
  const node = board.node(key);
  const { record } = node;
  if (record.state === "running") {
    if (record.wish !== "pause") controlTask(board, key, "pause", 0);
    return false;
  }
  refuse(board, key);
  const { kind, note } = record.nextTurn;
  const isTold = note?.startsWith(NOTE) === true;
  if (record.state === "waiting" && record.wait?.code === "paused" && isTold) return true;
  record.stage = "work";
  record.consent = null;
  // What it was to be told stays; whichever step it had come to, what a person did is judged anew.
  const words = isTold ? note : [NOTE, note].filter((text) => text !== null).join("\n\n");
  record.nextTurn = { kind: kind === "hand-over" ? "hand-over" : "again", note: words };
  board.move(node, "waiting", { step: 0, wait: openedWait(key), cause: null, message: null });
  return true;
}

function openedWait(key: TaskKey): Wait {
  return {
    code: "paused",
    message: "a person has it open, or had (orchestrator open)",
    command: `orchestrator resume ${key}`,
    untilMs: null,
  };
}

function refuse(board: Board, key: TaskKey): void {
  const node = board.node(key);
  const { record } = node;
  const name = taskKey(record);
  if (record.state === "succeeded" || record.state === "skipped") {
    const became = record.mergedSha === null ? `has ${record.state}` : `is merged as ${record.mergedSha.slice(0, 10)}`;
    throw new AppError(
      "TASK_STATE",
      `can't open ${name}: it ${became} and its worktree is given back; \`orchestrator tell ${name} MESSAGE\` lets its agent go on in a new task`,
    );
  }
  if (record.ledger.attempts === 0) {
    throw new AppError("TASK_STATE", `can't open ${name}: it has not begun, so it has no worktree yet`);
  }
  if (record.state === "merging" && node.isMergeActive) {
    throw new AppError("TASK_STATE", `can't open ${name}: it is being merged at this moment; ask again in a moment`);
  }
  if (!isEnded(record.state) && record.state !== "waiting" && record.state !== "ready" && record.state !== "merging") {
    throw new AppError("TASK_STATE", `can't open ${name}: it is ${record.state}`);
  }
}
