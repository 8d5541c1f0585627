/** A change of a text as one replacement, small enough to be kept: what others wrote in the file is not in it. */

export interface TextEdit {
  /** In UTF-16 units, as strings count. */
  readonly offset: number;
  readonly removed: string;
  readonly inserted: string;
}

/** The edit that makes `after` of `before`: everything between what both begin and end with. */
export function editBetween(before: string, after: string): TextEdit {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  return {
    offset: start,
    removed: before.slice(start, before.length - end),
    inserted: after.slice(start, after.length - end),
  };
}

/** The text before the edit. `text` must be what the edit made. */
export function revertEdit(text: string, { offset, removed, inserted }: TextEdit): string {
  return text.slice(0, offset) + removed + text.slice(offset + inserted.length);
}
