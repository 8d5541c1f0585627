/** Refs under `refs/orchestrator/kept/`: work that would otherwise be unreachable. Never moved, never deleted here. */
import { git, type GitPlace } from "./run-git.ts";
import { mustChangeRefs } from "./refs.ts";

export interface KeptRef {
  readonly ref: string;
  readonly sha: string;
}

const KEPT = "refs/orchestrator/kept/";

/** Keeps `sha` under the task's next number, or answers the ref that keeps it already. */
export async function keepCommit(
  place: GitPlace,
  task: { readonly planId: string; readonly taskId: string },
  sha: string,
  why: string,
): Promise<KeptRef> {
  const kept = await listKept(place, task);
  const same = kept.find((entry) => entry.sha === sha);
  if (same !== undefined) return same;
  const last = Math.max(0, ...kept.map(({ ref }) => Number(ref.slice(ref.lastIndexOf("/") + 1)) || 0));
  const ref = `${KEPT}${task.planId}/${task.taskId}/${last + 1}`;
  await mustChangeRefs(place, [{ ref, to: sha, expected: null }], why);
  return { ref, sha };
}

/** All kept refs, or those of one plan or task. */
export async function listKept(
  place: GitPlace,
  of: { readonly planId?: string; readonly taskId?: string } = {},
): Promise<KeptRef[]> {
  const folder = [of.planId, of.taskId].filter((part) => part !== undefined).join("/");
  const args = ["for-each-ref", "--format=%(objectname) %(refname)", folder === "" ? KEPT : `${KEPT}${folder}/`];
  const lines = (await git(place, args)).split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const end = line.indexOf(" ");
    return { sha: line.slice(0, end), ref: line.slice(end + 1) };
  });
}
