/** `--budget usd=5 --budget tokens=2000000`: bounds of a plan on the command line. */
import { AppError } from "../errors.ts";

const UNITS = ["usd", "tokens", "minutes"] as const;

/** What the options say, for `create_plan` and `update_plan`; null when none was given. Throws USAGE. */
export function readBudget(options: readonly string[]): Record<string, number> | null {
  if (options.length === 0) return null;
  const budget: Record<string, number> = {};
  for (const option of options) {
    const [, unit = "", amount = ""] = /^([a-z]+)=(.+)$/.exec(option.trim()) ?? [];
    if (!UNITS.some((known) => known === unit) || !/^\d+(\.\d+)?$/.test(amount)) {
      throw new AppError(
        "USAGE",
        `--budget must be ${UNITS.map((known) => `${known}=N`).join(", ")}, not ${JSON.stringify(option.slice(0, 40))}`,
        { details: { option: "budget" } },
      );
    }
    if (unit in budget) throw new AppError("USAGE", `--budget gives ${unit} twice`, { details: { option: "budget" } });
    budget[unit] = Number(amount);
  }
  return budget;
}
