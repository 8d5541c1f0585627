/** At the engine's stop a user's own `post-merge` hook is given the agents' grace, and not for ever. */
import { signalBelowChildren } from "../process/below-children.ts";
import type { Parts } from "./parts.ts";

/** Between asking and forcing, once the grace is over. */
const FORCE_AFTER_MS = 1_000;

/**
 * Ends the hooks of merges that have arrived, where nothing else of ours is under way any more: `underWay` is how much
 * is. Git itself is never touched, nor a hook or a filter while git still writes the user's files: it then ends by
 * itself, and the merge is told as it is.
 */
export async function endHooksOfDoneMerges(parts: Parts, underWay: number, elapsedMs: number): Promise<void> {
  const { store, repository, processes, log } = parts;
  const merges = store.merges.listOpen();
  const graceMs = Math.max(0, ...merges.map(({ planId }) => parts.settingsOf(planId).killGraceMs));
  if (merges.length === 0 || merges.length < underWay || elapsedMs < graceMs) return;
  for (const { state, target, candidateSha } of merges) {
    if (state !== "moving" || candidateSha === null || (await repository.branchTip(target)) !== candidateSha) return;
  }
  const agents = new Set(processes.list().flatMap(({ pid }) => (pid === null ? [] : [pid])));
  const signal = elapsedMs < graceMs + FORCE_AFTER_MS ? "SIGTERM" : "SIGKILL";
  const count = await signalBelowChildren(signal, agents);
  if (count > 0) log("warning", `a hook of the repository does not end: ${signal} to ${count} processes`, {});
}
