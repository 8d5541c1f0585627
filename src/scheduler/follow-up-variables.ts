/** What a command that follows an event in git is told of it: by environment and a file, never by its text. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BackendKind } from "../agents/backend.ts";
import type { TaskRecord } from "../plan/records.ts";
import type { Parts } from "./parts.ts";

/** 41 bytes each; Linux takes 128 KiB for one variable. */
const MAX_COMMITS = 2_000;

/** Empty for any other task. Writes `files` into the attempt's folder: a NUL behind each name, as git knows it. */
export async function followUpVariables(
  parts: Parts,
  task: TaskRecord,
  kind: BackendKind,
  folder: string,
): Promise<Record<string, string>> {
  if (kind !== "command") return {};
  const events = parts.store.followUps.listByPlan(task.planId);
  const [first] = events;
  const last = events.at(-1);
  if (first === undefined || last === undefined) return {};
  const files = join(folder, "files");
  await writeFile(files, await parts.repository.changedNames(first.baseSha, last.tipSha), { mode: 0o600 });
  return {
    ORCHESTRATOR_FILES: files,
    ORCHESTRATOR_COMMITS: events
      .flatMap((event) => event.commits)
      .slice(-MAX_COMMITS)
      .join("\n"),
    ORCHESTRATOR_BRANCH: first.branch,
    ORCHESTRATOR_RANGE: `${first.baseSha}..${last.tipSha}`,
  };
}
