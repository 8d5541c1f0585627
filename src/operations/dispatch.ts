/**
 * The one way into an operation: checks who asks and what, finds the first answer to a repeated request, and turns what
 * is thrown into a result. Never throws.
 */
import { createHash } from "node:crypto";
import { crashPoint } from "../crash-point.ts";
import type { App } from "../app.ts";
import { AppError, messageOf } from "../errors.ts";
import { describeInvalid } from "../invalid-input.ts";
import { machineLimitOf } from "../machine-limits.ts";
import { nearestName } from "../nearest-name.ts";
import { OPERATIONS } from "./list.ts";
import type { ActingCall, Operation, OperationCall, OperationResult } from "./operation.ts";

/** Problems in a message; the details have more. */
const MAX_TOLD = 5;

export async function callOperation(
  app: App,
  name: string,
  value: unknown,
  call: OperationCall,
): Promise<OperationResult> {
  try {
    const operation = OPERATIONS.find((candidate) => candidate.name === name);
    if (operation === undefined) {
      const near = nearestName(
        name,
        OPERATIONS.map((candidate) => candidate.name),
      );
      throw new AppError(
        "INPUT_INVALID",
        `there is no operation "${name.slice(0, 60)}"${near === null ? "" : `; did you mean "${near}"?`}`,
      );
    }
    return await carryOut(app, operation, value ?? {}, call);
  } catch (thrown) {
    return failureOf(app, name, thrown);
  }
}

async function carryOut(
  app: App,
  operation: Operation<object, object>,
  value: unknown,
  call: OperationCall,
): Promise<OperationResult> {
  if (operation.audience !== call.caller.role) {
    const who =
      call.caller.role === "satellite"
        ? "an agent that carries out a task, which has ask_orchestrator, report_result and task_context"
        : "an operator";
    throw new AppError("NOT_ALLOWED", `${operation.name} is not for ${who}`);
  }
  const isParent = call.caller.role === "operator" && call.caller.isParent === true;
  const endPresence = isParent ? app.scheduler.questions.parents.begin() : () => {};
  try {
    return await carryOutFor(app, operation, value, call);
  } finally {
    endPresence();
  }
}

async function carryOutFor(
  app: App,
  operation: Operation<object, object>,
  value: unknown,
  call: OperationCall,
): Promise<OperationResult> {
  const parsed = operation.input.safeParse(value);
  if (!parsed.success) {
    const problems = describeInvalid(parsed.error, operation.input, "the input", value).map(
      (problem) => problem.message,
    );
    const more = problems.length > MAX_TOLD ? ` (and ${problems.length - MAX_TOLD} more)` : "";
    const told = `${problems.slice(0, MAX_TOLD).join("; ")}${more}`;
    const code = operation.invalidCode ?? "INPUT_INVALID";
    throw new AppError(code, code === "INPUT_INVALID" ? `${operation.name}: ${told}` : told, {
      details: { problems: problems.slice(0, 30) },
    });
  }
  const key = requestKeyOf(parsed.data, call);
  const inputHash = hashOf(parsed.data);
  const answered =
    key === null || operation.isReading ? null : app.parts.store.requestKeys.findAnswer(key, operation.name, inputHash);
  if (answered !== null) return resultOf(operation, answered.response as object);
  if (!operation.isReading && app.scheduler.isStopping) {
    throw new AppError("ENGINE_STOPPING", "the engine is shutting down and takes no new work; call again in a moment");
  }
  const acting: ActingCall = {
    ...call,
    commit: (work) =>
      app.scheduler.commit(() => {
        // Two calls with one key may be under way at once: the second finds the first one's answer here.
        const first = key === null ? null : app.parts.store.requestKeys.findAnswer(key, operation.name, inputHash);
        if (first !== null) return first.response as ReturnType<typeof work>;
        const output = work();
        if (key !== null)
          app.parts.store.requestKeys.put({ key, operation: operation.name, inputHash, response: output });
        return output;
      }),
  };
  const output = await operation.run(app, parsed.data, acting);
  if (!operation.isReading) crashPoint("request-carried-out");
  return resultOf(operation, output);
}

function resultOf(operation: Operation<object, object>, output: object): OperationResult {
  return { ok: true, structured: output as Record<string, unknown>, text: operation.text(output) };
}

/** A key the caller chose counts before the one its pipe gave; they can't be mistaken for each other. */
function requestKeyOf(input: object, call: OperationCall): string | null {
  const own = "key" in input ? input.key : undefined;
  if (typeof own === "string") return `own:${own}`;
  return call.requestKey === null ? null : `pipe:${call.requestKey}`;
}

function hashOf(input: object): string {
  const { key: _key, ...rest } = input as Record<string, unknown>;
  return createHash("sha256").update(JSON.stringify(rest)).digest("hex");
}

function failureOf(app: App, name: string, thrown: unknown): OperationResult {
  if (thrown instanceof AppError && thrown.code !== "INTERNAL") {
    return { ok: false, code: thrown.code, message: thrown.message, details: thrown.details };
  }
  const id = app.parts.ids.short(8);
  app.parts.log("error", `internal error ${id} in ${name}: ${messageOf(thrown)}`, {
    stack: thrown instanceof Error ? thrown.stack : null,
  });
  const limit = machineLimitOf(thrown);
  if (limit !== null) {
    const message = `${name} could not be carried out: ${limit} (${messageOf(thrown)}). Call again then`;
    return { ok: false, code: "MACHINE_LIMIT", message, details: {} };
  }
  const message = `internal error ${id}: this is a bug; engine.log has it under that id`;
  return { ok: false, code: "INTERNAL", message, details: { id } };
}
