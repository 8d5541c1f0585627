/**
 * What goes over the engine's socket: JSON, one value a line, at most MAX_LINE_BYTES a line.
 *
 *     client  {"hello":{"protocol":1,"version":"0.1.0","speaks":"mcp"|"operations","pid":…,"cwd":…,"place":…,"mark":…,
 *                       "clientName":…,"takesOver":true}}              within HELLO_TIMEOUT_MS, at most MAX_HELLO_BYTES
 *     engine  {"welcome":{"engineId":…,"version":…,"protocol":1,"passEnv":["ANTHROPIC_*"],"role":"operator"|"satellite",
 *                         "restartPending":false}}
 *          or {"handover":{"version":…}}   an idle older engine makes room: start your own, then say hello again
 *          or {"error":{"code":…,"message":…,"details":{…}}}, and the engine closes
 *     client  {"env":{"NAME":"value"}}     only what `passEnv` asks for; the values are in no log. Always sent.
 *
 * Then, when it speaks `operations` (any number of calls at a time, ids chosen by the client, unique while under way):
 *
 *     client  {"id":1,"call":"task_status","input":{…},"key":"…"|null}      {"id":1,"cancel":true}
 *     engine  {"id":1,"progress":"…"}  …  {"id":1,"result":{"ok":true,…}}
 *     client  {"id":2,"subscribe":{"since":41}}      since null: only what happens from now on
 *     engine  {"id":2,"event":{"seq":42,…}} …        until {"id":2,"cancel":true}; in order, none left out
 *
 * and when it speaks `mcp`: JSON-RPC messages, nothing else. In both, before it goes the engine says
 *
 *     engine  {"goodbye":{"reason":"stopping"|"restarting","version":…}}
 *
 * `stopping`: a person or the idle timer ended it; a client starts it again when it next needs it, not before.
 * `restarting`: it makes room for a newer one; a client connects again at once, and only one of `version` starts it.
 * A connection that closes without a goodbye lost its engine to an accident: connect again, send again. A repeated call
 * with the same key is never done twice. A line that does not fit is answered with `error` and the end.
 *
 * Nothing here loads a library: the pipe is ready as fast as an empty program.
 */
import { AppError, ERROR_CODES, type ErrorCode } from "../errors.ts";
import type { OperationResult } from "../operations/operation.ts";

/** Raised when an older client or engine could not understand the lines above. */
export const PROTOCOL = 1;
/** The oldest client's protocol that this engine serves. */
export const OLDEST_PROTOCOL = 1;
export const MAX_LINE_BYTES = 64 * 1024 * 1024;
/** Until the hello is done: room for every variable a shell can hold. */
export const MAX_HELLO_BYTES = 4 * 1024 * 1024;
export const HELLO_TIMEOUT_MS = 10_000;
/** In `params._meta` of a tools/call: written by the pipe, read by the engine. */
export const REQUEST_KEY_META = "orchestrator/requestKey";

export type Speaks = "mcp" | "operations";

export interface Hello {
  readonly protocol: number;
  readonly version: string;
  readonly speaks: Speaks;
  readonly pid: number;
  readonly cwd: string;
  readonly place: string;
  readonly mark: string | null;
  readonly clientName: string | null;
  /** It starts an engine of its own version where an older one makes room. */
  readonly takesOver: boolean;
}

export interface Welcome {
  readonly engineId: string;
  readonly version: string;
  readonly protocol: number;
  readonly passEnv: readonly string[];
  readonly role: "operator" | "satellite";
  readonly restartPending: boolean;
}

export interface Goodbye {
  readonly reason: "stopping" | "restarting";
  /** With `restarting`: the version whose client starts the next engine. */
  readonly version: string | null;
}

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** What a client that speaks `operations` sends. */
export type OperationsRequest =
  | { readonly id: number; readonly call: string; readonly input: unknown; readonly key: string | null }
  | { readonly id: number; readonly cancel: true }
  | { readonly id: number; readonly subscribe: { readonly since: number | null } };

/** What the engine sends to it. */
export type OperationsMessage =
  | { readonly id: number; readonly progress: string }
  | { readonly id: number; readonly result: OperationResult }
  | { readonly id: number; readonly event: { readonly seq: number } }
  | { readonly goodbye: Goodbye }
  | { readonly error: WireError };

export type Fields = Readonly<Record<string, unknown>>;

/** The line as an object; null when it is not JSON or not an object. */
export function parseFields(line: string): Fields | null {
  try {
    const value: unknown = JSON.parse(line);
    return isFields(value) ? value : null;
  } catch {
    return null;
  }
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The hello of a client's first line, or what is wrong with it. Unknown keys are left alone: a newer client may have more. */
export function readHello(line: string): { readonly hello: Hello } | { readonly problem: string } {
  const hello = parseFields(line)?.["hello"];
  if (!isFields(hello)) return { problem: 'the first line must be {"hello":{…}}' };
  const { protocol, version, speaks, pid, cwd, place } = hello;
  if (!isWhole(protocol)) return { problem: "hello.protocol must be a whole number" };
  if (!isText(version, 100)) return { problem: "hello.version must be a version" };
  if (speaks !== "mcp" && speaks !== "operations") return { problem: 'hello.speaks must be "mcp" or "operations"' };
  if (!isWhole(pid)) return { problem: "hello.pid must be a process id" };
  if (!isText(cwd, 32_768)) return { problem: "hello.cwd must be a path" };
  return {
    hello: {
      protocol,
      version,
      speaks,
      pid,
      cwd,
      place: isText(place, 32_768) ? place : cwd,
      mark: isText(hello["mark"], 1000) ? hello["mark"] : null,
      clientName: isText(hello["clientName"], 200) ? hello["clientName"] : null,
      takesOver: hello["takesOver"] === true,
    },
  };
}

/** The welcome of an engine's first line; null when it is something else. */
export function readWelcome(fields: Fields): Welcome | null {
  const welcome = fields["welcome"];
  if (!isFields(welcome)) return null;
  const { engineId, version, protocol, passEnv, role } = welcome;
  if (!isText(engineId, 200) || !isText(version, 100) || !isWhole(protocol)) return null;
  return {
    engineId,
    version,
    protocol,
    passEnv: Array.isArray(passEnv) ? passEnv.filter((name) => isText(name, 200)) : [],
    role: role === "satellite" ? "satellite" : "operator",
    restartPending: welcome["restartPending"] === true,
  };
}

export function readGoodbye(fields: Fields): Goodbye | null {
  const goodbye = fields["goodbye"];
  if (!isFields(goodbye)) return null;
  const version = goodbye["version"];
  return {
    reason: goodbye["reason"] === "restarting" ? "restarting" : "stopping",
    version: typeof version === "string" ? version : null,
  };
}

export function readWireError(fields: Fields): WireError | null {
  const error = fields["error"];
  if (!isFields(error)) return null;
  const { code, message, details } = error;
  if (typeof code !== "string" || typeof message !== "string") return null;
  return { code, message, details: isFields(details) ? details : {} };
}

/** The error as it was thrown in the engine. A code of another version becomes INTERNAL with its words kept. */
export function toAppError(error: WireError): AppError {
  const code: ErrorCode = Object.hasOwn(ERROR_CODES, error.code) ? (error.code as ErrorCode) : "INTERNAL";
  return new AppError(code, error.message, { details: error.details });
}

/** One request of a client that speaks `operations`, or what is wrong with the line. */
export function readOperationsRequest(line: string): OperationsRequest | { readonly problem: string } {
  const fields = parseFields(line);
  if (fields === null) return { problem: "the line is not a JSON object" };
  const { id, call, key, subscribe } = fields;
  if (!isWhole(id)) return { problem: "id must be a whole number" };
  if (fields["cancel"] === true) return { id, cancel: true };
  if (isText(call, 100)) {
    if (key !== undefined && key !== null && !isText(key, 500)) return { problem: "key must be a short text" };
    return { id, call, input: fields["input"], key: key ?? null };
  }
  if (isFields(subscribe)) {
    const since = subscribe["since"] ?? null;
    if (since !== null && !isWhole(since)) return { problem: "subscribe.since must be a sequence number or null" };
    return { id, subscribe: { since } };
  }
  return { problem: 'a request has "call", "subscribe" or "cancel"' };
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isText(value: unknown, maxLength: number): value is string {
  return typeof value === "string" && value !== "" && value.length <= maxLength;
}
