import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { transformWithOxc } from "vite";

/** The server as a process of its own, as Goose starts it, in a repository. */
let folder: string;
let repository: string;
let server: ChildProcess;
let lines: Interface;
let nextId = 1;

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "goose-read-")));
  repository = join(folder, "repository");
  mkdirSync(join(repository, "src"), { recursive: true });
  writeFileSync(join(folder, "secret"), "secret\n");
  writeFileSync(join(repository, "src/a.ts"), "one\ntwo\nthree\n");
  writeFileSync(join(repository, "bin"), Buffer.from([1, 0, 2]));
  writeFileSync(join(repository, ".gitignore"), "ignored\n");
  symlinkSync(join(folder, "secret"), join(repository, "link"));
  git("init", "-q", "-b", "main");
  git("add", "-A");
  git("commit", "-q", "-m", "first");
  writeFileSync(join(repository, "new.ts"), "fresh\n");
  writeFileSync(join(repository, "ignored"), "x\n");
  const source = fileURLToPath(new URL("../../src/agents/goose-read-server.ts", import.meta.url));
  const { code } = await transformWithOxc(readFileSync(source, "utf8"), source);
  const file = join(folder, "server.mjs");
  writeFileSync(file, code);
  const args = [file, "read_file,list_files,search,git"];
  // The hostile variable shows that the caller's git environment does not lead the server elsewhere.
  const env = { ...process.env, GIT_DIR: join(folder, "nowhere") };
  server = spawn(process.execPath, args, { cwd: repository, env, stdio: ["pipe", "pipe", "inherit"] });
  if (server.stdout === null) throw new Error("no stdout");
  lines = createInterface({ input: server.stdout });
});

afterAll(async () => {
  const ended = new Promise((done) => server.once("exit", done));
  // It ends by itself when its input ends, as at the end of a Goose run.
  server.stdin?.end();
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

function git(...args: string[]): string {
  const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"];
  return execFileSync("git", [...identity, ...args], { cwd: repository, encoding: "utf8" });
}

interface Answer {
  readonly id: number;
  readonly result?: { isError?: boolean; content: { text: string }[]; tools?: { name: string }[] };
  readonly error?: { code: number };
}

async function send(method: string, params: unknown = {}): Promise<Answer> {
  const id = nextId;
  nextId += 1;
  const answered = new Promise<string>((line) => lines.once("line", line));
  server.stdin?.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
  const answer = JSON.parse(await answered) as Answer;
  expect(answer.id).toBe(id);
  return answer;
}

async function call(name: string, args: unknown): Promise<{ isError: boolean; text: string }> {
  const { result } = await send("tools/call", { name, arguments: args });
  return { isError: result?.isError ?? false, text: result?.content[0]?.text ?? "" };
}

describe("what a reading role of Goose can do", () => {
  it("an unknown method gets an error at once, for Goose waits for it", async () => {
    expect((await send("server/discover")).error?.code).toBe(-32601);
  });

  it("offers its four tools", async () => {
    const { result } = await send("tools/list");
    expect(result?.tools?.map((tool) => tool.name)).toEqual(["read_file", "list_files", "search", "git"]);
  });

  it("reads a file, whole or in part", async () => {
    expect((await call("read_file", { path: "src/a.ts" })).text).toBe("one\ntwo\nthree\n");
    expect((await call("read_file", { path: "src/a.ts", from_line: 2, line_count: 1 })).text).toBe("two");
    expect((await call("read_file", { path: "bin" })).text).toMatch(/binary file of 3 bytes/);
  });

  it("lists tracked and new files, and searches them", async () => {
    expect((await call("list_files", {})).text.split("\n")).toEqual(expect.arrayContaining(["src/a.ts", "new.ts"]));
    expect((await call("list_files", {})).text).not.toContain("ignored\n");
    expect((await call("search", { pattern: "^t(wo|hree)$" })).text).toBe("src/a.ts:2:two\nsrc/a.ts:3:three\n");
    expect((await call("search", { pattern: "fresh" })).text).toBe("new.ts:1:fresh\n");
    expect(await call("search", { pattern: "nothing like it" })).toEqual({ isError: false, text: "(nothing)" });
  });

  it("shows history and changes", async () => {
    expect((await call("git", { command: "log", arguments: ["--oneline", "-n", "1"] })).text).toContain("first");
    expect((await call("git", { command: "status", arguments: ["--short"] })).text).toContain("?? new.ts");
    expect((await call("git", { command: "show", arguments: ["--stat", "HEAD", "--", "src"] })).text).toContain("a.ts");
  });
});

describe("what it refuses", () => {
  it.each([
    ["read_file", { path: "../secret" }],
    ["read_file", { path: "link" }],
    ["read_file", { path: "/etc/passwd" }],
    ["read_file", { path: "src" }],
    ["read_file", { path: "missing" }],
    ["read_file", {}],
    ["search", { pattern: "" }],
    ["search", { pattern: 3 }],
    ["git", { command: "commit", arguments: ["--allow-empty", "-m", "x"] }],
    ["git", { command: "log", arguments: ["--output=owned"] }],
    ["git", { command: "diff", arguments: ["--outp=owned", "HEAD"] }],
    ["git", { command: "diff", arguments: ["--ext-diff"] }],
    ["git", { command: "show", arguments: ["--textconv"] }],
    ["git", { command: "log", arguments: ["-c", "alias.x=!touch owned"] }],
    ["git", { command: "log", arguments: "--oneline" }],
    ["git", { command: "-c" }],
    ["write_file", { path: "x" }],
    ["toString", {}],
  ])("%s %j", async (name, args) => {
    const before = git("status", "--porcelain", "--ignored");
    const { isError, text } = await call(name, args);
    expect(isError).toBe(true);
    expect(text).not.toBe("");
    expect(git("status", "--porcelain", "--ignored")).toBe(before);
    expect(git("rev-list", "--count", "HEAD")).toBe("1\n");
  });

  it("input that is no JSON does not end it", async () => {
    server.stdin?.write("not json\n\n");
    expect((await send("ping")).result).toEqual({});
  });
});
