/** Ctrl-C: the first asks for an end in order, the second leaves at once. TERM counts as one. */
import { catchStopSignals, type StopSignals } from "../engine/stop-signals.ts";
import { EXIT } from "./exit-codes.ts";

export type Interrupts = StopSignals;

export function catchInterrupts(): Interrupts {
  return catchStopSignals(() => process.exit(EXIT.interrupted));
}
