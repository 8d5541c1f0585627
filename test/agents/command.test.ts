import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AgentEvent, ProcessEnd, TurnCommand, TurnEnd, TurnRequest } from "../../src/agents/backend.ts";
import { commandBackend } from "../../src/agents/command.ts";
import { cut, turnRequest } from "./turn-request.ts";

let folder = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "command-agent-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function build(change: Partial<TurnRequest>): Promise<TurnCommand> {
  const provider = await commandBackend.locate({ name: "command", kind: "command", command: "sh", args: [] }, "/bin");
  return commandBackend.buildTurn(turnRequest({ worktree: folder, scratchDir: folder, ...change }), provider);
}

async function run(
  prompt: string,
  change: Partial<TurnRequest> = {},
): Promise<{ events: AgentEvent[]; end: TurnEnd; command: TurnCommand }> {
  const command = await build({ prompt, ...change });
  for (const file of command.files) await writeFile(file.path, file.content, { mode: 0o600 });
  const reader = commandBackend.readTurn(turnRequest(change));
  const events: AgentEvent[] = [];
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: { PATH: process.env["PATH"], ...command.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderrTail = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => events.push(...reader.readStdout(chunk)));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderrTail += chunk;
    events.push(...reader.readStderr(chunk));
  });
  const end = await new Promise<ProcessEnd>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (exitCode, signal) => resolve({ exitCode, signal, stderrTail }));
  });
  return { events, end: reader.end(end, 0), command };
}

function texts(events: readonly AgentEvent[]): string[] {
  return events.map((event) => (event.type === "text" ? event.text : `(${event.type})`));
}

test("a command works in the worktree; exit code 0 is success and its output its last words", async () => {
  const { events, end } = await run("echo one > made.txt\npwd\necho done");
  expect(await readFile(join(folder, "made.txt"), "utf8")).toBe("one\n");
  expect(texts(events)).toEqual([folder, "done"]);
  expect(end).toMatchObject({ outcome: "succeeded", finalText: `${folder}\ndone`, sessionId: null, usage: null });
});

test("its temporary files are the attempt's own", async () => {
  expect((await run('echo "$TMPDIR"')).end.finalText).toBe(folder);
});

test("the command is never on the command line, and its programs have an empty stdin", async () => {
  const { end, command } = await run("-secret-words 2>/dev/null; cat; echo after cat; IFS= read -r x || echo no input");
  expect(end).toMatchObject({ outcome: "succeeded", finalText: "after cat\nno input" });
  expect(JSON.stringify([command.args, command.env])).not.toContain("secret-words");
  expect(command.stdin).toBeNull();
});

test("a command longer than any argument may be is run", async () => {
  const { end } = await run(`: ${"x".repeat(300_000)}\necho done`);
  expect(end).toMatchObject({ outcome: "succeeded", finalText: "done" });
});

test("another exit code is the task's own failure, in the command's words", async () => {
  expect((await run("echo out; echo 'two tests failed' >&2; exit 3")).end).toMatchObject({
    outcome: "failed",
    cause: "command-failed",
    message: "the command ended with exit code 3: two tests failed",
    finalText: "out",
  });
  expect((await run("echo only out; exit 1")).end).toMatchObject({
    message: "the command ended with exit code 1: only out",
  });
});

test("a program that is missing, not executable or killed is named as such", async () => {
  expect((await run("no-such-program-here")).end).toMatchObject({
    cause: "command-failed",
    message: expect.stringMatching(/127 \(a program in it was not found\).*no-such-program-here/),
    remedy: expect.stringContaining("PATH"),
  });
  expect((await run("echo x > plain; ./plain")).end).toMatchObject({
    message: expect.stringContaining("126 (a program in it can't be executed)"),
    remedy: expect.stringContaining("chmod"),
  });
  expect((await run("sh -c 'kill -9 $$'")).end).toMatchObject({
    cause: "command-failed",
    message: expect.stringContaining("137 (a program in it was ended by signal 9)"),
  });
});

test("a shell that is killed is a crash", async () => {
  expect((await run("echo begun; kill -9 $$")).end).toMatchObject({
    outcome: "failed",
    cause: "crashed",
    message: "the command was ended by SIGKILL: begun",
    finalText: "begun",
  });
});

test("a flood of output is told line by line and only its end is kept", async () => {
  const { events, end } = await run("yes abcdefghi | head -n 200000; printf '%0100000d\\n' 7; echo last");
  expect(events).toHaveLength(200_000 + 25 + 1);
  expect(end.finalText.length).toBeLessThan(17_000);
  expect(end.finalText).toMatch(/^…0+7\nlast$/);
});

test("what only stderr has counts as last words too", async () => {
  expect((await run("echo words >&2")).end).toMatchObject({ outcome: "succeeded", finalText: "words" });
});

test("a command can give a structured answer; anything else is no result", async () => {
  const outputSchema = { type: "object" };
  expect((await run("echo '{\"tasks\": []}'", { outputSchema })).end).toMatchObject({
    outcome: "succeeded",
    structured: { tasks: [] },
  });
  expect((await run("echo no", { outputSchema })).end).toMatchObject({ outcome: "failed", cause: "no-result" });
});

test("an empty command and one with a NUL are refused before anything starts", async () => {
  for (const prompt of ["", " \n", "echo a\0b"]) {
    await expect(build({ prompt })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  }
});

test("a shell that is missing is told with what to set", async () => {
  const provider = { name: "mine", kind: "command", command: "no-such-shell", args: [] } as const;
  await expect(commandBackend.locate(provider, "/bin")).rejects.toMatchObject({
    code: "AGENT_CLI_MISSING",
    message: expect.stringMatching(/mine.*no-such-shell.*providers\.<name>\.command/),
  });
});

test("any cut of the output gives the same events and the same last words", () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constant("\r\n"),
    fc.constant("\n"),
    fc.constant("x".repeat(5000)),
    fc.constant("line\n".repeat(5000)),
  );
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat(), { maxLength: 20 }), (pieces, places) => {
      const read = (chunks: readonly string[]): unknown => {
        const reader = commandBackend.readTurn(turnRequest());
        const events = chunks.flatMap((chunk) => reader.readStdout(chunk));
        return [events, reader.end({ exitCode: 0, signal: null, stderrTail: "" }, 0)];
      };
      const text = pieces.join("");
      expect(read(cut(text, places))).toEqual(read([text]));
    }),
    { numRuns: 200 },
  );
});
