/** Chance that repeats: the same seed gives the same life everywhere. */
export class SeededRandom {
  readonly #seed: number;
  #state: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#state = this.#seed;
  }

  /** In [0, 1). mulberry32: small, fast and the same on every machine. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    return mix(this.#state) / 4_294_967_296;
  }

  /** A whole number in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<Item>(items: readonly [Item, ...Item[]]): Item {
    return items[this.below(items.length)] ?? items[0];
  }

  /**
   * One of `items`, undefined when there are none. By their names, not by their places: what is chosen stays the same
   * when others are left out, so that a life can be made smaller piece by piece.
   */
  choose<Item>(items: Iterable<Item>, nameOf: (item: Item) => string): Item | undefined {
    const salt = this.below(4_294_967_296);
    let chosen: Item | undefined;
    let lowest = Infinity;
    for (const item of items) {
      const rank = hashOf(nameOf(item), salt);
      if (rank >= lowest) continue;
      lowest = rank;
      chosen = item;
    }
    return chosen;
  }

  /** True with `probability` for this name, whatever else was asked before. */
  chanceOf(name: string, probability: number): boolean {
    return hashOf(name, this.#seed) < probability * 4_294_967_296;
  }
}

/** A seed of its own for each part of something. */
export function seedOf(seed: number, part: string): number {
  return hashOf(part, mix(seed >>> 0));
}

/** FNV-1a, then mixed: names that differ in one letter rank anew. */
function hashOf(name: string, salt: number): number {
  let hash = (2_166_136_261 ^ salt) >>> 0;
  for (let index = 0; index < name.length; index += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 16_777_619);
  }
  return mix(hash >>> 0);
}

function mix(state: number): number {
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return (mixed ^ (mixed >>> 14)) >>> 0;
}
