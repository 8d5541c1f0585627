/** What `init` does in the repository itself: a config to begin with, and the git hooks. */
import { readProjectFile } from "../../config/places.ts";
import { projectConfigPath, trustProject, trustState } from "../../config/index.ts";
import { messageOf } from "../../errors.ts";
import { openEngineSession, openRunningEngine, type EngineSession } from "../engine-session.ts";
import { changeJournal, NO_RECORD, type RepositoryRecord } from "./journal.ts";
import { hashOf, missingFolders, replaceWhole } from "./owned-file.ts";
import type { Outcome, Step } from "./step.ts";

/** All of it comments: what is not said is the built-in default. */
const PROJECT_CONFIG = `// Settings of orchestrator-mcp for this repository, over ~/.orchestrator/config.json; \`orchestrator config schema\` lists
// all of them. A file that can name programs: it counts only as it was trusted last (\`orchestrator trust\`).
{
  // Commands that must pass after each merge, before the target branch moves. Without any, nothing is checked.
  // "verify": ["npm test"],

  // Agents at once, over all plans.
  // "limits": { "agents": 4 },

  // What a new worktree needs before an agent works in it.
  // "worktree": { "copy": [".env"], "setup": ["npm ci"] }
}
`;

export interface RepositoryPlan {
  /** The orchestrator's. */
  readonly home: string;
  readonly commonDir: string;
  readonly mainWorktree: string;
  readonly record: RepositoryRecord;
}

export function planConfig({ home, commonDir, mainWorktree, record }: RepositoryPlan): Step {
  const file = projectConfigPath(mainWorktree);
  const what = "project config";
  const places = { home, mainWorktree };
  const trust = async (): Promise<Outcome> => {
    await trustProject(places, { expectedSha256: hashOf(PROJECT_CONFIG) ?? "" });
    return {};
  };
  try {
    const text = readProjectFile(mainWorktree)?.text ?? null;
    if (text === null) {
      const message = "a config to begin with, all of it comments; trusted as it is";
      const config = {
        file,
        mainWorktree,
        afterSha256: hashOf(PROJECT_CONFIG) ?? "",
        madeFolders: missingFolders(file),
      };
      const apply = async (): Promise<Outcome> => {
        await changeRecord(home, commonDir, (now) => ({ ...now, config }));
        await replaceWhole(file, null, PROJECT_CONFIG, 0o644);
        return await trust();
      };
      return { what, file, action: "create", message, apply };
    }
    const state = trustState(places);
    if (state === "trusted") return { what, file, action: "none", message: "is there, and trusted", apply: null };
    // Cut off between the two: nobody has written anything of their own there.
    if (record.config !== null && text === PROJECT_CONFIG) {
      return { what, file, action: "change", message: "trusts the config that init wrote", apply: trust };
    }
    const message = "is there, but is not trusted, so no plan starts: orchestrator trust";
    return { what, file, action: "left", message, apply: null };
  } catch (thrown) {
    return { what, file, action: "left", message: `left as it is: ${messageOf(thrown)}`, apply: null };
  }
}

/** The engine does it: it owns all that touches git. */
export async function planHooks(plan: RepositoryPlan, repo: string | null): Promise<Step> {
  const step = {
    what: "git hooks",
    file: null,
    message: "post-merge, post-commit and the like, beside those of yours",
  };
  const apply = async (): Promise<Outcome> => {
    const session = await openEngineSession({ repo });
    try {
      const before = await session.call("git_hooks", { action: "status" });
      if (before.missing.length === 0) return { action: "none", message: wordsOf(before) };
      if (before.installed.length === 0) {
        await changeRecord(plan.home, plan.commonDir, (now) => ({ ...now, hasHooks: true }));
      }
      return { message: wordsOf(await session.call("git_hooks", { action: "install" })) };
    } finally {
      await session.close();
    }
  };
  try {
    // To look is no reason to start an engine.
    const running = await openRunningEngine(repo);
    if (running === null) return { ...step, action: "change", apply };
    const report = await statusOver(running);
    if (report.missing.length === 0) return { ...step, action: "none", message: wordsOf(report), apply: null };
    return { ...step, action: "change", apply };
  } catch (thrown) {
    return { ...step, action: "left", message: messageOf(thrown), apply: null };
  }
}

async function statusOver(session: EngineSession): Promise<HooksReport> {
  try {
    return await session.call("git_hooks", { action: "status" });
  } finally {
    await session.close();
  }
}

export interface HooksReport {
  readonly summary: string;
  readonly installed: readonly string[];
  readonly missing: readonly string[];
  readonly warnings: readonly string[];
}

export function wordsOf({ summary, warnings }: HooksReport): string {
  return [summary, ...warnings].join(" ");
}

export async function changeRecord(
  home: string,
  commonDir: string,
  change: (record: RepositoryRecord) => RepositoryRecord,
): Promise<void> {
  await changeJournal(home, (journal) => ({
    ...journal,
    repositories: { ...journal.repositories, [commonDir]: change(journal.repositories[commonDir] ?? NO_RECORD) },
  }));
}
