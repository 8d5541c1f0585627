import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { AppError } from "../errors.ts";
import type { Provider } from "./backend.ts";
import { findProgram } from "./find-program.ts";

/** The npm package and the folder of the native binary in it, for each platform (bin/codex.js of 0.169). */
const NATIVE_PACKAGES: Readonly<Record<string, { readonly name: string; readonly triple: string }>> = {
  "linux-x64": { name: "codex-linux-x64", triple: "x86_64-unknown-linux-musl" },
  "linux-arm64": { name: "codex-linux-arm64", triple: "aarch64-unknown-linux-musl" },
  "darwin-x64": { name: "codex-darwin-x64", triple: "x86_64-apple-darwin" },
  "darwin-arm64": { name: "codex-darwin-arm64", triple: "aarch64-apple-darwin" },
};

/**
 * The program to start for `provider.command`: behind npm's wrapper the native binary, because a wrapper that is killed
 * leaves the binary at work (seen: Node before 22.15 has no `execve`), and because it starts 0.1 s sooner. A wrapper
 * that is not understood (another package manager's shim, a script of the user's) is started itself.
 * Throws AppError AGENT_CLI_MISSING.
 */
export async function locateCodex(provider: Provider, path: string): Promise<string> {
  const file = await findProgram(provider.command, path);
  if (file === null) {
    throw new AppError(
      "AGENT_CLI_MISSING",
      `provider ${provider.name}: the program ${JSON.stringify(provider.command)} was not found. ` +
        "Install Codex with `npm install -g @openai/codex`, then run `codex login`.",
      { details: { provider: provider.name, command: provider.command, install: "npm install -g @openai/codex" } },
    );
  }
  return (await nativeBinaryBehind(file)) ?? file;
}

async function nativeBinaryBehind(file: string): Promise<string | null> {
  const native = NATIVE_PACKAGES[`${process.platform}-${process.arch}`];
  if (native === undefined) return null;
  let wrapper: string;
  try {
    wrapper = await realpath(file);
  } catch {
    return null;
  }
  const packageFolder = dirname(dirname(wrapper));
  if (basename(wrapper) !== "codex.js" || basename(packageFolder) !== "codex") return null;
  const binary = join("vendor", native.triple, "bin", "codex");
  const candidates = [
    // npm nests it or lays it beside, pnpm links it beside; older versions carried all binaries in one package.
    join(packageFolder, "node_modules", "@openai", native.name, binary),
    join(dirname(packageFolder), native.name, binary),
    join(packageFolder, binary),
  ];
  for (const candidate of candidates) {
    const found = await findProgram(candidate, "");
    if (found !== null) return found;
  }
  return null;
}
