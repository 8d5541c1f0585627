/**
 * Whose turn it is to change a repository. A change is alone, or, when it touches one worktree's files and branch only,
 * beside the same in other worktrees: twenty agents that are stopped at once are committed some at a time.
 *
 * Strictly in the order of asking, so that nobody waits for ever; hence not reentrant.
 */
export interface ChangeTurns {
  readonly alone: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** `worktree`: two changes of the same one never overlap. */
  readonly beside: <Result>(worktree: string, work: () => Promise<Result>) => Promise<Result>;
}

interface Waiting {
  /** Null: alone. */
  readonly worktree: string | null;
  readonly begin: () => void;
}

/** More gain nothing: each is a chain of short processes, and there are only so many processors. */
const SIDE_BY_SIDE = 6;

export function changeTurns(): ChangeTurns {
  const waiting: Waiting[] = [];
  const running = new Set<string | null>();

  const mayBegin = ({ worktree }: Waiting): boolean =>
    worktree === null
      ? running.size === 0
      : running.size < SIDE_BY_SIDE && !running.has(null) && !running.has(worktree);

  const beginNext = (): void => {
    for (let next = waiting[0]; next !== undefined && mayBegin(next); next = waiting[0]) {
      waiting.shift();
      running.add(next.worktree);
      next.begin();
    }
  };

  const inTurn = async <Result>(worktree: string | null, work: () => Promise<Result>): Promise<Result> => {
    await new Promise<void>((begin) => {
      waiting.push({ worktree, begin });
      beginNext();
    });
    try {
      return await work();
    } finally {
      running.delete(worktree);
      beginNext();
    }
  };

  return { alone: (work) => inTurn(null, work), beside: inTurn };
}
