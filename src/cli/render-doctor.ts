/** The doctor's findings as lines. */
import { styled, type Line, type Style } from "./styled.ts";

export interface Finding {
  readonly check: string;
  /** `fail`: nothing can run here before it is mended · `warn`: something can't · `ok`. */
  readonly level: "ok" | "warn" | "fail";
  readonly message: string;
  /** The command that mends it. */
  readonly fix: string | null;
}

const SIGNS: Readonly<Record<Finding["level"], readonly [string, Style]>> = {
  ok: ["✓", "green"],
  warn: ["!", "yellow"],
  fail: ["✗", "red"],
};

export function renderFindings(findings: readonly Finding[]): Line[] {
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  const lines: Line[] = [];
  for (const { check, level, message, fix } of findings) {
    const [sign, style] = SIGNS[level];
    const [first = "", ...rest] = message.trimEnd().split("\n");
    lines.push([styled(sign, style), ` ${check.padEnd(width)}  ${first}`]);
    for (const line of rest) lines.push([" ".repeat(width + 4), line]);
    if (fix !== null) lines.push([" ".repeat(width + 4), "→ ", styled(fix, "bold")]);
  }
  return lines;
}
