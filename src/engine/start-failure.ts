/** What kept an engine from starting, or from serving a client, as it is told to who waits for it. */
import { AppError, messageOf } from "../errors.ts";
import { machineLimitOf } from "../machine-limits.ts";
import type { WireError } from "./protocol.ts";

export function toStartFailure(thrown: unknown): WireError {
  if (thrown instanceof AppError) return { code: thrown.code, message: thrown.message, details: { ...thrown.details } };
  const limit = machineLimitOf(thrown);
  const remedy = limit === null ? "" : ` — ${limit}`;
  const code = limit === null ? "ENGINE_UNREACHABLE" : "STATE_UNUSABLE";
  return { code, message: `The engine could not start: ${messageOf(thrown)}${remedy}`, details: {} };
}
