/** Whether git tells the engine what it does. Only follow-ups and a quick look at merges made by hand need it. */
import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Config } from "../../config/index.ts";
import type { Finding } from "../render-doctor.ts";
import { runTool } from "../run-tool.ts";

const NAMES = ["post-merge", "post-commit", "post-rewrite", "post-checkout"];
/** In every hook that is ours or has us in it. */
const OURS = "orchestrator-mcp";

export async function checkHooks(place: string, config: Config): Promise<Finding> {
  const check = "hooks";
  const asked = await runTool("git", ["rev-parse", "--git-path", "hooks"], place);
  if (!asked.isOk) return { check, level: "warn", message: asked.problem, fix: "orchestrator hooks status" };
  const folder = resolve(place, asked.stdout.trim());
  const missing = NAMES.filter((name) => !readText(join(folder, name)).includes(OURS));
  if (missing.length === 0) return { check, level: "ok", message: `installed in ${folder}`, fix: null };
  const fix = "orchestrator hooks install";
  const what = missing.length === NAMES.length ? "not installed" : `missing: ${missing.join(", ")}`;
  if (config.followUps.length === 0) {
    return { check, level: "ok", message: `${what}; no follow-ups are configured that need them`, fix };
  }
  return { check, level: "warn", message: `${what}, so follow-ups start late`, fix };
}

function readText(path: string): string {
  try {
    // git does not run what nobody may execute.
    return (statSync(path).mode & 0o111) === 0 ? "" : readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
