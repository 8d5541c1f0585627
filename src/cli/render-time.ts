/** Durations and money for people. */

/** `0:07`, `12:30`, `3:05:00`. */
export function renderDuration(durationMs: number): string {
  const seconds = Math.max(0, Math.floor(durationMs / 1000));
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number): string => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** `14:03:22`, local time. */
export function renderClock(atMs: number): string {
  const date = new Date(atMs);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Null when no CLI told what it cost. */
export function renderCost(costUsd: number | null): string | null {
  if (costUsd === null || costUsd === 0) return null;
  return costUsd < 0.01 ? "under $0.01" : `$${costUsd.toFixed(2)}`;
}
