/**
 * Ctrl-C and TERM: the first asks for an end in order, a second one for an end at once. Shared by the engine and by what
 * people run in a terminal.
 */

/** `npx` and `timeout` pass a signal on that the terminal, or they themselves, gave the whole group: the same one twice. */
const SAME_SIGNAL_MS = 250;

export interface StopSignals {
  /** Aborted at the first one, with its name as the reason. */
  readonly signal: AbortSignal;
  /** Gives the signals their usual meaning back. */
  release(): void;
}

/** `atSecond` is to end this process. Of a closing terminal (`SIGHUP`) hears only who names it. */
export function catchStopSignals(
  atSecond: () => void,
  names: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM"],
): StopSignals {
  const abort = new AbortController();
  let firstAtMs = 0;
  const heard = (name: NodeJS.Signals): void => {
    const nowMs = performance.now();
    if (!abort.signal.aborted) {
      firstAtMs = nowMs;
      abort.abort(name);
    } else if (nowMs - firstAtMs > SAME_SIGNAL_MS) atSecond();
  };
  for (const name of names) process.on(name, heard);
  return {
    signal: abort.signal,
    release: () => {
      for (const name of names) process.off(name, heard);
    },
  };
}
