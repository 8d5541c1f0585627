/** All operations. MCP tools, CLI verbs and TUI keys are made from this list. */
import { answerQuestion } from "./answer-question.ts";
import { askOrchestrator } from "./ask-orchestrator.ts";
import { control } from "./control.ts";
import { createPlan } from "./create-plan.ts";
import { endNow } from "./end-now.ts";
import { engineInfo } from "./engine-info.ts";
import { gitHooks } from "./git-hooks.ts";
import { listQuestions } from "./list-questions.ts";
import { lookAtGit } from "./look-at-git.ts";
import { openTask } from "./open-task.ts";
import type { Operation } from "./operation.ts";
import { readDiff } from "./read-diff.ts";
import { readLog } from "./read-log.ts";
import { reportResult } from "./report-result.ts";
import { spawnAgent } from "./spawn-agent.ts";
import { taskContext } from "./task-context.ts";
import { taskStatus } from "./task-status.ts";
import { updatePlan } from "./update-plan.ts";
import { watchQuestions } from "./watch-questions.ts";

// Each operation checks its input with its own schema before `run`, so the list may forget the types.
export const OPERATIONS = [
  createPlan,
  updatePlan,
  spawnAgent,
  taskStatus,
  answerQuestion,
  control,
  askOrchestrator,
  reportResult,
  taskContext,
  listQuestions,
  watchQuestions,
  readLog,
  readDiff,
  openTask,
  endNow,
  engineInfo,
  gitHooks,
  lookAtGit,
] as unknown as readonly Operation<object, object>[];
