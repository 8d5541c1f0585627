/** One thing that `init` would do, found out without doing it. */
export interface Step {
  /** `Claude Code`, `git hooks` … */
  readonly what: string;
  readonly file: string | null;
  /**
   * create, change, delete: `apply` does it · none: it is so already · skip: not for this machine · left: a person must
   * look, nothing was or will be touched.
   */
  readonly action: "create" | "change" | "delete" | "none" | "skip" | "left";
  readonly message: string;
  /** Does it; answers what turned out otherwise than planned. Null: there is nothing to do. */
  readonly apply: (() => Promise<Outcome>) | null;
}

export type Outcome = Partial<Pick<Step, "action" | "message">>;
