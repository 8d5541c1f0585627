/** Tokens in money, for CLIs that tell no money: by a table of the config. */

/** US dollars for a million tokens. */
export interface Price {
  readonly input: number;
  readonly output: number;
  /** Of what went in, the part that was read from a cache; null: as `input`. */
  readonly cachedInput: number | null;
}

/** By the model's name; a name may end with `*`. `*` alone also stands for the provider's own choice of a model. */
export type Prices = Readonly<Record<string, Price>>;

/** The price that says most of a model: its whole name, else the longest beginning; null when none fits. */
export function priceOf(prices: Prices, model: string | null): Price | null {
  if (model !== null && Object.hasOwn(prices, model)) return prices[model] ?? null;
  const fitting = Object.keys(prices).filter(
    (name) => name.endsWith("*") && (model ?? "").startsWith(name.slice(0, -1)),
  );
  const best = fitting.toSorted((left, right) => right.length - left.length)[0];
  return best === undefined ? null : (prices[best] ?? null);
}

export interface UsedTokens {
  /** All that went in. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** The part of it that was read from a cache. */
  readonly cachedInputTokens: number;
}

export function costOfTokens(tokens: UsedTokens, price: Price): number {
  const fresh = Math.max(0, tokens.inputTokens - tokens.cachedInputTokens);
  const cached = tokens.cachedInputTokens * (price.cachedInput ?? price.input);
  return (fresh * price.input + cached + tokens.outputTokens * price.output) / 1_000_000;
}
