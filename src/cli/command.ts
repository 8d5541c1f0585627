/** From words to an exit code: finds the verb, parses, runs it, and tells what went wrong in one line. */
import { ATTEMPT_MARK } from "../engine/environment.ts";
import { readPackageVersion } from "../engine/version.ts";
import { AppError, messageOf } from "../errors.ts";
import { machineLimitOf } from "../machine-limits.ts";
import { nearestName } from "../nearest-name.ts";
import { parseCommandLine } from "./command-line.ts";
import { EXIT, exitCodeOf, type ExitCode } from "./exit-codes.ts";
import { overallHelp, verbHelp } from "./help.ts";
import { plainText } from "./plain-text.ts";
import { styled, type Line } from "./styled.ts";
import { openTerminal, type Terminal } from "./terminal.ts";
import type { Verb } from "./verb.ts";
import { LATER_VERBS, VERBS } from "./verbs.ts";

/** `words` without the program's name. Never rejects. */
export async function runCommand(words: readonly string[]): Promise<ExitCode> {
  const terminal = openTerminal(process, process.env);
  const wantsJson = words.slice(0, endOfOptions(words)).includes("--json");
  try {
    return await dispatch(words, terminal);
  } catch (thrown) {
    return tellError(thrown, terminal, wantsJson);
  }
}

async function dispatch(words: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const { before, name, after } = splitAtVerb(words);
  if (name === null) {
    if (before.includes("--version") || before.includes("-V")) {
      terminal.print(readPackageVersion());
      return EXIT.succeeded;
    }
    const isAsked = before.length === 0 || before.includes("--help") || before.includes("-h");
    if (!isAsked)
      throw new AppError("USAGE", `a verb is missing after ${before.join(" ")}; \`orchestrator --help\` lists them`);
    if (before.length > 0) return help(null, terminal);
    terminal.note(...overallHelp(VERBS));
    return EXIT.usage;
  }
  if (name === "help") return help(after[0] ?? null, terminal);
  const verb = findVerb(name);
  if (verb.name === "mcp") {
    const { runPipe } = await import("../engine/pipe.ts");
    runPipe([...before, ...after]);
    return await new Promise(() => undefined);
  }
  const invocation = parseCommandLine(verb, [...before, ...after]);
  if (invocation.has("help")) {
    terminal.print(...verbHelp(verb));
    return EXIT.succeeded;
  }
  refuseAgents(verb);
  const run = await verb.load();
  return await run(invocation, terminal);
}

/** The engine refuses agents by itself; trust, config, init and the like never ask it. */
function refuseAgents(verb: Verb): void {
  if (process.env[ATTEMPT_MARK] === undefined || verb.isForAgents === true) return;
  throw new AppError(
    "NOT_ALLOWED",
    `\`orchestrator ${verb.name}\` is not for an agent that carries out a task, which has \`orchestrator context\`, \`ask\` and \`report\``,
  );
}

function help(name: string | null, terminal: Terminal): ExitCode {
  terminal.print(...(name === null ? overallHelp(VERBS) : verbHelp(findVerb(name))));
  return EXIT.succeeded;
}

/** Options may stand before the verb; only `--repo` has a value there. */
function splitAtVerb(words: readonly string[]): { before: string[]; name: string | null; after: string[] } {
  let index = 0;
  while (index < words.length) {
    const word = words[index] ?? "";
    if (!word.startsWith("-")) break;
    index += word === "--repo" ? 2 : 1;
  }
  return { before: words.slice(0, index), name: words[index] ?? null, after: words.slice(index + 1) };
}

function endOfOptions(words: readonly string[]): number {
  const end = words.indexOf("--");
  return end < 0 ? words.length : end;
}

function findVerb(name: string): Verb {
  const verb = VERBS.find((candidate) => candidate.name === name);
  if (verb !== undefined) return verb;
  if (LATER_VERBS.includes(name))
    throw new AppError("NOT_SUPPORTED", `\`orchestrator ${name}\` is not in this version yet`);
  const near = nearestName(
    name,
    VERBS.map((candidate) => candidate.name),
  );
  const hint = near === null ? "`orchestrator --help` lists them" : `Did you mean \`${near}\`?`;
  throw new AppError("USAGE", `there is no verb ${JSON.stringify(name.slice(0, 60))}. ${hint}`);
}

function tellError(thrown: unknown, terminal: Terminal, wantsJson: boolean): ExitCode {
  const { code, message, details } = thrown instanceof AppError ? thrown : unexpected(thrown);
  const [first = "", ...rest] = plainText(message).trimEnd().split("\n");
  terminal.note([styled("error:", "red"), ` ${first}`], ...rest.map((line): Line => [`  ${line}`]));
  if (wantsJson) terminal.printJson({ type: "error", code, message, details });
  return exitCodeOf(code);
}

function unexpected(thrown: unknown): AppError {
  const limit = machineLimitOf(thrown);
  if (limit !== null) return new AppError("STATE_UNUSABLE", `${messageOf(thrown)} — ${limit}`);
  const isDebug = process.env["ORCHESTRATOR_DEBUG"] !== undefined;
  const stack = isDebug && thrown instanceof Error ? `\n${thrown.stack ?? ""}` : "";
  return new AppError("INTERNAL", `${messageOf(thrown)} (a bug; ORCHESTRATOR_DEBUG=1 shows where)${stack}`);
}
