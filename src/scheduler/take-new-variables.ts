import { tryNewKey, waitsForKey } from "../plan/controls.ts";
import type { TaskNode } from "../plan/node.ts";
import type { Commit, Parts } from "./parts.ts";

/**
 * A client brought variables with other values than before: tasks that wait for a key of a provider which gets one of
 * them go on. Nothing is written when none does.
 */
export function takeNewVariables(parts: Parts, commit: Commit, changed: readonly string[]): void {
  const { board, clock } = parts;
  const known = new Map<string, boolean>();
  const getsOne = ({ plan }: TaskNode, provider: string): boolean => {
    const key = `${provider} ${plan.record.id}`;
    let answer = known.get(key);
    if (answer === undefined) known.set(key, (answer = isPassed(parts, plan.record.id, provider, changed)));
    return answer;
  };
  const isWaitedFor = [...board.plans()].some((plan) =>
    [...plan.nodes.values()].some((node) => waitsForKey(node, getsOne)),
  );
  if (!isWaitedFor) return;
  const woken = commit(() => tryNewKey(board, getsOne, clock.nowMs()));
  parts.log("info", `other values of ${changed.join(", ")} came: ${woken.join(", ")} go on`, {});
}

/** The plan's provider as it was pinned: another plan may pass other variables to one of the same name. */
function isPassed(parts: Parts, planId: string, providerName: string, names: readonly string[]): boolean {
  const provider = parts.settingsOf(planId).providers[providerName];
  if (provider === undefined) return false;
  const passed = parts.providerEnvironment([...parts.backend(provider.kind).defaultPassEnv, ...provider.passEnv]);
  return names.some((name) => passed[name] !== undefined);
}
