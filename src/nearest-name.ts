/** The candidate that `name` was most likely meant to be, or null when none is near (more than a third is different). */
export function nearestName(name: string, candidates: Iterable<string>): string | null {
  const wanted = name.toLowerCase();
  let best: string | null = null;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best !== null && bestDistance <= Math.max(1, Math.floor(Math.max(wanted.length, best.length) / 3))
    ? best
    : null;
}

/** Levenshtein distance, a swap of two neighbours counted as one. Names are short: quadratic is fine. */
function editDistance(left: string, right: string): number {
  // A name of a megabyte is nobody's typing error; what is beyond 64 characters can't be near anything.
  if (left.length > 64 || right.length > 64) return Infinity;
  const rows: number[][] = [Array.from({ length: right.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      let cost = Math.min(
        at(rows, row - 1, column) + 1,
        (current[column - 1] ?? Infinity) + 1,
        at(rows, row - 1, column - 1) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]) {
        cost = Math.min(cost, at(rows, row - 2, column - 2) + 1);
      }
      current.push(cost);
    }
    rows.push(current);
  }
  return at(rows, left.length, right.length);
}

function at(rows: readonly (readonly number[])[], row: number, column: number): number {
  return rows[row]?.[column] ?? Infinity;
}
