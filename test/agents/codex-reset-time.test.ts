import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readDelay, readResetTime } from "../../src/agents/codex-reset-time.ts";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** As Codex writes it (seen): local, the date only when it is not today. */
function words(reset: Date, now: Date): string {
  const hour = reset.getHours() % 12 === 0 ? 12 : reset.getHours() % 12;
  const half = reset.getHours() < 12 ? "AM" : "PM";
  const clock = `${hour}:${String(reset.getMinutes()).padStart(2, "0")} ${half}`;
  const isToday = reset.toDateString() === now.toDateString();
  const day = reset.getDate();
  const suffix = day > 10 && day < 20 ? "th" : (["th", "st", "nd", "rd"][day % 10] ?? "th");
  const date = isToday ? "" : `${MONTHS[reset.getMonth()] ?? ""} ${day}${suffix}, ${reset.getFullYear()} `;
  return `You’ve hit your usage limit. Visit https://x to purchase more credits or try again at ${date}${clock}.`;
}

describe("when a usage limit of Codex ends", () => {
  it("is read from its words, to the minute and never too early", () => {
    const moment = fc.date({ min: new Date(2026, 0, 1), max: new Date(2028, 0, 1), noInvalidDate: true });
    fc.assert(
      fc.property(moment, fc.integer({ min: 0, max: 40 * 86_400 }), (now, seconds) => {
        const reset = new Date(now.getTime() + seconds * 1000);
        // Twice a year an hour of local time is there twice, and its words don't tell which is meant.
        const twin = (hours: number) => words(new Date(reset.getTime() + hours * 3_600_000), now) === words(reset, now);
        fc.pre(!twin(1) && !twin(-1));
        const read = readResetTime(words(reset, now), now.getTime()) ?? Number.NaN;
        expect(read - reset.getTime()).toBeGreaterThan(0);
        expect(read - reset.getTime()).toBeLessThanOrEqual(60_000);
      }),
    );
  });

  it("is not known when no time is named, or when the time is past: the words are then of another zone", () => {
    const nowMs = new Date(2026, 10, 21, 12, 0).getTime();
    expect(readResetTime("You’ve hit your usage limit. Try again later.", nowMs)).toBeNull();
    expect(readResetTime("or try again at 11:30 AM.", nowMs)).toBeNull();
    expect(readResetTime("or try again at Nob 22nd, 2026 11:30 AM.", nowMs)).toBeNull();
  });

  it("is understood as a delay, too", () => {
    expect(readResetTime("Upgrade to Pro or try again in 4 days 3 hours 5 minutes.", 1000)).toBe(1000 + 356_700_000);
    expect(readDelay("Please try again in 1.5s.")).toBe(1500);
    expect(readDelay("Please try again in 20ms. Visit x")).toBe(20);
    expect(readDelay("Please try again in 6m0s.")).toBe(360_000);
    expect(readDelay("try again in a while")).toBeNull();
    expect(readDelay("try again in 3 moons")).toBeNull();
  });
});
