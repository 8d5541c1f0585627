/** DESIGN 9: what `orchestrator doctor` finds, and that looking changes nothing. */
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground } from "./engine-support.ts";
import { runCli, type CliOptions } from "./run-cli.ts";

let ground: Ground;

beforeEach(() => {
  ground = new Ground();
});

afterEach(async () => {
  await ground.leave();
});

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly message: string;
  readonly fix: string | null;
}

interface Diagnosis {
  readonly code: number;
  readonly findings: readonly Finding[];
}

async function doctor({ env, ...options }: CliOptions = {}): Promise<Diagnosis> {
  const PATH = `${dirname(process.execPath)}:/usr/bin:/bin`;
  const ran = await runCli(ground.main, ["doctor", "--json"], { ...options, env: { PATH, ...env } });
  return { code: ran.code, findings: (JSON.parse(ran.stdout) as Diagnosis).findings };
}

function finding({ findings }: Diagnosis, check: string): Finding | undefined {
  return findings.find((candidate) => candidate.check === check);
}

const everything = (): string[] => readdirSync(ground.folder, { recursive: true, encoding: "utf8" }).toSorted();

test("looking makes nothing, in a repository without plans and outside of one", async () => {
  const before = everything();
  expect((await doctor()).code).toBe(0);
  expect((await doctor({ cwd: ground.folder })).code).toBe(3);
  expect(everything()).toEqual(before);
});

test("each finding that is not well names what mends it", async () => {
  ground.main.write(".orchestrator/config.json", '{ "merge": { "strategy": "squash" } }');
  const untrusted = await doctor();
  expect(untrusted.code).toBe(3);
  writeFileSync(join(ground.home, ".orchestrator", "config.json"), '{ "questions": { "elicit": "x" } }');
  const warned = await doctor();
  expect(finding(warned, "config")).toMatchObject({ level: "ok" });
  writeFileSync(join(ground.home, ".orchestrator", "trust.json"), "{");
  const damaged = await doctor();
  expect(finding(damaged, "config")).toMatchObject({ level: "fail", fix: expect.stringContaining("trust.json") });
  for (const { findings } of [untrusted, warned, damaged]) {
    for (const one of findings)
      if (one.level !== "ok") expect(one, one.message).toMatchObject({ fix: expect.any(String) });
  }
});

test("an engine that died is told, with what goes on", async () => {
  await ground.main.submit("cut", [{ id: "a", prompt: "sleep 60", writes: [] }]);
  await ground.main.killEngine();
  const diagnosis = await doctor();
  expect(finding(diagnosis, "interrupted")).toMatchObject({
    level: "warn",
    fix: expect.stringContaining("orchestrator status"),
  });
});

test("branches of plans that are not open are told apart from those of open ones", async () => {
  await ground.main.submit("open", [{ id: "a", prompt: "sleep 60", writes: [] }]);
  ground.main.git("branch", "orchestrator/gone/x");
  const branches = finding(await doctor(), "branches");
  expect(branches?.message).toContain("orchestrator/gone/x");
  expect(branches?.message).not.toContain("orchestrator/open");
  expect(branches?.fix).toContain("git branch -D orchestrator/gone/x");
});

test("worktrees of a repository that is gone are told", async () => {
  const other = ground.repository("other");
  const folder = join(ground.home, ".orchestrator", "worktrees", "other-0123");
  mkdirSync(join(folder, "plan"), { recursive: true });
  other.git("worktree", "add", "-q", "--detach", join(folder, "plan", "task"));
  expect(finding(await doctor(), "worktrees")).toBeUndefined();
  renameSync(other.path, `${other.path}-moved`);
  expect(finding(await doctor(), "worktrees")).toMatchObject({
    level: "warn",
    message: expect.stringContaining(folder),
  });
});

test("hooks: told as missing only where follow-ups need them", async () => {
  expect(finding(await doctor(), "hooks")).toMatchObject({ level: "ok", fix: "orchestrator hooks install" });
  ground.configure({ followUps: [{ on: "merge", agent: "command", prompt: "true" }] });
  expect(finding(await doctor(), "hooks")).toMatchObject({ level: "warn", fix: "orchestrator hooks install" });
});

test("a path too long for a socket is fine, unless the folder that stands in is open to others", async () => {
  const long = ground.repository("x".repeat(90));
  const runtime = join(ground.folder, "run");
  mkdirSync(runtime, { mode: 0o700 });
  const env = { XDG_RUNTIME_DIR: runtime };
  expect(finding(await doctor({ cwd: long.path, env }), "socket")).toMatchObject({ level: "ok" });
  mkdirSync(join(runtime, "orchestrator"));
  chmodSync(join(runtime, "orchestrator"), 0o777);
  const diagnosis = await doctor({ cwd: long.path, env });
  expect(finding(diagnosis, "socket")).toMatchObject({ level: "fail", fix: expect.stringContaining("chmod 700") });
  expect(diagnosis.code).toBe(3);
  rmSync(join(runtime, "orchestrator"), { recursive: true });
});

test("a Codex whose sandbox can't work here is told, with its words", async () => {
  const bin = join(ground.folder, "bin");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "codex"),
    '#!/bin/sh\ntest "$1" = sandbox || { echo codex-cli 9; exit 0; }\necho "bwrap: Creating new namespace failed" >&2\nexit 1\n',
  );
  chmodSync(join(bin, "codex"), 0o755);
  const env = { PATH: `${bin}:${dirname(process.execPath)}:/usr/bin:/bin` };
  expect(finding(await doctor({ env }), "codex")).toMatchObject({
    level: "warn",
    message: expect.stringContaining("bwrap: Creating new namespace failed"),
    fix: expect.stringContaining("user namespaces"),
  });
});
