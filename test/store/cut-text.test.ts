import fc from "fast-check";
import { expect, test } from "vitest";
import { cutText } from "../../src/store/cut-text.ts";

const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
);

test("a text within the cap is left as it is, one beyond it fits afterwards and is still well-formed", () => {
  fc.assert(
    fc.property(anyText, fc.integer({ min: 0, max: 600 }), (text, maxBytes) => {
      const cut = cutText(text, maxBytes);
      if (Buffer.byteLength(text) <= maxBytes) expect(cut).toBe(text);
      else {
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(maxBytes);
        expect(Buffer.from(cut).toString()).toBe(cut);
        expect(cut).not.toContain("\ufffd");
      }
    }),
    { examples: [["😀".repeat(50), 100]], numRuns: 500 },
  );
});

test("a cut text keeps its beginning and its end and says that something is missing", () => {
  const cut = cutText(`question ${"x".repeat(5000)} answer`, 500);
  expect(cut).toMatch(/^question x+\n\[… \d+ bytes and more left out …\]\nx+ answer$/);
});
