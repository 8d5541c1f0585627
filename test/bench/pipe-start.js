// How soon the pipe has answered its host, against an empty program: from the spawn to the answer of a ping, in a
// repository whose engine runs. DESIGN 2.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const title = "The pipe is ready";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
const cli = join(dist, "cli", "main.js");
const pipe = join(dist, "engine", "pipe-main.cjs");
const initializeParams = {
  protocolVersion: "2025-06-18",
  capabilities: {},
  clientInfo: { name: "bench", version: "1" },
};

export async function open() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-bench-")));
  const repository = join(folder, "repository");
  const elsewhere = join(folder, "elsewhere");
  const environment = { PATH: process.env.PATH, HOME: folder, ORCHESTRATOR_HOME: join(folder, "home") };
  mkdirSync(elsewhere);
  writeFileSync(join(folder, "empty.mjs"), "");
  writeFileSync(join(folder, "answer.cjs"), 'process.stdin.on("data", () => process.stdout.write("{}\\n"));\n');
  execFileSync("git", ["init", "--quiet", repository]);
  const identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.test"];
  execFileSync("git", ["-C", repository, ...identity, "commit", "--quiet", "--allow-empty", "--message=first"]);
  // A client that stays: an engine without plans goes with its last one.
  const client = spawn(process.execPath, [pipe], {
    cwd: repository,
    env: environment,
    stdio: ["pipe", "pipe", "ignore"],
  });
  client.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: initializeParams })}\n`);
  await new Promise((resolve) => client.stdout.once("data", resolve));
  const answered = (args, request, cwd = repository) => ({
    run: () => answerMs(args, request, { cwd, env: environment }),
  });
  return {
    cases: [
      { name: "an empty program", ...answered([join(folder, "empty.mjs")], { method: "ping" }) },
      { name: "a program that only answers", ...answered([join(folder, "answer.cjs")], { method: "ping" }) },
      { name: "orchestrator-mcp", promised: 1.05, ...answered([pipe], { method: "ping" }) },
      { name: "orchestrator mcp", ...answered([cli, "mcp"], { method: "ping" }) },
      {
        name: "… until an engine's `initialize`",
        ...answered([pipe], { method: "initialize", params: initializeParams }),
      },
      {
        name: "… until its own, without a repository",
        ...answered([pipe], { method: "initialize", params: initializeParams }, elsewhere),
      },
    ],
    close: () => {
      execFileSync(process.execPath, [cli, "stop"], { cwd: repository, env: environment, stdio: "ignore" });
      client.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** From the spawn to the first line of output, or to the end of a program that says nothing. */
function answerMs(args, request, options) {
  return new Promise((resolve, reject) => {
    const beganMs = performance.now();
    const child = spawn(process.execPath, args, { ...options, stdio: ["pipe", "pipe", "ignore"] });
    let tookMs = null;
    const note = () => (tookMs ??= performance.now() - beganMs);
    child.on("error", reject);
    // The empty program is gone before it reads.
    child.stdin.on("error", () => undefined);
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, ...request })}\n`);
    child.stdout.once("data", () => {
      note();
      child.stdin.end();
    });
    child.on("exit", note);
    child.on("close", () => resolve(tookMs));
  });
}
