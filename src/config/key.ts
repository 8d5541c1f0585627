/** Keys as people write them: `limits.agents`, `workflows.standard.steps[0].agent`, `providers["my-llm"].limit`. */
import { AppError } from "../errors.ts";

const STEP = /(?:^|\.)([A-Za-z_$][\w$-]*)|\[(\d{1,6})\]|\["([\w$-]+)"\]/y;

/** The path that a key names. Throws USAGE for what is no key. */
export function parseKey(key: string): (string | number)[] {
  const path: (string | number)[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < key.length) {
    const match = STEP.exec(key);
    if (match === null) break;
    const [, word, index, quoted] = match;
    path.push(index === undefined ? (word ?? quoted ?? "") : Number(index));
    if (STEP.lastIndex === key.length) return path;
  }
  throw new AppError(
    "USAGE",
    `${JSON.stringify(key.slice(0, 100))} is not a key of the config. Expected names joined by dots, such as limits.agents or agents.coder.model.`,
  );
}
