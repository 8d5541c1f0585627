/** A home and a repository folder of their own for each test, taken away afterwards. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { onTestFinished } from "vitest";
import { type LoadedConfig, loadConfig, trustProject } from "../../src/config/index.ts";
import { AppError } from "../../src/errors.ts";

export interface Scene {
  readonly home: string;
  readonly mainWorktree: string;
  readonly globalFile: string;
  readonly projectFile: string;
  writeGlobal(text: string | object): void;
  writeProject(text: string | object): void;
  trust(): Promise<void>;
  load(): LoadedConfig;
}

export function makeScene(): Scene {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator config ")));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const home = join(root, "home", ".orchestrator");
  const mainWorktree = join(root, "repo 'ü'");
  mkdirSync(join(mainWorktree, ".orchestrator"), { recursive: true });
  const globalFile = join(home, "config.json");
  const projectFile = join(mainWorktree, ".orchestrator", "config.json");
  return {
    home,
    mainWorktree,
    globalFile,
    projectFile,
    writeGlobal(text) {
      mkdirSync(home, { recursive: true });
      writeFileSync(globalFile, typeof text === "string" ? text : JSON.stringify(text, null, 2));
    },
    writeProject: (text) => writeFileSync(projectFile, typeof text === "string" ? text : JSON.stringify(text, null, 2)),
    trust: () => trustProject({ home, mainWorktree }),
    load: () => loadConfig({ home, mainWorktree }),
  };
}

/** The AppError that `work` ends with; fails the test when there is none. */
export async function errorOf(work: () => unknown): Promise<AppError> {
  try {
    await work();
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown;
    throw thrown;
  }
  throw new Error("expected an AppError, but nothing was thrown");
}

export function readText(path: string): string {
  return readFileSync(path, "utf8");
}

/** The folder under test as JavaScript, for tests that need it in other processes: the address of its main module. */
export function compileConfig(): string {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-config-build-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      rootDir: join(root, "src"),
      outDir: join(folder, "dist"),
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: [],
    files: [join(root, "src/config/index.ts")],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const compiled = spawnSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(compiled.stdout);
  return pathToFileURL(join(folder, "dist/config/index.js")).href;
}
