import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parsePlanText, readPlanFile } from "../../src/cli/plan-file.ts";
import { AppError } from "../../src/errors.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "orchestrator-plan-file-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function* chunks(...parts: (string | Buffer)[]): AsyncGenerator<string | Buffer> {
  await Promise.resolve();
  yield* parts;
}

const write = (name: string, content: string | Buffer): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const read = (path: string): Promise<Record<string, unknown>> => readPlanFile(path, chunks());
const refusalOf = async (act: Promise<unknown>): Promise<AppError> => {
  const thrown: unknown = await act.then(
    () => null,
    (error: unknown) => error,
  );
  if (!(thrown instanceof AppError)) throw new Error(`not refused as expected: ${String(thrown)}`);
  expect(thrown.code).toBe("PLAN_UNREADABLE");
  return thrown;
};

describe("a plan file is read, whatever it is written in", () => {
  test("JSON, YAML, JSON with a byte order mark, YAML on standard input in pieces", async () => {
    expect(await read(write("a.json", '{"tasks":[]}'))).toEqual({ tasks: [] });
    expect(await read(write("a.yaml", "tasks:\n  - id: a\n"))).toEqual({ tasks: [{ id: "a" }] });
    expect(await read(write("bom.json", '\uFEFF{"tasks":[]}'))).toEqual({ tasks: [] });
    expect(await readPlanFile("-", chunks("tas", Buffer.from("ks: ["), "]"))).toEqual({ tasks: [] });
    expect(await read(write("flow.yml", "{tasks: [{id: a}]}"))).toEqual({ tasks: [{ id: "a" }] });
  });

  test("a letter cut by the pipe's buffer is whole again", async () => {
    const bytes = Buffer.from("goal: größe");
    expect(await readPlanFile("-", chunks(bytes.subarray(0, 9), bytes.subarray(9)))).toEqual({ goal: "größe" });
  });
});

describe("what can't be a plan is refused with what is wrong and where", () => {
  test("JSON: line and column", async () => {
    const error = await refusalOf(read(write("bad.json", '{\n  "tasks": [\n    {"id": "a",}\n  ]\n}')));
    expect(error.message).toMatch(/bad\.json:3:\d+: not JSON: /);
    expect(error.details).toMatchObject({ line: 3 });
  });

  test("JSON that just ends", async () => {
    expect((await refusalOf(read(write("cut.json", '{"tasks": ')))).message).toMatch(/cut\.json:1:\d+: not JSON/);
  });

  test("YAML: line and column", async () => {
    const error = await refusalOf(read(write("bad.yaml", "tasks:\n  - id: a\n   prompt: [b\n")));
    expect(error.message).toMatch(/bad\.yaml:\d+:\d+: not YAML: /);
    expect(error.message).not.toContain("\n");
  });

  test("a key given twice", async () => {
    expect((await refusalOf(read(write("twice.yaml", "goal: a\ngoal: b\n")))).message).toContain("twice.yaml:2:1");
  });

  test("aliases that would grow without end", async () => {
    const bomb = [
      "a: &a [x,x,x,x,x,x,x,x,x]",
      ..."bcdefgh".split("").map(
        (name, index) =>
          `${name}: &${name} [${Array(9)
            .fill(`*${"abcdefg"[index] ?? "a"}`)
            .join()}]`,
      ),
    ];
    expect((await refusalOf(read(write("bomb.yaml", bomb.join("\n"))))).message).toContain("alias");
  });

  test.each([
    ["missing", () => join(folder, "nowhere.json"), "there is no file"],
    ["below a file", () => join(write("file", "x"), "x.json"), "there is no file"],
    ["empty", () => write("empty.json", " \n"), "is empty"],
    ["not text", () => write("bytes.json", Buffer.from([0x7b, 0xff, 0xfe])), "is not UTF-8"],
    ["a list", () => write("list.json", "[1]"), "holds a list"],
    ["a word", () => write("word.yaml", "hello"), "holds a string"],
    ["nothing", () => write("nothing.yaml", "# only a comment"), "holds nothing"],
  ])("%s", async (_what, path, message) => expect((await refusalOf(read(path()))).message).toContain(message));

  test("a folder", async () => {
    const path = join(folder, "sub");
    mkdirSync(path);
    expect((await refusalOf(read(path))).message).toContain("is a folder");
  });

  test("more than 64 MB, without reading it", async () => {
    const path = write("big.json", "");
    truncateSync(path, 64 * 1024 * 1024 + 1);
    expect((await refusalOf(read(path))).message).toContain("larger than 64 MB");
  });

  test("an endless standard input ends at 64 MB", async () => {
    const megabyte = Buffer.alloc(1024 * 1024, 32);
    async function* endless(): AsyncGenerator<Buffer> {
      await Promise.resolve();
      for (;;) yield megabyte;
    }
    expect((await refusalOf(readPlanFile("-", endless()))).message).toContain("larger than 64 MB");
  });

  test("JSON's own error is told when a text that looks like JSON is neither", async () => {
    const error = await refusalOf(parsePlanText({ text: '{"a": [}', name: "standard input", isJson: false }));
    expect(error.message).toContain("not JSON");
  });
});
