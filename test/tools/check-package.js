// Packs the package as `npm publish` would, installs the tarball into an empty folder, and runs both commands from
// there: what is missing from `files` or `dependencies` shows here and nowhere else. Install scripts are left out and
// the native part of better-sqlite3 is taken from this checkout, where `npm install` has built it: compiling it a
// second time would show nothing about this package.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const folder = mkdtempSync(join(tmpdir(), "orchestrator-package-"));
const env = { ...process.env, ORCHESTRATOR_HOME: join(folder, "home") };

try {
  const packed = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
      cwd: root,
      encoding: "utf8",
    }),
  );
  const [{ filename, files }] = packed;
  const names = new Set(files.map((file) => file.path));
  for (const needed of [
    "package.json",
    "README.md",
    "LICENSE",
    "mcp.json",
    ".claude-plugin/plugin.json",
    "commands/orchestrate.md",
    "hooks/hooks.json",
    "hooks/remind",
    "dist/cli/main.js",
    "dist/engine/pipe-main.cjs",
    "dist/engine/tool-listings.json",
    "dist/engine/engine-main.js",
    "dist/process/guard-main.js",
    "dist/agents/goose-read-server.js",
    "dist/third-party-licenses.txt",
  ]) {
    if (!names.has(needed)) fail(`the package lacks ${needed}`);
  }
  const stray = [...names].filter((name) => name.startsWith("src/") || name.startsWith("test/"));
  if (stray.length > 0) fail(`the package holds ${stray.slice(0, 3).join(", ")}`);

  writeFileSync(join(folder, "package.json"), '{"private":true}\n');
  run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", join(folder, filename)]);
  cpSync(join(root, "node_modules/better-sqlite3/build"), join(folder, "node_modules/better-sqlite3/build"), {
    recursive: true,
  });

  const bin = (name) => join(folder, "node_modules", ".bin", name);
  const version = run(bin("orchestrator"), ["--version"]).trim();
  if (!/^\d+\.\d+\.\d+/.test(version)) fail(`orchestrator --version printed ${JSON.stringify(version)}`);

  // As a host starts it where there is no repository: it must answer all the same.
  const request = {
    jsonrpc: "2.0",
    id: 1,
    method: "initialize",
    params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "check", version: "1" } },
  };
  const answer = await ask(bin("orchestrator-mcp"), `${JSON.stringify(request)}\n`);
  if (!answer.includes('"serverInfo"')) fail(`orchestrator-mcp answered ${JSON.stringify(answer.slice(0, 300))}`);
  console.log(`package: ${files.length} files, orchestrator ${version}, orchestrator-mcp answers`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function run(file, args, input = "") {
  const result = spawnSync(file, args, { cwd: folder, env, input, encoding: "utf8", timeout: 120_000 });
  if (result.status !== 0)
    fail(`${file} ${args.join(" ")} ended with ${result.status ?? result.signal}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** The end of its input ends the server at once, so the input stays open until it has answered. */
async function ask(file, input) {
  const child = spawn(file, [], { cwd: folder, env, stdio: ["pipe", "pipe", "inherit"] });
  const deadline = setTimeout(() => child.kill("SIGKILL"), 60_000);
  let output = "";
  child.stdin.write(input);
  for await (const chunk of child.stdout) {
    output += chunk;
    if (output.includes("\n")) child.stdin.end();
  }
  clearTimeout(deadline);
  return output;
}

function fail(message) {
  throw new Error(message);
}
