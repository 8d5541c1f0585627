/** Which rules answer an event, and what bounds them. Pure. */
import { createHash } from "node:crypto";
import picomatch from "picomatch";
import type { GitEvent } from "./find-events.ts";

/** An entry of the config's `followUps`. */
export interface Rule {
  readonly on: "merge" | "commit";
  /** A name or a glob; null: whatever branch it happens to in the main worktree. */
  readonly branch: string | null;
  /** Globs; empty: any file, and also none. */
  readonly paths: readonly string[];
  readonly from: "user" | "orchestrator" | "any";
  readonly agent: string;
  readonly prompt: string;
  readonly workflow: string | null;
  readonly cooldownSeconds: number;
  readonly maxDepth: number;
}

/** Names a rule by what it answers and does; its bounds may change without making it another. */
export function ruleId({ on, branch, paths, from, agent, prompt, workflow }: Rule): string {
  const text = JSON.stringify([on, branch, paths, from, agent, prompt, workflow]);
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

/** Whether some rule follows the branch. Never one of ours: follow-ups would follow each other's work in progress. */
export function isFollowed(rules: readonly Rule[], branch: string): boolean {
  return (
    !/^orchestrator(\/|$)/i.test(branch) && rules.some((rule) => rule.branch === null || follows(rule, branch, false))
  );
}

/** `isCheckout`: it happened in the main worktree. */
export function follows(rule: Rule, branch: string, isCheckout: boolean): boolean {
  if (rule.branch === null) return isCheckout;
  return rule.branch === branch || picomatch.isMatch(branch, rule.branch, { dot: true });
}

/** How follow-ups led to an event: what its plans were started by. */
export interface Lineage {
  readonly depth: number;
  readonly chain: readonly string[];
}

export interface Match {
  readonly commits: readonly string[];
  readonly depth: number;
  readonly chain: readonly string[];
}

/** Null when the rule does not answer; `paths` are left to `touches`. */
export function match(rule: Rule, event: GitEvent, lineage: Lineage): Match | null {
  if (rule.on !== event.kind) return null;
  const commits = event.commits.filter(({ origin }) => rule.from === "any" || origin === rule.from);
  if (commits.length === 0) return null;
  const id = ruleId(rule);
  const depth = lineage.depth + 1;
  // What it brought about itself, however far back, never starts it again.
  if (lineage.chain.includes(id) || depth > rule.maxDepth) return null;
  return { commits: commits.map(({ sha }) => sha), depth, chain: [...lineage.chain, id] };
}

export function touches(rule: Rule, files: readonly string[]): boolean {
  if (rule.paths.length === 0) return true;
  const isMatch = picomatch([...rule.paths], { dot: true });
  return files.some((file) => isMatch(file));
}
