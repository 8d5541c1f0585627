/**
 * The one way out to standard output and error. Everything printed goes through `paint`, save what a program reads
 * (JSON, a patch into a pipe), which must not be changed.
 */
import { createInterface } from "node:readline/promises";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { plainText } from "./plain-text.ts";
import { paint, type Line } from "./styled.ts";

export interface Terminal {
  /** Standard output is a terminal that can be drawn on. */
  readonly isInteractive: boolean;
  readonly hasColor: boolean;
  /** A person can be asked: both ends are a terminal. */
  readonly canAsk: boolean;
  /** Now; Infinity where output is no terminal. */
  columns(): number;
  rows(): number;
  print(...lines: readonly (Line | string)[]): void;
  /** To standard error, for what is said beside the result. */
  note(...lines: readonly (Line | string)[]): void;
  /** One line of JSON. */
  printJson(value: unknown): void;
  /** As it is: only for control codes of ours and for what a program reads. */
  writeRaw(text: string): void;
  /** True for yes; asks on standard error, so that a result may be redirected. */
  ask(question: string): Promise<boolean>;
  onResize(listener: () => void): () => void;
  /** What it means when whoever reads our output goes away. */
  exitCodeOnClosedOutput: ExitCode;
}

export function openTerminal(
  { stdin, stdout, stderr }: Pick<NodeJS.Process, "stdin" | "stdout" | "stderr">,
  environment: NodeJS.ProcessEnv,
): Terminal {
  const isPlain = environment["TERM"] === "dumb";
  const isInteractive = stdout.isTTY === true && !isPlain;
  const noColor = environment["NO_COLOR"] !== undefined && environment["NO_COLOR"] !== "";
  const hasColor = isInteractive && !noColor;
  const hasErrorColor = stderr.isTTY === true && !isPlain && !noColor;
  const terminal: Terminal = {
    isInteractive,
    hasColor,
    canAsk: stdin.isTTY === true && stderr.isTTY === true,
    exitCodeOnClosedOutput: EXIT.succeeded,
    columns: () => (isInteractive ? Math.max(10, stdout.columns ?? 80) : Infinity),
    rows: () => (isInteractive ? Math.max(4, stdout.rows ?? 24) : Infinity),
    print: (...lines) => {
      if (lines.length > 0) stdout.write(asText(lines, hasColor));
    },
    note: (...lines) => {
      if (lines.length > 0) stderr.write(asText(lines, hasErrorColor));
    },
    printJson: (value) => stdout.write(`${JSON.stringify(value)}\n`),
    writeRaw: (text) => stdout.write(text),
    ask: async (question) => {
      const reader = createInterface({ input: stdin, output: stderr });
      const abort = new AbortController();
      reader.once("SIGINT", () => abort.abort());
      reader.once("close", () => abort.abort());
      try {
        const answer = await reader.question(`${plainText(question)} [y/N] `, { signal: abort.signal });
        return /^y(es)?$/i.test(answer.trim());
      } catch {
        return false;
      } finally {
        reader.close();
      }
    },
    onResize: (listener) => {
      stdout.on("resize", listener);
      return () => stdout.off("resize", listener);
    },
  };
  // `orchestrator logs | head`: nobody reads any more, and that is no error of ours.
  for (const stream of [stdout, stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE" || error.code === "EIO") process.exit(terminal.exitCodeOnClosedOutput);
    });
  }
  return terminal;
}

function asText(lines: readonly (Line | string)[], hasColor: boolean): string {
  return lines.map((line) => `${typeof line === "string" ? plainText(line) : paint(line, hasColor)}\n`).join("");
}
