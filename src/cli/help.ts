/** The help's lines: made from the table of verbs, so that it can't tell of what is not there. */
import { COMMON_OPTIONS } from "./command-line.ts";
import { styled, type Line } from "./styled.ts";
import type { OptionSpec, Verb } from "./verb.ts";

export function overallHelp(verbs: readonly Verb[]): Line[] {
  const shown = verbs.filter((verb) => verb.isHidden !== true);
  const width = Math.max(...shown.map((verb) => verb.name.length));
  return [
    ["Usage: orchestrator VERB [options]"],
    [],
    ["Carries out plans of tasks with agent CLIs, each in its own git worktree, and merges what they did."],
    [],
    ...shown.map((verb): Line => ["  ", styled(verb.name.padEnd(width), "bold"), `  ${verb.help}`]),
    [],
    ["Every verb: --help, --repo DIR; reading verbs: --json. --version prints the version."],
    ["Exit codes: 0 all succeeded · 1 something failed or is blocked · 2 wrong usage, plan or config ·"],
    ["3 cannot run here · 4 nothing can move without a person · 130 interrupted"],
  ];
}

export function verbHelp(verb: Verb): Line[] {
  const lines: Line[] = [
    [`Usage: orchestrator ${verb.name} ${verb.usage}`.trimEnd()],
    [],
    [capitalized(verb.help), "."],
  ];
  if (verb.details !== undefined) lines.push(...verb.details.map((line): Line => [line]));
  const options = Object.entries({ ...verb.options, ...COMMON_OPTIONS });
  const names = options.map(([name, option]) => optionName(name, option));
  const width = Math.max(...names.map((name) => name.length));
  lines.push([]);
  options.forEach(([, option], index) => lines.push([`  ${(names[index] ?? "").padEnd(width)}  ${option.help}`]));
  return lines;
}

function optionName(name: string, { short, value }: OptionSpec): string {
  return `${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
