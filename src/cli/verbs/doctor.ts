/** `orchestrator doctor`: looks at everything a plan needs here; each finding has the command that mends it. */
import { tmpdir } from "node:os";
import { diskPlaces, type DiskPlace } from "../../disk-room.ts";
import { orchestratorHome, worktreesRoot } from "../../config/index.ts";
import { checkAgents } from "../doctor/check-agents.ts";
import { checkHooks } from "../doctor/check-hooks.ts";
import { checkBranches, checkDeath, checkKeptStates, checkWorktrees } from "../doctor/check-leftovers.ts";
import { checkDescriptors, checkGit, checkNode, checkRoom, checkSqlite } from "../doctor/check-machine.ts";
import { checkProviders } from "../doctor/check-providers.ts";
import { checkRegistrations } from "../doctor/check-registrations.ts";
import { checkConfig, checkEngine, checkRepository } from "../doctor/check-repository.ts";
import { EXIT } from "../exit-codes.ts";
import { renderFindings, type Finding } from "../render-doctor.ts";
import type { VerbRunner } from "../verb.ts";

export const runDoctor: VerbRunner = async (invocation, terminal) => {
  const findings: Finding[] = [checkNode(), await checkGit(), await checkSqlite(), ...checkDescriptors()];
  const { repository, findings: aboutRepository } = await checkRepository(invocation.repo);
  findings.push(...aboutRepository);
  const engine = repository === null ? null : await checkEngine(invocation.repo);
  if (engine !== null) findings.push(engine.finding);
  const { loaded, findings: aboutConfig } = checkConfig(repository?.mainWorktree ?? null);
  const home = orchestratorHome();
  findings.push(...aboutConfig);
  const places = placesOf(repository?.commonDir ?? null, worktreesRoot(loaded.config, home));
  findings.push(...checkRoom(places, loaded.config.engine.minFreeMegabytes));
  if (repository !== null) {
    findings.push(await checkHooks(repository.place, loaded.config));
    findings.push(...checkKeptStates(repository.commonDir));
    findings.push(...checkDeath(repository.commonDir, engine?.info != null));
    findings.push(...(await checkBranches(repository.place, engine?.openPlans ?? null)));
  }
  findings.push(...checkWorktrees(worktreesRoot(loaded.config, home)));
  findings.push(...(await checkAgents(loaded.config, engine?.info?.variables ?? null)));
  findings.push(...checkProviders(engine?.info ?? null));
  findings.push(...(await checkRegistrations(home)));
  const isUsable = findings.every(({ level }) => level !== "fail");
  if (invocation.json) terminal.printJson({ usable: isUsable, findings });
  else
    terminal.print(
      ...renderFindings(findings),
      [],
      isUsable ? "Plans can run here." : "Plans can't run here before that is mended.",
    );
  return isUsable ? EXIT.succeeded : EXIT.cannotRun;
};

function placesOf(commonDir: string | null, worktrees: string): DiskPlace[] {
  const ours = commonDir === null ? [] : diskPlaces(commonDir, worktrees);
  return [...ours, { what: "temporary files", path: tmpdir() }];
}
