/**
 * When a usage limit of Claude ends, from its words, for versions that do not say it in a field of its own:
 * `…limit reached|1755806400` (epoch seconds), `resets 6:02am (UTC)`, `resets at 3pm (Europe/Berlin)`,
 * `resets Nov 24, 9am (Asia/Tokyo)`. Without a zone it is this process's own: the agents are given the same `TZ`.
 */

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const CLOCK_TIME =
  /resets?(?: at)? (?:([A-Z][a-z]{2})[a-z]* (\d{1,2})(?:,| at)? )?(\d{1,2})(?::(\d{2}))? ?([ap]m)(?: \(([\w/+-]+)\))?/i;

const DAY_MS = 86_400_000;

/** A clock time this far back is still "now": the words are as old as the request that was refused. */
const SLACK_MS = 5 * 60_000;

/** The moment (epoch) at which the limit named in `text` ends, or null when it can't be told. */
export function readResetTime(text: string, nowMs: number): number | null {
  const seconds = /\|(\d{9,11})\b/.exec(text)?.[1];
  if (seconds !== undefined) return Number(seconds) * 1000;
  const match = CLOCK_TIME.exec(text);
  if (match === null) return null;
  const [, monthName, day, hourText, minuteText, half, zone] = match;
  const hour = (Number(hourText) % 12) + (half?.toLowerCase() === "pm" ? 12 : 0);
  const minute = Number(minuteText ?? "0");
  try {
    const today = wallClock(nowMs, zone);
    if (monthName === undefined || day === undefined) {
      const at = momentOf({ ...today, hour, minute }, zone);
      // Twelve in the night is tomorrow's. A day of clock change is an hour long or short: asked again, not added.
      return at >= nowMs - SLACK_MS ? at : momentOf({ ...wallClock(nowMs + DAY_MS, zone), hour, minute }, zone);
    }
    const month = MONTHS.indexOf(monthName.toLowerCase());
    if (month === -1) return null;
    const at = momentOf({ year: today.year, month, day: Number(day), hour, minute }, zone);
    // In December a date in January is next year's.
    return at >= nowMs - DAY_MS ? at : momentOf({ year: today.year + 1, month, day: Number(day), hour, minute }, zone);
  } catch {
    // A zone that this Node does not know.
    return null;
  }
}

interface WallClock {
  readonly year: number;
  /** From 0. */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
}

/** What a clock in `zone` shows at `moment`. Throws RangeError for an unknown zone. */
function wallClock(momentMs: number, zone: string | undefined): WallClock {
  const format = new Intl.DateTimeFormat("en-US", {
    ...(zone === undefined ? {} : { timeZone: zone }),
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  });
  const parts = new Map(format.formatToParts(momentMs).map((part) => [part.type, Number(part.value)]));
  const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? Number.NaN;
  return {
    year: part("year"),
    month: part("month") - 1,
    day: part("day"),
    hour: part("hour"),
    minute: part("minute"),
  };
}

/** The moment at which a clock in `zone` shows `clock`. */
function momentOf(clock: WallClock, zone: string | undefined): number {
  const wanted = Date.UTC(clock.year, clock.month, clock.day, clock.hour, clock.minute);
  let moment = wanted;
  // The offset is that of the moment sought, which the first guess may miss by a clock change.
  for (let round = 0; round < 2; round += 1) {
    const shown = wallClock(moment, zone);
    moment += wanted - Date.UTC(shown.year, shown.month, shown.day, shown.hour, shown.minute);
  }
  return moment;
}
