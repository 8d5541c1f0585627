// @ts-check
// JavaScript, because the benches share it, and Node 20 runs them without a step before.

/**
 * Waits for a condition, never for time alone: until `condition` answers something else than false, null and undefined,
 * which is then the answer. What it throws ends the wait. The default deadline is far beyond what any condition needs,
 * on a loaded machine too, and within a test's own time, so that a wait in vain says what it was for.
 *
 * @template Value
 * @param {string} what reads well behind "until": "the engine is dead"
 * @param {() => Value | Promise<Value>} condition
 * @param {() => string} more what to tell besides when the time is up
 * @param {number} timeoutMs
 * @returns {Promise<Exclude<Value, false | null | undefined>>}
 */
export async function until(what, condition, more = () => "", timeoutMs = 60_000) {
  for (const endsMs = performance.now() + timeoutMs; ;) {
    const value = await condition();
    if (value !== false && value !== null && value !== undefined) {
      return /** @type {Exclude<Value, false | null | undefined>} */ (value);
    }
    if (performance.now() > endsMs) throw new Error(`Waited ${timeoutMs} ms until ${what}. ${more()}`.trimEnd());
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
