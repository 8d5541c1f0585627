import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import type { Caller, OperationCall } from "./operation.ts";

/** The attempt that calls. Throws NOT_ALLOWED for an operator, or for an attempt that has ended. */
export function satelliteOf(app: App, call: OperationCall): Extract<Caller, { role: "satellite" }> {
  const { caller } = call;
  if (caller.role !== "satellite") {
    throw new AppError(
      "NOT_ALLOWED",
      "only an agent that carries out a task can call this; an operator has task_status",
    );
  }
  if (app.scheduler.attemptOf(`${caller.planId}/${caller.taskId}`) !== caller.attemptId) {
    if (caller.planId === "") {
      throw new AppError("NOT_ALLOWED", "no attempt of this engine is at work here: end your turn");
    }
    throw new AppError(
      "NOT_ALLOWED",
      `attempt ${caller.attemptId} of ${caller.planId}/${caller.taskId} has ended: end your turn`,
    );
  }
  return caller;
}
