import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Runs `work` with a folder of its own, removed afterwards, and an environment by which an agent CLI keeps its files
 * there: also `--version` writes logs and links (Codex 0.169, Goose 1.52). HOME stays, for launchers that need it.
 */
export async function withScratch<Result>(
  work: (folder: string, environment: Readonly<Record<string, string>>) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "orchestrator-scratch-"));
  const names = ["CODEX_HOME", "GOOSE_PATH_ROOT", "CLAUDE_CONFIG_DIR", "TMPDIR"];
  try {
    return await work(folder, Object.fromEntries(names.map((name) => [name, folder])));
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
