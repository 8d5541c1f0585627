/**
 * Tasks that wait because of the user's checkout or of the target go on by themselves when that changes, and those whose
 * branch a person merged by hand are done. Nothing tells us when a person commits or cleans up, so it is looked at now and
 * then, and only while some task waits for it.
 */
import { existsSync } from "node:fs";
import { messageOf } from "../errors.ts";
import { checkoutSignature } from "../git/checkout-signature.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../plan/records.ts";
import type { Parts } from "./parts.ts";
import { branchOf } from "./task-place.ts";

const LOOK_EVERY_MS = 3_000;

export class CheckoutWatch {
  readonly #parts: Parts;
  readonly #goOn: (key: TaskKey) => void;
  /** What the checkout looked like when the task began to wait. */
  readonly #seen = new Map<TaskKey, string>();
  /** Files that git named as in the way: a lock, or one in an ignored folder, shows in no status. */
  readonly #inTheWay = new Map<TaskKey, readonly string[]>();
  /** The tips of target and branch at the last comparison. */
  readonly #compared = new Map<TaskKey, string>();
  #cancel: (() => void) | null = null;
  #isStopped = false;

  constructor(parts: Parts, goOn: (key: TaskKey) => void) {
    this.#parts = parts;
    this.#goOn = goOn;
  }

  start(): void {
    this.#cancel = this.#parts.clock.schedule(LOOK_EVERY_MS, () => {
      void this.#look().finally(() => {
        if (!this.#isStopped) this.start();
      });
    });
  }

  /**
   * Remembers what the checkout looked like before the merge that is now refused: a person may have cleared the way
   * between the refusal and anything that is looked at after it.
   */
  note(task: TaskRecord, signature: string, inTheWay: readonly string[]): void {
    this.#seen.set(taskKey(task), signature);
    this.#inTheWay.set(taskKey(task), inTheWay.filter(existsSync));
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  async #look(): Promise<void> {
    await this.#lookForHandMerges();
    const waiting = this.#waiting();
    if (waiting.length === 0) return this.#seen.clear();
    const signatures = new Map<string, string>();
    for (const { task, target } of waiting) {
      const key = taskKey(task);
      try {
        const isGone = this.#inTheWay.get(key)?.some((path) => !existsSync(path)) === true;
        const now = signatures.get(target) ?? (await checkoutSignature(this.#parts.repository, target));
        signatures.set(target, now);
        const before = this.#seen.get(key);
        this.#seen.set(key, now);
        // Nothing noted: it began to wait in an earlier engine, and who knows what changed since.
        if ((isGone || !isSame(before, now, task)) && !this.#isStopped) {
          this.#inTheWay.delete(key);
          this.#goOn(key);
        }
      } catch (thrown) {
        this.#parts.log("warning", `the checkout of ${target} could not be looked at: ${messageOf(thrown)}`, {});
      }
    }
    const keys = new Set(waiting.map(({ task }) => taskKey(task)));
    for (const map of [this.#seen, this.#inTheWay]) for (const key of map.keys()) if (!keys.has(key)) map.delete(key);
  }

  /**
   * A person may merge, squash or rebase a task's branch by hand, whatever the task waits for: the queue then finds
   * nothing to merge, and the task is done. Asked again only when the target or the branch moved.
   */
  async #lookForHandMerges(): Promise<void> {
    const { board, repository, log } = this.#parts;
    const open = new Set<TaskKey>();
    for (const plan of board.plans()) {
      if (plan.counts.waiting === 0 || plan.record.paused) continue;
      const targetSha = await repository.branchTip(plan.record.target).catch(() => null);
      for (const { record } of plan.nodes.values()) {
        if (record.state !== "waiting" || record.stage !== "merge" || record.wait?.code === "paused") continue;
        const key = taskKey(record);
        open.add(key);
        try {
          const branchSha = await repository.branchTip(branchOf(record));
          const tips = `${targetSha} ${branchSha}`;
          if (targetSha === null || branchSha === null || this.#compared.get(key) === tips) continue;
          this.#compared.set(key, tips);
          if ((await repository.isWorkIn(targetSha, branchSha)) && !this.#isStopped) this.#goOn(key);
        } catch (thrown) {
          log("warning", `${key} could not be compared with ${plan.record.target}: ${messageOf(thrown)}`, {});
        }
      }
    }
    for (const key of this.#compared.keys()) if (!open.has(key)) this.#compared.delete(key);
  }

  #waiting(): { task: TaskRecord; target: string }[] {
    const found: { task: TaskRecord; target: string }[] = [];
    for (const plan of this.#parts.board.plans()) {
      if (plan.counts.waiting === 0) continue;
      for (const { record } of plan.nodes.values()) {
        const code = record.wait?.code;
        const isForUs =
          code === "target" || (code === "manual-merge" && (record.spec.merge !== "manual" || record.consent !== null));
        if (isForUs) found.push({ task: record, target: plan.record.target });
      }
    }
    return found;
  }
}

/** A task that waits for the target itself waits for it to move: what a person edits meanwhile must not cost a verify. */
function isSame(before: string | undefined, now: string, task: TaskRecord): boolean {
  const isAboutTip = task.wait?.code === "target";
  return isAboutTip ? before?.split(" ")[0] === now.split(" ")[0] : before === now;
}
