import { sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { ServerProgram } from "./host.ts";

/**
 * How hosts are to start this installation: by absolute paths, since what a host has as PATH differs from a shell's. npx
 * clears its cache at times, so a program that runs from there is named by its package.
 */
export function installedServer(
  pipe: string = fileURLToPath(new URL("../../engine/pipe-main.cjs", import.meta.url)),
): ServerProgram {
  if (pipe.includes(`${sep}_npx${sep}`)) return { command: "npx", args: ["-y", "orchestrator-mcp"] };
  return { command: process.execPath, args: [pipe] };
}
