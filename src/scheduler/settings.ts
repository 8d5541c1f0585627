/** What the scheduler needs of a plan's pinned config: plain values, so that it never reads a config file. */
import type { BackendKind, Permissions } from "../agents/backend.ts";
import type { Prices } from "../plan/prices.ts";
import type { QuestionSettings } from "../questions/route.ts";

export interface ProviderSettings {
  readonly name: string;
  readonly kind: BackendKind;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Names or `PREFIX_*` patterns; a plain name is one that the provider can't do without. */
  readonly passEnv: readonly string[];
  readonly limit: number | null;
  /** As the config says now; missing in what an older version pinned. */
  readonly prices?: Prices;
}

export interface RoleSettings {
  readonly name: string;
  /** The one it prefers. */
  readonly provider: string;
  /** Where its tasks go while that one can't take them, in this order. */
  readonly otherProviders?: readonly string[];
  /** In the words of the preferred provider: `modelFor` says whom it is given to. */
  readonly model: string | null;
  readonly systemPrompt: string | null;
  readonly tools: readonly string[] | null;
  readonly permissions: Permissions;
  /** May its agents push to remotes? Absent in plans of before: no. */
  readonly push?: boolean;
}

export interface WorkflowSettings {
  readonly steps: readonly { readonly agent: string; readonly prompt: string | null }[];
  readonly maxRounds: number;
}

/** What becomes of tasks that agents propose. */
export interface ProposalSettings {
  /** ask: each waits for a person's approval · auto: they join the plan · off: they stay in the report. */
  readonly policy: "ask" | "auto" | "off";
  /** How far proposals of proposed tasks go: 1 = only tasks that nobody proposed may propose. */
  readonly maxDepth: number;
  readonly maxPerTask: number;
}

export interface WorktreeSettings {
  /** Globs of ignored files to copy from the main worktree. */
  readonly copy: readonly string[];
  /** Paths to link to the main worktree's. */
  readonly link: readonly string[];
  /** Shell commands that make a new worktree ready. */
  readonly setup: readonly string[];
}

export interface PlanSettings {
  readonly roles: Readonly<Record<string, RoleSettings>>;
  readonly providers: Readonly<Record<string, ProviderSettings>>;
  readonly verify: readonly string[];
  readonly verifyTimeoutMs: number;
  readonly killGraceMs: number;
  readonly undeclaredWrites: "warn" | "fail" | "allow";
  /** An agent without a sign of life for so long is ended and tried again. */
  readonly stallMs: number;
  readonly worktree: WorktreeSettings;
  readonly questions: QuestionSettings;
  readonly workflows: Readonly<Record<string, WorkflowSettings>>;
  readonly proposals: ProposalSettings;
  /** Whether the tasks that a goal is decomposed into start without a look. */
  readonly startsAlone: boolean;
}

/** A role's model for a provider: another kind of CLI does not know the names of the first one's models and uses its own. */
export function modelFor(
  settings: Pick<PlanSettings, "providers">,
  role: RoleSettings,
  provider: string,
): string | null {
  const { providers } = settings;
  return providers[provider]?.kind === providers[role.provider]?.kind ? role.model : null;
}
