/** What is wrong in a config file, with its place, and the one error that tells it. */
import { AppError, type ErrorCode } from "../errors.ts";

export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units, as editors count. */
  readonly column: number;
}

export interface Problem {
  /** Null where the value is in no file: a built-in default, a value given on the command line. */
  readonly place: Place | null;
  readonly path: readonly (string | number)[];
  /** What is wrong, with the key but without the file. */
  readonly message: string;
  /** A nearer code than CONFIG_INVALID. */
  readonly code?: ErrorCode;
}

const MAX_SHOWN = 10;

/** CONFIG_INVALID (or the code that all have in common) for all problems; details has the first one's place. */
export function configInvalid(problems: readonly Problem[]): AppError {
  const codes = new Set(problems.map((problem) => problem.code ?? "CONFIG_INVALID"));
  const [code = "CONFIG_INVALID"] = codes.size === 1 ? codes : [];
  const lines = problems.slice(0, MAX_SHOWN).map(problemLine);
  if (problems.length > MAX_SHOWN) lines.push(`… and ${problems.length - MAX_SHOWN} more`);
  const first = problems[0];
  return new AppError(code, lines.join("\n"), {
    details: {
      ...first?.place,
      problems: problems.slice(0, 50).map(({ place, path, message }) => ({ ...place, path, message })),
    },
  });
}

/** `FILE:LINE:COLUMN: what is wrong`, a form that editors and terminals make a link of. */
export function problemLine(problem: Problem): string {
  return problem.place === null ? problem.message : `${placeText(problem.place)}: ${problem.message}`;
}

function placeText(place: Place): string {
  return `${place.file}:${place.line}:${place.column}`;
}
