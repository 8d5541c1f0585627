/** DESIGN 1, M2: this repository as a plugin of the real Claude Code. */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { PIPE, PROGRAMS, World } from "./support/world.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What the npm package and a checkout both have of it. */
const PARTS = [".claude-plugin", "commands", "hooks", "mcp.json"];

let world: World;

afterEach(async () => {
  await world.leave();
});

/** The plugin, with a stand-in for npx that starts this build. */
function plugin(): { folder: string; env: Record<string, string> } {
  const folder = join(world.folder, "plugin");
  for (const part of PARTS) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  const bin = join(world.folder, "bin");
  mkdirSync(bin);
  executable(join(bin, "npx"), `test "$*" = "-y orchestrator-mcp" && exec '${process.execPath}' '${PIPE}'`);
  const all = world.environment();
  return { folder, env: { ...all, PATH: `${bin}:${all["PATH"] ?? ""}` } };
}

function executable(file: string, script: string): void {
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

function print(folder: string, env: Record<string, string>, prompt: string): ReturnType<World["run"]> {
  const args = ["--print", `--plugin-dir=${folder}`, "--allowedTools=mcp__plugin_orchestrator-mcp_orchestrator-mcp"];
  return world.run(PROGRAMS.claude, args, { stdin: prompt, env });
}

test("claude plugin validate --strict passes, and the package ships all of it under its own version", async () => {
  world = await World.open({ clis: ["claude"] });
  const { folder } = plugin();
  const validated = await world.run(PROGRAMS.claude, ["plugin", "validate", "--strict", folder]);
  expect(validated.exitCode, validated.stdout + validated.stderr).toBe(0);
  const read = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(ROOT, name), "utf8")) as Record<string, unknown>;
  expect(read(".claude-plugin/plugin.json")["version"]).toBe(read("package.json")["version"]);
  for (const part of PARTS) expect(read("package.json")["files"]).toContain(part);
});

test("a session with the plugin has the tools in sight, the commands, and no word from hooks where no plan is", async () => {
  world = await World.open({ clis: ["claude"] });
  const { folder, env } = plugin();
  const model = world.model("claude");
  model.setScript(() => ({ say: "done" }));
  const run = await print(folder, env, "/orchestrator-mcp:plan Add rate limiting");
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  const [turn] = model.turns;
  expect(turn?.tools).toContain("mcp__plugin_orchestrator-mcp_orchestrator-mcp__create_plan");
  expect(turn?.everything).toContain("Add rate limiting");
  expect(turn?.everything).toContain("dryRun: true");
  expect(turn?.everything).not.toContain("has plans in this repository");
  expect(model.turns).toHaveLength(1);
});

test("a session that begins beside a plan is told of it", async () => {
  world = await World.open({ clis: ["claude"] });
  const { folder, env } = plugin();
  const prompt = `until test -e '${world.folder}/go-on'; do sleep 0.1; done`;
  await world.createPlan({ name: "under-way", tasks: [{ id: "a", agent: "command", prompt, writes: [] }] });
  const model = world.model("claude");
  model.setScript(() => ({ say: "done" }));
  expect((await print(folder, env, "hello")).exitCode).toBe(0);
  expect(model.turns[0]?.everything).toContain("orchestrator-mcp has plans in this repository");
  expect(model.turns[0]?.everything).toContain("under-way");
  world.put("go-on", "");
});

test("a turn that ends beside an unanswered question goes on once, with the question, and then ends", async () => {
  world = await World.open({ clis: ["claude"] });
  const { folder, env } = plugin();
  // Starts the engine; what it says of questions is then a stand-in's.
  await world.call("task_status", {});
  const program = join(world.stateFolder, "bin", "orchestrator");
  expect(existsSync(program)).toBe(true);
  const block = JSON.stringify({ decision: "block", reason: "An agent waits: question q1, SLIDING-OR-FIXED" });
  executable(
    program,
    `test "$2" = stop || exit 0\ngrep -q '"stop_hook_active":false' && printf '%s' '${block}'\nexit 2`,
  );
  const model = world.model("claude");
  model.setScript(() => ({ say: "done" }));
  const run = await print(folder, env, "hello");
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  expect(model.turns).toHaveLength(2);
  expect(model.turns[1]?.everything).toContain("SLIDING-OR-FIXED");
});
