/**
 * Tells slow from hung. An agent that shows no sign of life for `agents.stallMinutes` (no output, no processor time, no
 * children coming or going) is ended and tried again: some CLIs wait without a word for hours on an endpoint that hangs.
 * Commands are left to their deadline: a script may well sleep.
 */
import { healthOf, type ManagedProcess, type ProcessSample } from "../process/process-manager.ts";
import type { Prepared } from "./attempt-request.ts";
import type { Parts } from "./parts.ts";

const LOOK_EVERY_MS = 60_000;

/** Watches until the answer is called. */
export function watchForStall(parts: Parts, child: ManagedProcess, { backend, settings }: Prepared): () => void {
  if (backend.kind === "command") return () => {};
  const { clock, processes, log } = parts;
  const lookEveryMs = Math.min(LOOK_EVERY_MS, settings.stallMs / 2);
  let before: ProcessSample | null = null;
  let cancel = (): void => {};
  let isOver = false;
  const look = async (): Promise<void> => {
    const now = await processes.sample(child.id);
    if (isOver || now === null) return;
    if (before !== null && healthOf(before, now, { quietMs: settings.stallMs }) === "hung") {
      log("warning", `${child.label} shows no sign of life for ${Math.round(now.silentMs / 60_000)} minutes`, {});
      void child.stop("stalled");
      return;
    }
    before = now;
    arm();
  };
  const arm = (): void => {
    cancel = clock.schedule(lookEveryMs, () => void look().catch(() => arm()));
  };
  arm();
  return () => {
    isOver = true;
    cancel();
  };
}
