/**
 * The engine as it is installed, with a stand-in for the app: the sources are compiled into a temporary package whose
 * `dist/app.js` is fake-app.js. So the real programs run, in processes of their own, and nothing in them knows of tests.
 */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundlePipe } from "../tools/bundle.js";
import { toolListings } from "./fake-app.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface PackageUnderTest {
  /** Its folder, with package.json, dist and node_modules. */
  readonly path: string;
  readonly pipeProgram: string;
  /** The same code as another version, beside it. */
  withVersion(version: string): PackageUnderTest;
  remove(): void;
}

const TEST_VERSION = "1.2.3";

export async function buildPackage(): Promise<PackageUnderTest> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-package-")));
  const path = join(folder, "package");
  mkdirSync(path);
  const config = join(path, "tsconfig.json");
  const programs = ["engine-main.ts", "launcher-main.ts", "pipe-main.ts", "pipe-offline.ts", "client.ts"];
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(root, "tsconfig.json"),
      compilerOptions: {
        rootDir: join(root, "src"),
        outDir: join(path, "dist"),
        typeRoots: [join(root, "node_modules/@types")],
      },
      include: [],
      files: programs.map((file) => join(root, "src", "engine", file)),
    }),
  );
  // Types are another check's work; other parts may be half written.
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const compiled = spawnSync(process.execPath, [tsc, "-p", config, "--noCheck"], { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(`tsc failed: ${compiled.stdout}${compiled.stderr}`);
  copyFileSync(join(root, "test", "engine", "fake-app.js"), join(path, "dist", "app.js"));
  await bundlePipe(join(path, "dist"), join(path, "dist"));
  writeFileSync(join(path, "dist", "engine", "tool-listings.json"), JSON.stringify(toolListings()));
  symlinkSync(join(root, "node_modules"), join(path, "node_modules"));
  setVersion(path, TEST_VERSION);
  return packageAt(path, folder);
}

function packageAt(path: string, folder: string): PackageUnderTest {
  return {
    path,
    pipeProgram: join(path, "dist", "engine", "pipe-main.cjs"),
    withVersion: (version) => {
      const other = mkdtempSync(join(folder, `package-${version}-`));
      cpSync(path, other, { recursive: true, verbatimSymlinks: true });
      setVersion(other, version);
      return packageAt(other, folder);
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function setVersion(path: string, version: string): void {
  writeFileSync(join(path, "package.json"), JSON.stringify({ name: "orchestrator-mcp", version, type: "module" }));
}
