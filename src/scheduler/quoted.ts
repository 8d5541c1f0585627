/** Longest piece of other agents' words that is repeated to an agent. */
export const MAX_QUOTED_CHARACTERS = 4_000;

/** Foreign words stand in a block of their own, so that they read as data; its end can't be forged from inside. */
export function block(text: string, what: string): string {
  return `<<<${what}\n${text.replaceAll(`${what}>>>`, `${what}> >>`)}\n${what}>>>`;
}

export function quoted(text: string, what: string, max: number = MAX_QUOTED_CHARACTERS): string {
  return `${block(cutBeginning(text, max), what)}\n`;
}

/** Keeps the end: that is where errors are. */
export function cutBeginning(text: string, max: number): string {
  return text.length <= max ? text : `… ${text.slice(-max)}`;
}
