import { z } from "zod";
import { HOOK_NAMES, installHooks, readHooks, uninstallHooks } from "../git/hooks.ts";
import type { Operation } from "./operation.ts";

const input = z.strictObject({ action: z.enum(["install", "uninstall", "status"]) });

const output = z.object({
  summary: z.string(),
  folder: z.string().describe("The folder that git takes hooks from."),
  hooksPath: z.string().nullable().describe("core.hooksPath; null: it is not set."),
  installed: z.array(z.enum(HOOK_NAMES)),
  missing: z.array(z.enum(HOOK_NAMES)),
  warnings: z.array(z.string()),
});

/** Idempotent by itself, so no key is needed: what is there is kept. */
export const gitHooks: Operation<z.infer<typeof input>, z.infer<typeof output>> = {
  name: "git_hooks",
  title: "Git hooks",
  description: "Installs, removes or shows the git hooks that tell the engine to look at what git did.",
  audience: "operator",
  isTool: false,
  isReading: false,
  input,
  output,
  async run(app, { action }, call) {
    const { repository } = app.parts;
    // What is installed is for where the user stands: `core.hooksPath` may differ between worktrees.
    const cwd = call.caller.role === "operator" ? call.caller.cwd : repository.mainWorktree;
    const worktree = (await repository.worktreeAt(cwd)) ?? repository.mainWorktree;
    const act = { install: installHooks, uninstall: uninstallHooks, status: readHooks }[action];
    const report = await act(repository, worktree, app.stateFolder);
    // The first look at a branch has no events: what is done from now on is to be seen.
    await app.lookAtGit();
    const { folder, installed, missing, hooksPath, warnings } = report;
    const summary =
      missing.length === 0
        ? `Installed in ${folder}: ${installed.join(", ")}.`
        : installed.length === 0
          ? `Not installed in ${folder}.`
          : `Installed in part in ${folder}: ${missing.join(", ")} missing; \`orchestrator hooks install\` adds what is missing.`;
    return { summary, folder, hooksPath, installed: [...installed], missing: [...missing], warnings: [...warnings] };
  },
  text: (result) => [result.summary, ...result.warnings.map((warning) => `note: ${warning}`)].join("\n"),
};
