/**
 * For `.catch` after a read: answers `value` where there is no such file, or can't be one, and throws whatever else kept it from
 * being read. Out of descriptors, what is there would look absent, and what looks absent is taken away.
 */
export function ifAbsent<Value>(value: Value): (thrown: unknown) => Value {
  return (thrown) => {
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : null;
    if (typeof code === "string" && ABSENT.has(code)) return value;
    throw thrown;
  };
}

const ABSENT: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP"]);
