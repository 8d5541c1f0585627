/** What an agent's own git is told by its environment: the fence's hooks, and what was lent to its worktree. */
import { fenceVariables } from "../git/fence.ts";
import type { Prepared } from "./attempt-request.ts";
import type { Parts } from "./parts.ts";
import { excludeFileOf } from "./worktree-setup.ts";

/** To be laid over `environment`, whose own settings of git stay. */
export async function gitVariables(
  { repository, satellite }: Parts,
  { place, role }: Prepared,
  environment: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const { hooksFolder } = satellite;
  const excludeFile = await excludeFileOf(place.gitDir);
  const settings = [
    ["core.hooksPath", hooksFolder],
    // It would pack the user's refs, which the fence refuses, and tell the user of its failure.
    ["gc.auto", "0"],
    ...(excludeFile === null ? [] : [["core.excludesFile", excludeFile]]),
  ];
  const given = Number(environment["GIT_CONFIG_COUNT"]) || 0;
  const { branch, gitDir } = place;
  const { commonDir } = repository;
  return {
    ...fenceVariables({ branch, gitDir, commonDir, mayPush: role.push === true }),
    ...Object.fromEntries(
      settings.flatMap(([key = "", value = ""], index) => [
        [`GIT_CONFIG_KEY_${given + index}`, key],
        [`GIT_CONFIG_VALUE_${given + index}`, value],
      ]),
    ),
    GIT_CONFIG_COUNT: String(given + settings.length),
  };
}
