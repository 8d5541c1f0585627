/** DESIGN 9, M2: after `orchestrator init --yes` the real agent CLIs have our server, with nothing else to be done. */
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { CLI_NAMES, type CliName } from "./support/models.ts";
import { PROGRAMS, World, type Finished } from "./support/world.ts";

let world: World;

afterEach(async () => {
  await world.leave();
});

/** The user's shell, with the CLIs on its PATH. */
function environment(clis: readonly CliName[], more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const bin = join(world.folder, "bin");
  mkdirSync(bin, { recursive: true });
  for (const cli of clis) symlinkSync(PROGRAMS[cli], join(bin, cli));
  const all = world.environment();
  return { ...all, PATH: `${bin}:${all["PATH"] ?? ""}`, ...more };
}

/** A headless turn whose model looks at the plans; answers what the model saw of them. */
async function askForPlans(cli: CliName, env: Record<string, string>): Promise<string> {
  const args: Readonly<Record<CliName, readonly string[]>> = {
    claude: ["--print", "--allowedTools=mcp__orchestrator-mcp"],
    codex: ["exec", "-"],
    goose: ["run", "--instructions=-"],
  };
  const model = world.model(cli);
  model.setScript(({ results }) => {
    if (cli === "codex" && results.length === 0) return { search: "orchestrator plan status" };
    if (results.length === (cli === "codex" ? 1 : 0)) return { tool: "task_status", input: {} };
    return { say: "seen" };
  });
  const run: Finished = await world.run(PROGRAMS[cli], args[cli], { stdin: "How do the plans stand?", env });
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  expect(model.errors).toEqual([]);
  return model.turns.at(-1)?.results.at(-1) ?? "";
}

test.each(CLI_NAMES)("M2: %s calls our tools after init, and does not know them after undo", async (cli) => {
  world = await World.open({ clis: [cli] });
  const env = environment([cli]);
  const codexBefore = cli === "codex" ? readFileSync(join(world.home, ".codex", "config.toml"), "utf8") : "";
  const done = await world.orchestrator(["init", "--yes"], env);
  expect(done.exitCode, done.stdout + done.stderr).toBe(0);
  if (cli !== "goose") {
    const listed = await world.run(PROGRAMS[cli], ["mcp", "list"], { env });
    expect(listed.stdout).toMatch(cli === "claude" ? /orchestrator-mcp: .*Connected/ : /orchestrator-mcp .*enabled/);
  }
  expect(await askForPlans(cli, env)).toContain("There are no plans");
  // Its own tools are still there.
  const { tools = [] } = world.model(cli).turns.at(-1) ?? {};
  const own = { claude: "Bash", codex: "exec_command", goose: "shell" }[cli];
  expect(tools).toContain(own);
  // Claude's are in sight without a search; Codex has no such switch.
  if (cli === "claude") expect(tools).toContain("mcp__orchestrator-mcp__create_plan");

  const again = await world.orchestrator(["init", "--yes", "--json"], env);
  const { steps } = JSON.parse(again.stdout) as { steps: { what: string; action: string }[] };
  expect(steps.filter(({ action }) => action === "change" || action === "create")).toEqual([]);

  const undone = await world.orchestrator(["init", "--undo", "--yes"], env);
  expect(undone.exitCode, undone.stdout + undone.stderr).toBe(0);
  if (cli === "goose") return;
  const listed = await world.run(PROGRAMS[cli], ["mcp", "list"], { env });
  expect(listed.stdout).not.toContain("orchestrator-mcp");
  if (cli === "codex") expect(readFileSync(join(world.home, ".codex", "config.toml"), "utf8")).toBe(codexBefore);
});

test("CLAUDE_CONFIG_DIR, CODEX_HOME and GOOSE_PATH_ROOT say where the files are", async () => {
  world = await World.open({ clis: ["claude", "codex", "goose"] });
  const moved = (name: string): string => join(world.folder, "moved", name);
  const env = environment(["claude", "codex", "goose"], {
    CLAUDE_CONFIG_DIR: moved("claude"),
    CODEX_HOME: moved("codex"),
    GOOSE_PATH_ROOT: moved("goose"),
  });
  world.put("moved/codex/config.toml", world.model("codex").codexConfig());
  mkdirSync(moved("claude"), { recursive: true });
  const done = await world.orchestrator(["init", "--yes"], env);
  expect(done.exitCode, done.stdout + done.stderr).toBe(0);
  for (const cli of CLI_NAMES) expect(await askForPlans(cli, env), cli).toContain("There are no plans");
});

test("what Codex can't read is left, with its words; a server of our name by hand is left too", async () => {
  world = await World.open({ clis: ["codex"] });
  const env = environment(["codex"]);
  world.put("home/.codex/config.toml", "a = [\n");
  const broken = await world.orchestrator(["init", "--yes"], env);
  expect(broken.exitCode).toBe(1);
  expect(broken.stdout).toMatch(/left .*config.toml.*Codex can't read it: /);
  expect(readFileSync(join(world.home, ".codex", "config.toml"), "utf8")).toBe("a = [\n");
  const byHand = 'mcp_servers = { "orchestrator-mcp" = { command = "mine" } }\n';
  world.put("home/.codex/config.toml", byHand);
  const foreign = await world.orchestrator(["init", "--yes"], env);
  expect(foreign.stdout).toContain("`mine`; that is not ours to change");
  const inline = 'mcp_servers = { other = { command = "mine" } }\n';
  world.put("home/.codex/config.toml", inline);
  const refused = await world.orchestrator(["init", "--yes"], env);
  expect(refused.stdout).toMatch(/left .*config.toml/);
  expect(readFileSync(join(world.home, ".codex", "config.toml"), "utf8")).toBe(inline);
});
