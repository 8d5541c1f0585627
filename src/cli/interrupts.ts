/** Ctrl-C: the first asks for an end in order, the second leaves at once. TERM counts as one. */
import { catchStopSignals, type StopSignals } from "../engine/stop-signals.ts";
import { EXIT } from "./exit-codes.ts";

/** An engine that does not answer holds nobody here. */
const LEAVE_WITHIN_MS = 1_000;

export interface Interrupts extends StopSignals {
  /** What the second one has done before this process leaves. */
  beforeLeaving: () => Promise<unknown>;
}

export function catchInterrupts(): Interrupts {
  const leave = (): never => process.exit(EXIT.interrupted);
  let isLeaving = false;
  const signals = catchStopSignals(() => {
    if (isLeaving) leave();
    isLeaving = true;
    setTimeout(leave, LEAVE_WITHIN_MS);
    interrupts.beforeLeaving().then(leave, leave);
  });
  const interrupts: Interrupts = { ...signals, beforeLeaving: async () => {} };
  return interrupts;
}
