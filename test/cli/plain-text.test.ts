import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cutToWidth, displayWidth, padToWidth, plainLine, plainText } from "../../src/cli/plain-text.ts";
import { cutLine, paint, styled, textOf } from "../../src/cli/styled.ts";

const ESC = "\u001b";

describe("foreign text loses what a terminal would obey", () => {
  test.each([
    ["colours", `${ESC}[31mred${ESC}[0m`, "red"],
    ["a cursor that moves up and clears", `a${ESC}[2A${ESC}[Jb`, "ab"],
    ["a window title (OSC, BEL)", `a${ESC}]0;title\u0007b`, "ab"],
    ["a clipboard write (OSC, ST)", `a${ESC}]52;c;ZXZpbA==${ESC}\\b`, "ab"],
    ["a link whose text is elsewhere", `${ESC}]8;;http://evil${ESC}\\click${ESC}]8;;${ESC}\\`, "click"],
    ["an OSC without an end takes its line, not the next", `a${ESC}]0;never ends\nb`, "a\nb"],
    ["a device control string", `a${ESC}Pq#0${ESC}\\b`, "ab"],
    ["C1: CSI as one character", "a\u009b31mb", "ab"],
    ["C1: OSC as one character", "a\u009d0;t\u009cb", "ab"],
    ["a reset of the terminal", `a${ESC}cb`, "ab"],
    ["a character set that turns letters into lines", `a${ESC}(0b`, "ab"],
    ["a bare ESC at the end", `a${ESC}`, "a"],
    ["bidi overrides and isolates", "a\u202Etxt.exe\u202C\u2066b\u2069", "atxt.exeb"],
    ["what has no width", "a\u200b\u200d\ufeff\u00adb\u2060", "ab"],
    ["invisible tags", "a\u{e0041}\u{e007f}b", "ab"],
    ["bell, backspace, NUL, DEL", "a\u0007\u0008\u0000\u007fb", "ab"],
    ["a carriage return that would overwrite the line", "bad\rgood", "badgood"],
  ])("%s", (_what, text, expected) => expect(plainText(text)).toBe(expected));

  test("lines and tabs stay in a text, and become spaces in a line", () => {
    expect(plainText("a\r\n\tb\u2028c")).toBe("a\n\tb\nc");
    expect(plainLine("a\n\tb")).toBe("a  b");
  });

  test("letters of all scripts stay as they are", () => {
    for (const text of ["größe", "日本語", "Ελληνικά", "עברית", "e\u0301", "ok ✓"]) expect(plainText(text)).toBe(text);
  });

  test("whatever comes in, no control character comes out", () => {
    const nasty = fc.constantFrom(
      ESC,
      "[",
      "]",
      "\u009b",
      "\u009d",
      "\u0007",
      "\\",
      "m",
      "0",
      ";",
      "\n",
      "\u202e",
      "x",
      "\u0000",
      "P",
    );
    fc.assert(
      fc.property(fc.array(nasty, { maxLength: 40 }), (pieces) => {
        const text = plainLine(pieces.join(""));
        expect(text).toMatch(/^[ -~]*$/);
      }),
      { numRuns: 2000 },
    );
  });

  test("a renderer can't get past it: each piece of a line is made safe where it is written", () => {
    const line = [styled(`${ESC}[2Jname`, "bold"), `\u202Ea${ESC}]0;x\u0007`];
    expect(textOf(line)).toBe("namea");
    expect(paint(line, true)).toBe(`${ESC}[1mname${ESC}[22ma`);
  });
});

describe("widths are those of a terminal", () => {
  test.each([
    ["abc", 3],
    ["日本", 4],
    ["e\u0301", 1],
    ["한글", 4],
    ["🎉", 2],
    ["✓", 1],
  ])("%s", (text, width) => expect(displayWidth(text)).toBe(width));

  test("a cut text fits, says that it is cut, and never halves a character", () => {
    expect(cutToWidth("hello", 5)).toBe("hello");
    expect(cutToWidth("hello!", 5)).toBe("hell…");
    expect(cutToWidth("日本語", 4)).toBe("日…");
    expect(cutToWidth("abc", 0)).toBe("");
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 0, max: 30 }), (text, width) => {
        expect(displayWidth(cutToWidth(plainLine(text), width))).toBeLessThanOrEqual(width);
      }),
    );
  });

  test("padding counts columns, not characters", () => expect(padToWidth("日", 4)).toBe("日  "));

  test("a cut line keeps its styles and fits", () => {
    const line = cutLine([styled("abc", "red"), "defgh"], 6);
    expect(textOf(line)).toBe("abcde…");
    expect(displayWidth(textOf(line))).toBe(6);
  });
});
