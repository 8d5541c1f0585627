/** The version of this package, read from the package.json that it was installed with. */
import { readFileSync } from "node:fs";

/** Throws nothing: a package.json that can't be read gives 0.0.0, which every other version is newer than. */
export function readPackageVersion(): string {
  try {
    const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && "version" in parsed && typeof parsed.version === "string") {
      return parsed.version;
    }
  } catch {
    // Told by the version itself.
  }
  return "0.0.0";
}

/** Below 0: `left` is older. Numbers by value, a pre-release (`1.0.0-beta.2`) before its release; build marks count nothing. */
export function compareVersions(left: string, right: string): number {
  const [leftCore, leftPre] = split(left);
  const [rightCore, rightPre] = split(right);
  const core = compareLists(leftCore, rightCore);
  if (core !== 0) return core;
  if (leftPre.length === 0 || rightPre.length === 0) return rightPre.length - leftPre.length;
  return compareLists(leftPre, rightPre);
}

function split(version: string): [core: string[], pre: string[]] {
  const plain = version.replace(/^v/, "").split("+", 1)[0] ?? "";
  const dash = plain.indexOf("-");
  if (dash < 0) return [plain.split("."), []];
  return [plain.slice(0, dash).split("."), plain.slice(dash + 1).split(".")];
}

function compareLists(left: readonly string[], right: readonly string[]): number {
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const one = left[index] ?? "";
    const other = right[index] ?? "";
    const areNumbers = /^\d*$/.test(one) && /^\d*$/.test(other);
    const order = areNumbers ? Number(one) - Number(other) : one < other ? -1 : one > other ? 1 : 0;
    if (order !== 0) return order;
  }
  return 0;
}
