/** What the account of a simulated life holds. */
import type { Ledger, TaskKey } from "../../src/plan/records.ts";
import type { Wait } from "../../src/plan/task-state.ts";
import type { BudgetBook } from "./budget-book.ts";
import type { ClaimBook } from "./claim-book.ts";
import type { MergeBook } from "./merge-book.ts";
import type { ProviderListBook } from "./provider-lists.ts";

/** Plain values, so that what was never committed can be taken back. */
export interface Book extends ClaimBook, BudgetBook, MergeBook, ProviderListBook {
  /** Tasks that the store tells as running, with whose slot each has. */
  running: Map<TaskKey, { readonly planId: string; readonly provider: string }>;
  /** Those of them whose agent was really started. */
  launched: Set<TaskKey>;
  /** The merge under way, for each target. */
  merging: Map<string, TaskKey>;
  /** Merges that are in their target, whether anybody knows it or not. */
  arrived: Set<TaskKey>;
  done: Set<TaskKey>;
  probes: Map<string, TaskKey>;
  spent: Map<TaskKey, Ledger>;
  /** How many steps of its workflow each task has behind it; all of them before it may merge. */
  passed: Map<TaskKey, number>;
  /** Tasks whose last reject waits for a person. */
  rejected: Set<TaskKey>;
  waits: Map<TaskKey, Wait>;
}

export function emptyBook(): Book {
  return {
    running: new Map(),
    launched: new Set(),
    merging: new Map(),
    arrived: new Set(),
    done: new Set(),
    holders: new Map(),
    line: new Map(),
    probes: new Map(),
    spent: new Map(),
    passed: new Map(),
    rejected: new Set(),
    waits: new Map(),
    lists: new Map(),
    ruledOut: new Map(),
    health: new Map(),
    used: new Map(),
    aside: new Map(),
    told: new Map(),
    letThrough: new Map(),
  };
}
