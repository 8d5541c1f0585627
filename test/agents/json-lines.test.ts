import fc from "fast-check";
import { expect, test } from "vitest";
import { JsonLines, type OutputLine } from "../../src/agents/json-lines.ts";
import { cut } from "./turn-request.ts";

function readAll(chunks: readonly string[], maxLineLength?: number): OutputLine[] {
  const lines = new JsonLines(maxLineLength === undefined ? {} : { maxLineLength });
  return [...chunks.flatMap((chunk) => lines.push(chunk)), ...lines.end()];
}

test("objects and arrays come out as JSON, everything else as text", () => {
  expect(readAll(['{"a":1}\n[2]\nnot json\n42\n"word"\n{"broken":\n'])).toEqual([
    { json: { a: 1 } },
    { json: [2] },
    { text: "not json" },
    { text: "42" },
    { text: '"word"' },
    { text: '{"broken":' },
  ]);
});

test("blank lines are dropped, CRLF is one line end, and the last line needs none", () => {
  expect(readAll(['\n\r\n  \n{"a":1}\r\n{"b":2}'])).toEqual([{ json: { a: 1 } }, { json: { b: 2 } }]);
});

test("a line beyond the cap is dropped with its beginning shown, and the next one is read", () => {
  const lines = readAll([`{"a":"${"x".repeat(50)}`, `${"x".repeat(50)}"}\n{"b":2}\n`], 60);
  expect(lines).toEqual([
    { text: expect.stringMatching(/^\{"a":"x+… \(a line of 108 characters, dropped\)$/) },
    { json: { b: 2 } },
  ]);
});

test("a line of exactly the cap is kept", () => {
  expect(readAll(['{"a":1}\n'], 7)).toEqual([{ json: { a: 1 } }]);
});

test("any cut of the stream gives the same lines", () => {
  const line = fc.oneof(
    fc.json(),
    fc.string(),
    fc.constant('{"type":"text","text":"é漢😀"}'),
    fc.constant("x".repeat(100)),
    fc.constant(""),
    fc.constant("\r"),
  );
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat()), fc.boolean(), (lines, places, withEnd) => {
      const text = lines.join("\n") + (withEnd ? "\n" : "");
      expect(readAll(cut(text, places), 80)).toEqual(readAll([text], 80));
    }),
  );
});
