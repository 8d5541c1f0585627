/** What a verb is: what the command line and its help need of it, and how it is run. */
import type { ExitCode } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

export interface OptionSpec {
  readonly type: "string" | "boolean";
  readonly short?: string;
  /** Given more than once: all values count. */
  readonly multiple?: boolean;
  /** The value's name in the help. */
  readonly value?: string;
  readonly help: string;
}

export interface Verb {
  readonly name: string;
  /** What follows the name in the usage line. */
  readonly usage: string;
  readonly help: string;
  /** For hooks and the like, not for people: the list of verbs leaves it out. */
  readonly isHidden?: boolean;
  /** Also for an agent that carries out a task; every other verb is an operator's and refuses there. */
  readonly isForAgents?: boolean;
  /** More lines for `--help`. */
  readonly details?: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly positionals: { readonly min: number; readonly max: number; readonly what: string };
  readonly load: () => Promise<VerbRunner>;
}

/** Throws AppError; what it throws becomes one line on standard error and an exit code. */
export type VerbRunner = (invocation: Invocation, terminal: Terminal) => Promise<ExitCode>;

/** A command line that was understood: what the verb's table allows and nothing else. */
export interface Invocation {
  readonly verb: string;
  readonly positionals: readonly string[];
  readonly repo: string | null;
  readonly json: boolean;
  has(option: string): boolean;
  /** Null when it was not given. */
  text(option: string): string | null;
  texts(option: string): readonly string[];
}
