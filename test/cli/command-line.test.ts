import { describe, expect, test } from "vitest";
import { parseCommandLine, wholeNumber } from "../../src/cli/command-line.ts";
import { EXIT, EXIT_OF_ERROR, exitCodeOf, exitCodeOfPlan } from "../../src/cli/exit-codes.ts";
import { overallHelp, verbHelp } from "../../src/cli/help.ts";
import { textOf } from "../../src/cli/styled.ts";
import { LATER_VERBS, VERBS } from "../../src/cli/verbs.ts";
import { AppError, ERROR_CODES, type ErrorCode } from "../../src/errors.ts";

function verbNamed(name: string): (typeof VERBS)[number] {
  const verb = VERBS.find((candidate) => candidate.name === name);
  if (verb === undefined) throw new Error(name);
  return verb;
}

const parse = (name: string, ...words: string[]): ReturnType<typeof parseCommandLine> =>
  parseCommandLine(verbNamed(name), words);
const refusal = (act: () => unknown): AppError => {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown;
    throw thrown;
  }
  throw new Error("it was not refused");
};

describe("a command line is understood, or refused with what was probably meant", () => {
  test("options may stand before, between and behind the words", () => {
    const invocation = parse("run", "--repo", "/x", "plan.json", "--concurrent=3", "--json");
    expect(invocation.positionals).toEqual(["plan.json"]);
    expect([invocation.repo, invocation.json, invocation.text("concurrent")]).toEqual(["/x", true, "3"]);
  });

  test("a repeated option that may be repeated keeps all its values", () => {
    expect(parse("spawn", "do it", "--writes", "a", "--writes", "b").texts("writes")).toEqual(["a", "b"]);
    expect(refusal(() => parse("run", "f", "--into", "a", "--into", "b")).message).toContain("twice");
  });

  test("what begins with a dash is a word after --", () => {
    expect(parse("spawn", "--", "-v is broken").positionals).toEqual(["-v is broken"]);
    expect(parse("spawn", "/review it").positionals).toEqual(["/review it"]);
    expect(parse("run", "-").positionals).toEqual(["-"]);
  });

  test.each([
    [["run", "f", "--concurent", "3"], "Did you mean --concurrent?"],
    [["run", "f", "-x"], "has no option -x"],
    [["run", "f", "--concurrent"], "--concurrent needs a value (N)"],
    [["run", "f", "--into", "--json"], "--into needs a value"],
    [["run", "f", "--json=yes"], "--json takes no value"],
    [["run"], "FILE is missing"],
    [["run", "a", "b"], "one word too many"],
    [["spawn", "fix", "the", "bug"], "quote a text that has spaces"],
    [["ps", "x"], "one word too many"],
    [["run", "f", "--repo", ""], "--repo needs a value"],
    [["run", "f", "--__proto__", "x"], "has no option --__proto__"],
  ])("%j: %s", ([name = "", ...words], message) => {
    const error = refusal(() => parse(name, ...words));
    expect(error.code).toBe("USAGE");
    expect(error.message).toContain(message);
  });

  test.each(["0", "-1", "x", "1.5", "1e3", "", " 1", "99999999999999999999", "0x2"])(
    "P2: --concurrent %j is refused",
    (value) => {
      const error = refusal(() => wholeNumber("concurrent", value, 1, 1000));
      expect(error.message).toContain("--concurrent must be a whole number from 1 to 1000");
    },
  );

  test("P2: --concurrent takes whole numbers", () => expect(wholeNumber("concurrent", "12", 1, 1000)).toBe(12));
});

describe("the table of verbs", () => {
  test("each verb can be loaded, and is named once", async () => {
    for (const verb of VERBS) if (verb.name !== "mcp") expect(await verb.load()).toBeTypeOf("function");
    const names = [...VERBS.map((verb) => verb.name), ...LATER_VERBS];
    expect(new Set(names).size).toBe(names.length);
  });

  test("the help tells of every verb and every option, in lines that fit a terminal", () => {
    const overall = overallHelp(VERBS).map(textOf);
    for (const verb of VERBS) {
      expect(overall.some((line) => line.trim().startsWith(`${verb.name} `))).toBe(verb.isHidden !== true);
      const help = verbHelp(verb).map(textOf);
      for (const option of Object.keys(verb.options))
        expect(help.some((line) => line.includes(`--${option}`))).toBe(true);
      for (const line of [...overall, ...help]) expect(line.length).toBeLessThanOrEqual(120);
    }
  });
});

describe("exit codes", () => {
  test("each error code has one, from the promised list", () => {
    expect(Object.keys(EXIT_OF_ERROR).sort()).toEqual(Object.keys(ERROR_CODES).sort());
    const promised: readonly number[] = [EXIT.usage, EXIT.cannotRun];
    for (const code of Object.keys(ERROR_CODES)) expect(promised).toContain(exitCodeOf(code as ErrorCode));
  });

  test("a plan's state has one", () => {
    expect((["succeeded", "failed", "needs-person"] as const).map(exitCodeOfPlan)).toEqual([0, 1, 4]);
  });
});
