/**
 * One list of operations, from which MCP tools, CLI verbs and TUI keys are made (DESIGN section 9). An operation knows
 * nothing of transports; a way in knows nothing of the store.
 */
import type { z } from "zod";
import type { App } from "../app.ts";

/** Who calls. Decided by the engine at the hello, never by the caller's word alone. */
export type Caller =
  | {
      readonly role: "operator";
      /** Where the client works. */ readonly cwd: string;
      readonly clientName: string | null;
      /** An MCP host, whose model reads what it is answered; else the command line or the terminal UI. */
      readonly isParent?: boolean;
    }
  | { readonly role: "satellite"; readonly attemptId: string; readonly planId: string; readonly taskId: string };

export interface OperationCall {
  readonly caller: Caller;
  /** The same key never carries out a changing operation twice; a repeat gets the first answer. Null: no key. */
  readonly requestKey: string | null;
  /** Aborted when the client cancelled or went away. */
  readonly signal: AbortSignal;
  /** Tells a waiting client how it goes; may be dropped. */
  readonly progress: (message: string) => void;
}

/** A call as an operation sees it. */
export interface ActingCall extends OperationCall {
  /**
   * Carries out a change: `work` runs in one transaction with everything it stores and with the answer under the
   * request key, so that a repeat gets the first answer. Check everything before; nothing may be refused in `work`.
   */
  commit<Output extends object>(work: () => Output): Output;
}

export interface Operation<Input = never, Output extends object = object> {
  /** snake_case; the MCP tool's name and the name on the engine's socket. */
  readonly name: string;
  readonly title: string;
  /** What it does, for a model: when to use it, what comes back. */
  readonly description: string;
  readonly audience: "operator" | "satellite";
  /** Offered as an MCP tool; the others are for the CLI alone. */
  readonly isTool: boolean;
  /** True when it changes nothing (MCP readOnlyHint; may be sent again freely). */
  readonly isReading: boolean;
  readonly input: z.ZodType<Input>;
  /** The code of input that does not fit; default INPUT_INVALID. */
  readonly invalidCode?: "PLAN_INVALID";
  readonly output: z.ZodType<Output>;
  run(app: App, input: Input, call: ActingCall): Promise<Output>;
  /** The same facts as text: all that some parents' models see. `summary` and `next` first. */
  text(output: Output): string;
}

/** What a way in gets back. Failures are values: the text says what to do next. */
export type OperationResult =
  | { readonly ok: true; readonly structured: Record<string, unknown>; readonly text: string }
  | {
      readonly ok: false;
      readonly code: string;
      readonly message: string;
      readonly details: Readonly<Record<string, unknown>>;
    };
