import { expect, test } from "vitest";
import { readResetTime } from "../../src/agents/claude-reset-time.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 4, 0);
const at = (day: number, hour: number, minute = 0, month = 10, year = 2026): number =>
  Date.UTC(year, month, day, hour, minute);

test.each([
  ["You've hit your 5-hour limit · resets 6:02am (UTC)", at(21, 6, 2)],
  ["resets 3am (UTC)", at(22, 3)],
  // Just over: the words are as old as the request.
  ["resets 3:58am (UTC)", at(21, 3, 58)],
  ["resets 12am (UTC)", at(22, 0)],
  ["resets 12pm (UTC)", at(21, 12)],
  ["resets at 2pm (Europe/Berlin)", at(21, 13)],
  ["resets 10:20pm (America/Los_Angeles)", at(21, 6, 20)],
  ["resets 3:20am (Asia/Calcutta)", at(21, 21, 50)],
  ["resets Nov 24, 9am (Asia/Tokyo)", at(24, 0)],
  ["resets Jan 2, 9am (UTC)", at(2, 9, 0, 0, 2027)],
  ["limit reached|1795300000", 1_795_300_000_000],
  ["resets Mon 3pm", null],
  ["resets 3pm (Mars/Olympus)", null],
  ["limit reached", null],
  ["", null],
])("%s", (text, expected) => {
  expect(readResetTime(text, NOW_MS)).toBe(expected);
});

test("a change of the clock on the way is taken into account", () => {
  // Berlin leaves summer time on 2026-10-25 at 03:00.
  expect(readResetTime("resets Oct 25, 9am (Europe/Berlin)", Date.UTC(2026, 9, 24, 12))).toBe(Date.UTC(2026, 9, 25, 8));
  // Los Angeles does on 2026-11-01 at 09:00 UTC: the same hour read as UTC still lies before it.
  const words = "resets Nov 1, 3am (America/Los_Angeles)";
  expect(readResetTime(words, Date.UTC(2026, 9, 31, 12))).toBe(Date.UTC(2026, 10, 1, 11));
});

test("without a zone the time is this machine's own", () => {
  const expected = new Date(NOW_MS);
  expected.setHours(expected.getHours() + 2, 0, 0, 0);
  const hour = expected.getHours();
  const words = `resets ${hour % 12 === 0 ? 12 : hour % 12}${hour < 12 ? "am" : "pm"}`;
  expect(readResetTime(words, NOW_MS)).toBe(expected.getTime());
});
