/**
 * When a usage limit of Codex ends, from its words. 0.169 says `try again at 3:05 AM.` (local time of the process,
 * today) or `try again at Sep 29th, 2026 12:55 AM.`; older versions said `try again in 4 days 3 hours 5 minutes.`;
 * without a time it says `try again later.`
 */

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  second: 1000,
  m: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
};

const MINUTE_MS = 60_000;

const CLOCK_TIME =
  /try again at (?:([A-Z][a-z]{2})[a-z]* (\d{1,2})(?:st|nd|rd|th)?,? (\d{4}),? )?(\d{1,2}):(\d{2}) ?([AP]M)/i;

/**
 * The moment (epoch) at which the limit named in `message` ends, or null when it names none. The clock time is read in
 * this process's own zone: the agents are given the same `TZ` as the engine. A time that already lies in the past is
 * the sign of another zone and is not believed.
 */
export function readResetTime(message: string, nowMs: number): number | null {
  const delayMs = readDelay(message);
  if (delayMs !== null) return nowMs + delayMs;
  const match = CLOCK_TIME.exec(message);
  if (match === null) return null;
  const [, monthName, day, year, hour, minute, half] = match;
  const now = new Date(nowMs);
  const month = monthName === undefined ? now.getMonth() : MONTHS.indexOf(monthName.toLowerCase());
  if (month === -1) return null;
  const shown = new Date(
    year === undefined ? now.getFullYear() : Number(year),
    month,
    day === undefined ? now.getDate() : Number(day),
    (Number(hour) % 12) + (half?.toUpperCase() === "PM" ? 12 : 0),
    Number(minute),
  );
  // The seconds were cut off: only when the minute is over is the limit surely over.
  const resetsAtMs = shown.getTime() + MINUTE_MS;
  return resetsAtMs >= nowMs ? resetsAtMs : null;
}

const DELAY = /try again in ((?:\d+(?:\.\d+)? ?[a-z]+[ ,]*)+)/i;

/** The delay of `try again in 1.5s`, `20ms`, `6m0s` or `4 days 3 hours`, in milliseconds; null when none is named. */
export function readDelay(message: string): number | null {
  const words = DELAY.exec(message)?.[1];
  if (words === undefined) return null;
  let totalMs: number | null = null;
  for (const [, amount, unit] of words.matchAll(/(\d+(?:\.\d+)?) ?([a-z]+)/gi)) {
    const name = unit?.toLowerCase() ?? "";
    const unitMs = UNIT_MS[name] ?? UNIT_MS[name.replace(/s$/, "")];
    if (unitMs !== undefined) totalMs = (totalMs ?? 0) + Number(amount) * unitMs;
  }
  return totalMs === null ? null : Math.round(totalMs);
}
