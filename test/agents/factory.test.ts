import { expect, test } from "vitest";
import { BACKEND_KINDS } from "../../src/agents/backend.ts";
import { createBackend } from "../../src/agents/index.ts";

test.each(BACKEND_KINDS)("B1: the factory gives a backend of the kind %s", (kind) => {
  const backend = createBackend(kind);
  expect(backend.kind).toBe(kind);
  expect(backend.hasSessions).toBe(kind !== "command");
  expect(backend.hasMcp).toBe(kind !== "command");
});

test("B1: an unknown kind is a clear error that names the kinds there are and the nearest", () => {
  expect(() => createBackend("cluade")).toThrow(
    expect.objectContaining({
      code: "BACKEND_NOT_FOUND",
      message: expect.stringMatching(/"cluade" \(did you mean "claude"\?\).*claude, codex, goose, command/),
      details: expect.objectContaining({ nearest: "claude" }),
    }),
  );
  expect(() => createBackend("gemini-cli-agent")).toThrow(/^(?!.*did you mean)/);
  for (const kind of ["", "toString", "__proto__", "Claude\n"]) {
    expect(() => createBackend(kind)).toThrow(expect.objectContaining({ code: "BACKEND_NOT_FOUND" }));
  }
});

test.each(BACKEND_KINDS)("%s: each variable it passes by default is a name or a prefix, as they are read", (kind) => {
  for (const pattern of createBackend(kind).defaultPassEnv) expect(pattern).toMatch(/^[A-Z_]+\*?$/);
});
