/** Ctrl-C: the first asks for an end in order, the second leaves at once. TERM counts as one. */
import { EXIT } from "./exit-codes.ts";

export interface Interrupts {
  /** Aborted at the first one. */
  readonly signal: AbortSignal;
  /** Gives the signals their usual meaning back. */
  release(): void;
}

export function catchInterrupts(): Interrupts {
  const abort = new AbortController();
  const heard = (): void => {
    if (abort.signal.aborted) process.exit(EXIT.interrupted);
    abort.abort();
  };
  process.on("SIGINT", heard);
  process.on("SIGTERM", heard);
  return {
    signal: abort.signal,
    release: () => {
      process.off("SIGINT", heard);
      process.off("SIGTERM", heard);
    },
  };
}
