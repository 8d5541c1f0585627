import type { Parts } from "./parts.ts";

/**
 * True when the target has that commit. git may have it no more: a candidate that never arrived, or a merge that was
 * reset away, is collected as garbage one day.
 */
export async function hasArrived({ repository }: Parts, sha: string, targetSha: string): Promise<boolean> {
  // A chain's dependency is most often the target's very tip, as git just told it.
  return (
    sha === targetSha || ((await repository.resolve(sha)) !== null && (await repository.isAncestor(sha, targetSha)))
  );
}
