/**
 * Who holds which write claims on which target, and who waits for them in which order.
 *
 * Claims are taken whole or not at all. A waiting claim is not overtaken by a later one that overlaps it: each waiter
 * is blocked by one task, the latest earlier waiter that overlaps, or else a holder. So a release wakes only those that
 * waited for that very task, and a thousand tasks that want one file form a chain, not a crowd.
 */
import { ClaimIndex } from "./claim-index.ts";
import { claimsOverlap } from "./claims.ts";
import type { TaskNode } from "./node.ts";

/** With more candidates than this the line is searched from its end: then an overlap is near. */
const MAX_CANDIDATES = 64;

interface TargetClaims {
  readonly holders: Set<TaskNode>;
  /** In the order of their asking; holes where a waiter left. */
  line: (TaskNode | null)[];
  holes: number;
  /** Holders and waiters by where their globs begin. */
  readonly index: ClaimIndex;
}

export class ClaimTable {
  readonly #targets = new Map<string, TargetClaims>();

  /** Takes the task's claims, or answers whom it waits for (and puts it in line). */
  tryTake(node: TaskNode): TaskNode | null {
    if (node.record.holdsClaims) return null;
    if (!hasClaims(node)) {
      node.record.holdsClaims = true;
      return null;
    }
    const claims = this.#claimsOf(node);
    const blocker = this.#findBlocker(claims, node);
    if (blocker !== null) {
      if (node.linePlace === null) {
        node.linePlace = claims.line.length;
        claims.line.push(node);
        claims.index.add(node);
      }
      node.blockedBy = blocker;
      blocker.blocks.add(node);
      return blocker;
    }
    this.#leaveLine(claims, node);
    node.record.holdsClaims = true;
    claims.holders.add(node);
    claims.index.add(node);
    return null;
  }

  /** Notes a task that held its claims before a restart. */
  restore(node: TaskNode): void {
    if (!node.record.holdsClaims || !hasClaims(node)) return;
    const claims = this.#claimsOf(node);
    claims.holders.add(node);
    claims.index.add(node);
  }

  /** Gives up claims and the place in line. Answers the tasks that waited for this one: each may try again. */
  release(node: TaskNode): TaskNode[] {
    const claims = this.#claimsOf(node);
    node.record.holdsClaims = false;
    claims.holders.delete(node);
    claims.index.remove(node);
    this.#leaveLine(claims, node);
    node.blockedBy?.blocks.delete(node);
    node.blockedBy = null;
    const woken = [...node.blocks];
    node.blocks.clear();
    for (const waiter of woken) waiter.blockedBy = null;
    return woken;
  }

  holders(target: string): readonly TaskNode[] {
    return [...(this.#targets.get(target)?.holders ?? [])];
  }

  #findBlocker(claims: TargetClaims, node: TaskNode): TaskNode | null {
    const wanted = node.record.spec.writes ?? [];
    const candidates = claims.index.near(wanted, MAX_CANDIDATES);
    if (candidates !== null) return findAmong(candidates, node, wanted);
    const from = (node.linePlace ?? claims.line.length) - 1;
    for (let index = from; index >= 0; index -= 1) {
      const other = claims.line[index];
      if (other !== null && other !== undefined && claimsOverlap(wanted, other.record.spec.writes ?? [])) return other;
    }
    for (const holder of claims.holders) {
      if (holder !== node && claimsOverlap(wanted, holder.record.spec.writes ?? [])) return holder;
    }
    return null;
  }

  #leaveLine(claims: TargetClaims, node: TaskNode): void {
    if (node.linePlace === null) return;
    claims.line[node.linePlace] = null;
    node.linePlace = null;
    claims.holes += 1;
    if (claims.holes * 2 <= claims.line.length || claims.holes < 16) return;
    claims.line = claims.line.filter((waiter) => waiter !== null);
    claims.holes = 0;
    claims.line.forEach((waiter, index) => {
      if (waiter !== null) waiter.linePlace = index;
    });
  }

  #claimsOf(node: TaskNode): TargetClaims {
    const { target } = node.plan.record;
    let claims = this.#targets.get(target);
    if (claims === undefined) {
      claims = { holders: new Set(), line: [], holes: 0, index: new ClaimIndex() };
      this.#targets.set(target, claims);
    }
    return claims;
  }
}

/** The latest earlier waiter that overlaps, or else a holder. */
function findAmong(candidates: ReadonlySet<TaskNode>, node: TaskNode, wanted: readonly string[]): TaskNode | null {
  let latest: TaskNode | null = null;
  let holder: TaskNode | null = null;
  for (const other of candidates) {
    if (other === node || !claimsOverlap(wanted, other.record.spec.writes ?? [])) continue;
    if (other.linePlace === null) holder = other;
    else if (other.linePlace < (node.linePlace ?? Infinity) && other.linePlace > (latest?.linePlace ?? -1))
      latest = other;
  }
  return latest ?? holder;
}

function hasClaims(node: TaskNode): boolean {
  return node.record.spec.writes !== null && node.record.spec.writes.length > 0;
}
