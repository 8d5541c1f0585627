/** DESIGN 9, M2: `orchestrator init` and `--undo`, with stand-ins for the agent CLIs, of which only the files matter. */
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DIST, Ground, type Repo } from "./engine-support.ts";
import { runCli, type CliOptions } from "./run-cli.ts";

let ground: Ground;

beforeEach(() => {
  ground = new Ground();
  mkdirSync(join(ground.folder, "bin"));
  for (const name of ["claude", "goose"]) executable(name, "exit 1");
  // Reads a table that is written as ours is, and no other.
  executable(
    "codex",
    `file="$CODEX_HOME/config.toml"
grep -q '^BROKEN' "$file" && { echo 'WARNING: noise' >&2; echo 'Error: line 1 is broken' >&2; exit 1; }
grep -q '^\\[mcp_servers.orchestrator-mcp\\]' "$file" || { echo "Error: No MCP server named 'orchestrator-mcp' found." >&2; exit 1; }
command=$(sed -n 's/^command = //p' "$file" | tail -n 1); args=$(sed -n 's/^args = //p' "$file" | tail -n 1)
echo "{\\"transport\\":{\\"command\\":$command,\\"args\\":$args}}"`,
  );
});

afterEach(async () => {
  await ground.leave();
});

function executable(name: string, script: string): void {
  const file = join(ground.folder, "bin", name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
}

async function init(words: readonly string[], { env, ...options }: CliOptions = {}): Promise<Ended> {
  const PATH = `${join(ground.folder, "bin")}:${dirname(process.execPath)}:/usr/bin:/bin`;
  const { code, stdout, stderr } = await runCli(ground.main, ["init", ...words], { ...options, env: { PATH, ...env } });
  return { code, out: stdout + stderr };
}

/** Every file of the user's, by its content; the engine's own state and the orchestrator's home aside. */
function snapshot(): Record<string, string> {
  const files: Record<string, string> = {};
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      const name = relative(ground.folder, path);
      if (/(^|\/)(\.git\/orchestrator|home\/\.orchestrator|tmp)$/.test(name)) continue;
      if (entry.isDirectory()) {
        files[`${name}/`] = "";
        walk(path);
      } else if (entry.isFile()) files[name] = createHash("sha256").update(readFileSync(path)).digest("hex");
    }
  };
  walk(ground.folder);
  return files;
}

function put(path: string, text: string): string {
  const file = join(ground.home, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

const CLAUDE = '{"userID":"u","mcpServers":{"mine":{"command":"x"}}}';
const CODEX = '# mine\nmodel = "x"\n';
const GOOSE = "GOOSE_MODE: auto # mine\nextensions:\n  developer: {enabled: true, type: builtin, name: developer}\n";

function putFiles(): void {
  put(".claude.json", CLAUDE);
  put(".codex/config.toml", CODEX);
  put(".config/goose/config.yaml", GOOSE);
}

const textOf = (path: string): string => readFileSync(join(ground.home, path), "utf8");

test.each(["with files of the user", "with nothing there"])(
  "M2: init, again, and undo, byte for byte: %s",
  async (how) => {
    if (how === "with files of the user") putFiles();
    ground.main.write(".git/hooks/post-merge", "#!/bin/sh\necho mine\n");
    const before = snapshot();
    expect((await init(["--dry-run"])).out).toContain(".claude.json");
    expect(snapshot()).toEqual(before);
    // Nobody can be asked here.
    expect(await init([])).toMatchObject({ code: 4 });
    expect(snapshot()).toEqual(before);

    const first = await init(["--yes"]);
    expect(first, first.out).toMatchObject({ code: 0 });
    for (const file of [
      ".claude.json",
      ".codex/config.toml",
      ".config/goose/config.yaml",
      ".orchestrator/config.json",
    ]) {
      expect(first.out).toContain(file);
    }
    expect(JSON.parse(textOf(".claude.json"))).toMatchObject({
      mcpServers: { "orchestrator-mcp": { alwaysLoad: true } },
    });
    expect(textOf(".codex/config.toml")).toContain('default_tools_approval_mode = "approve"\nrequired = true\n');
    expect(textOf(".config/goose/config.yaml")).toContain("  orchestrator-mcp:\n");
    expect(ground.main.read(".git/hooks/post-merge")).toContain("orchestrator");
    const after = snapshot();

    const second = await init(["--yes", "--json"]);
    expect(second.code, second.out).toBe(0);
    const { steps } = JSON.parse(second.out) as { steps: { action: string }[] };
    expect(steps.map(({ action }) => action)).toEqual(["none", "none", "none", "none", "none"]);
    expect(snapshot()).toEqual(after);

    const undone = await init(["--undo", "--yes"]);
    expect(undone, undone.out).toMatchObject({ code: 0 });
    expect(snapshot()).toEqual(before);
    expect(await init(["--undo", "--yes"])).toMatchObject({
      code: 0,
      out: expect.stringContaining("nothing to take back"),
    });
    expect(readdirSync(join(ground.home, ".orchestrator"))).toEqual(["config.json"]);
  },
);

test("a plan can start after init: the config that it wrote is trusted", async () => {
  expect((await init(["--yes"])).code).toBe(0);
  const plan = await ground.main.submit("after-init", [{ id: "a", prompt: "echo a > a.txt", writes: ["a.txt"] }]);
  expect(plan).toBe("after-init");
});

test("what others changed since stays, and only our entries go", async () => {
  putFiles();
  expect((await init(["--yes"])).code).toBe(0);
  const claude = JSON.parse(textOf(".claude.json")) as object;
  put(".claude.json", JSON.stringify({ ...claude, seen: 1 }));
  put(".codex/config.toml", `top = 1\n${textOf(".codex/config.toml")}[later]\nx = 1\n`);
  put(".config/goose/config.yaml", `${textOf(".config/goose/config.yaml")}LATER: 1\n`);
  ground.main.write(".orchestrator/config.json", '{ "verify": ["true"] }\n');
  const undone = await init(["--undo", "--yes"]);
  expect(undone.code, undone.out).toBe(1);
  expect(undone.out).toContain("stays: it was changed since init wrote it");
  expect(JSON.parse(textOf(".claude.json"))).toEqual({ userID: "u", mcpServers: { mine: { command: "x" } }, seen: 1 });
  expect(textOf(".codex/config.toml")).toBe(`top = 1\n${CODEX}\n[later]\nx = 1\n`);
  expect(textOf(".config/goose/config.yaml")).toBe(`${GOOSE}LATER: 1\n`);
  expect(ground.main.read(".orchestrator/config.json")).toContain("verify");
});

test("an entry of that name that is not ours, and files that are not understood, are named and left", async () => {
  put(".claude.json", '{"mcpServers":{"orchestrator-mcp":{"command":"/somebody/else","args":[]}}}');
  put(".codex/config.toml", "BROKEN\n");
  put(".config/goose/config.yaml", "extensions: [\n");
  const before = snapshot();
  const { code, out } = await init(["--yes"]);
  expect(code).toBe(1);
  expect(out).toContain("`/somebody/else`; that is not ours to change");
  expect(out).toContain("Codex can't read it: Error: line 1 is broken");
  expect(out).toContain("not readable YAML");
  const after = snapshot();
  for (const file of ["home/.claude.json", "home/.codex/config.toml", "home/.config/goose/config.yaml"]) {
    expect(after[file]).toBe(before[file]);
  }
});

test("an installation that moved is registered anew, and undo still leads back to the beginning", async () => {
  putFiles();
  expect((await init(["--yes"])).code).toBe(0);
  // As an older installation would have left it.
  const journal = JSON.parse(textOf(".orchestrator/init.json")) as {
    servers: { file: string; afterSha256: string; server: { args: string[] }; edit: { inserted: string } }[];
  };
  for (const server of journal.servers) {
    const [path = ""] = server.server.args;
    const moved = readFileSync(server.file, "utf8").replace(path, "/old/pipe-main.cjs");
    writeFileSync(server.file, moved);
    server.server.args = ["/old/pipe-main.cjs"];
    server.edit.inserted = server.edit.inserted.replace(path, "/old/pipe-main.cjs");
    server.afterSha256 = createHash("sha256").update(moved).digest("hex");
  }
  put(".orchestrator/init.json", JSON.stringify(journal));
  const again = await init(["--yes"]);
  expect(again.code, again.out).toBe(0);
  for (const file of [".claude.json", ".codex/config.toml", ".config/goose/config.yaml"]) {
    expect(textOf(file)).not.toContain("/old/");
    expect(textOf(file)).toContain(DIST);
  }
  expect((await init(["--undo", "--yes"])).code).toBe(0);
  expect(textOf(".claude.json")).toBe(CLAUDE);
  expect(textOf(".codex/config.toml")).toBe(CODEX);
  expect(textOf(".config/goose/config.yaml")).toBe(GOOSE);
});

test("cut off between what is written down and what is done: init goes on, and undo knows what did not happen", async () => {
  putFiles();
  expect((await init(["--yes"])).code).toBe(0);
  // As if it had died after the journal: nothing was written yet, and the config was not trusted.
  putFiles();
  rmSync(join(ground.home, ".orchestrator", "trust.json"));
  const again = await init(["--yes"]);
  expect(again.code, again.out).toBe(0);
  expect(textOf(".config/goose/config.yaml")).toContain("orchestrator-mcp");
  putFiles();
  const undone = await init(["--undo", "--yes"]);
  expect(undone.code, undone.out).toBe(0);
  expect(textOf(".claude.json")).toBe(CLAUDE);
  expect(textOf(".codex/config.toml")).toBe(CODEX);
  expect((await init(["--undo", "--dry-run"])).out).toContain("nothing to take back");
});

test("registrations stay while another repository uses them, and go with the last", async () => {
  putFiles();
  const other: Repo = ground.repository("other");
  expect((await init(["--yes"])).code).toBe(0);
  expect((await init(["--yes"], { cwd: other.path })).code).toBe(0);
  const first = await init(["--undo", "--yes"]);
  expect(first.out).toContain("uses it too");
  expect(textOf(".claude.json")).toContain("orchestrator-mcp");
  expect((await init(["--undo", "--yes"], { cwd: other.path })).code).toBe(0);
  expect(textOf(".claude.json")).toBe(CLAUDE);
});

test("CLIs that are not there, and no repository, are said and passed over", async () => {
  const env = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` };
  const { code, out } = await init(["--yes"], { cwd: ground.folder, env });
  expect(code, out).toBe(0);
  expect(out).toContain("no git repository here");
  expect(out).toContain("goose was not found on PATH");
});
