/** DESIGN 9: `orchestrator doctor` beside the real agent CLIs. */
import { mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { CLI_NAMES } from "./support/models.ts";
import { PROGRAMS, World } from "./support/world.ts";

let world: World;

afterEach(async () => {
  await world.leave();
});

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly message: string;
  readonly fix: string | null;
}

async function doctor(env: Record<string, string>): Promise<{ code: number | null; findings: Finding[] }> {
  const { exitCode, stdout } = await world.orchestrator(["doctor", "--json"], env);
  return { code: exitCode, findings: (JSON.parse(stdout) as { findings: Finding[] }).findings };
}

function environment(): Record<string, string> {
  const bin = join(world.folder, "bin");
  mkdirSync(bin);
  for (const cli of CLI_NAMES) symlinkSync(PROGRAMS[cli], join(bin, cli));
  const all = world.environment();
  return { ...all, PATH: `${bin}:${all["PATH"] ?? ""}` };
}

/** Everything of the user's. */
function names(): string[] {
  return readdirSync(world.folder, { recursive: true, encoding: "utf8" }).toSorted();
}

test("versions, sandbox and variables of each CLI are told, before and after init, and nothing is left behind", async () => {
  world = await World.open();
  const env = environment();
  const before = names();
  const first = await doctor(env);
  expect(first.code).toBe(0);
  const find = (findings: readonly Finding[], check: string, text = ""): Finding | undefined =>
    findings.find((finding) => finding.check === check && finding.message.includes(text));
  expect(find(first.findings, "claude")?.message).toMatch(/2\.1\.329 .*; passes on .*ANTHROPIC_API_KEY/);
  expect(find(first.findings, "codex")?.message).toMatch(
    /codex-cli 0\.169\.0 .*; its sandbox (works|does not work here)/,
  );
  expect(find(first.findings, "goose")?.message).toContain("1.52.0");
  expect(JSON.stringify(first)).not.toContain("dummy-key");
  for (const name of ["Claude Code", "Codex", "Goose"]) {
    expect(find(first.findings, "registered", name)).toMatchObject({ level: "ok", fix: "orchestrator init" });
  }
  expect(names()).toEqual(before);

  expect((await world.orchestrator(["init", "--yes"], env)).exitCode).toBe(0);
  const second = await doctor(env);
  for (const name of ["Claude Code", "Codex", "Goose"]) {
    expect(find(second.findings, "registered", name)).toMatchObject({ level: "ok", fix: null });
  }
  expect(find(second.findings, "hooks")?.message).toContain("installed in");
  rmSync(join(world.folder, "home", ".codex", "config.toml"));
  world.put("home/.claude.json", '{"mcpServers":{"orchestrator-mcp":{"command":"/gone/node","args":[]}}}');
  const third = await doctor(env);
  expect(find(third.findings, "registered", "Claude Code")).toMatchObject({ level: "warn", fix: "orchestrator init" });
});
