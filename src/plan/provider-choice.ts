/**
 * Which provider of its step a task starts with. Pure over the providers' health.
 *
 * The first of them whose gate lets it through now. A provider that is only busy is waited for, or one with a small limit
 * would never be the preferred one. A provider that waits for its probe lets one through,
 * so it is the preferred one again as soon as it is well. Who went elsewhere stays there (`switchTo` puts that provider
 * first), with the conversation it has there, unless that one is shut too.
 */
import type { FailureCause } from "./failure-cause.ts";
import type { Gate } from "./provider-gate.ts";
import type { ProviderHealth, TaskRecord } from "./records.ts";
import { stepOf } from "./workflow.ts";

/** How the providers stand: `ProviderTable`, or a test's. */
interface Providers {
  gate(name: string, nowMs: number): Gate;
  probeOf(name: string): unknown;
}

/** The providers that the task's step may use now, in the order of preference; at least the one it is with. */
export function candidatesOf(task: Pick<TaskRecord, "workflow" | "step" | "provider" | "ruledOut">): readonly string[] {
  const { otherProviders } = stepOf(task);
  // One alone is asked again also where it was ruled out: whoever lets the task go on means it to be tried.
  if (otherProviders === undefined) return [task.provider];
  const left = [task.provider, ...otherProviders].filter((name) => !task.ruledOut.includes(name));
  return left.length === 0 ? [task.provider] : left;
}

/** Whether the gate lets a task of this provider start now. */
export function letsThrough(providers: Providers, name: string, nowMs: number): boolean {
  const gate = providers.gate(name, nowMs);
  if (gate.state === "shut") return false;
  return gate.state === "open-to-all" || providers.probeOf(name) === null;
}

/**
 * The first that lets a task through; null when it waits for one that does. Money sends nobody elsewhere, but who has to
 * go elsewhere goes where the plan's budget has room (`hasRoom`), or waits for one that is shut and within it: only where
 * none is, it is with the first that is open, and a person is asked.
 */
export function chooseProvider(
  candidates: readonly string[],
  providers: Providers,
  nowMs: number,
  hasRoom: (name: string) => boolean,
): string | null {
  const open = candidates.filter((name) => letsThrough(providers, name, nowMs));
  const first = open[0] ?? null;
  if (first === null || first === candidates[0]) return first;
  const payable = open.find(hasRoom);
  if (payable !== undefined) return payable;
  return candidates.some((name) => !open.includes(name) && hasRoom(name)) ? null : first;
}

/** Puts the provider in front of the step's others. Only while the task is in no queue and holds no slot. */
export function switchTo(task: TaskRecord, provider: string): void {
  const step = stepOf(task);
  const others = [step.provider, ...(step.otherProviders ?? [])].filter((name) => name !== provider);
  const steps = task.workflow.steps.map((one) => (one === step ? { ...step, provider, otherProviders: others } : one));
  task.workflow = { ...task.workflow, steps };
  task.provider = provider;
}

/** What a person must put right at the provider itself: another one may do meanwhile. */
const NEEDS_PERSON_THERE: ReadonlySet<string> = new Set<FailureCause>(["auth", "billing", "spawn-failed"]);

/**
 * The provider can't serve this task before a person has acted. True when another of its step can; false leaves the task
 * as it was.
 */
export function ruleOut(task: TaskRecord, code: string): boolean {
  if (!NEEDS_PERSON_THERE.has(code) || stepOf(task).otherProviders === undefined) return false;
  const ruledOut = [...new Set([...task.ruledOut, task.provider])];
  const { provider, otherProviders = [] } = stepOf(task);
  if ([provider, ...otherProviders].every((name) => ruledOut.includes(name))) return false;
  task.ruledOut = ruledOut;
  return true;
}

/** Why nobody passes a provider's gate, or only a probe, in the words that people read. */
export function describeGate(gate: Exclude<Gate, { state: "open-to-all" }>): string {
  const what = gate.code === "circuit-open" ? "keeps failing" : "has used up its account's limit";
  return gate.state === "shut" ? `${what} (until ${new Date(gate.untilMs).toISOString()})` : what;
}

/** Why a task leaves `from` for `to`. */
export function describeSwitch(task: TaskRecord, from: ProviderHealth, gate: Gate, to: string): string {
  const why = task.ruledOut.includes(from.name)
    ? (task.message ?? "needs a person")
    : gate.state === "open-to-all"
      ? "it can't take the task"
      : describeGate(gate);
  return `goes to ${to}: ${from.name} ${why}`;
}
