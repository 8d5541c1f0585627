/**
 * `orchestrator serve`: the engine in the foreground, for service managers and for looking. Ctrl-C, TERM and a closing
 * terminal end it in order, and it never outlives this command.
 */
import { once } from "node:events";
import { connectClient } from "../../engine/client.ts";
import { toAppError } from "../../engine/protocol.ts";
import { startOwnEngine } from "../../engine/start.ts";
import { readEngineFile, stateFolderOf } from "../../engine/state-folder.ts";
import { catchStopSignals } from "../../engine/stop-signals.ts";
import { AppError } from "../../errors.ts";
import { findRepositoryFor } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import type { VerbRunner } from "../verb.ts";

export const runServe: VerbRunner = async (invocation, terminal) => {
  const { commonDir, place } = findRepositoryFor(invocation.repo);
  const folder = stateFolderOf(commonDir);
  let endAtOnce = (): void => undefined;
  const interrupts = catchStopSignals(
    () => {
      endAtOnce();
      process.exit(EXIT.interrupted);
    },
    // Under nohup, without a terminal, it goes on.
    process.stdin.isTTY || process.stdout.isTTY ? ["SIGINT", "SIGTERM", "SIGHUP"] : ["SIGINT", "SIGTERM"],
  );
  const { report, child } = await startOwnEngine(commonDir, process.env);
  const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : Promise.resolve();
  // The guard ends what it ran.
  endAtOnce = () => void child.kill("SIGKILL");
  const stop = (): void => void child.kill("SIGTERM");
  if (interrupts.signal.aborted) stop();
  else interrupts.signal.addEventListener("abort", stop);
  if (report.outcome === "held") {
    throw new AppError("ENGINE_UNREACHABLE", "another engine has this repository already; `orchestrator stop` ends it");
  }
  if (report.outcome === "failed") throw toAppError(report.error);
  if (report.outcome !== "ready" && !interrupts.signal.aborted) {
    throw new AppError("ENGINE_UNREACHABLE", `the engine ended while it started; ${folder.logFile} has more`);
  }
  if (!interrupts.signal.aborted) {
    // Variables for providers come with clients: this terminal's own count too, and while it is here the engine stays.
    const self = await connectClient({ commonDir, place, clientName: "orchestrator serve", mayStart: false });
    const socket = readEngineFile(folder.engineFile)?.socket ?? null;
    if (invocation.json) terminal.printJson({ engineId: self.engineId, socket, log: folder.logFile });
    else {
      terminal.print(`Engine ${self.engineId} listens on ${socket}`, `log: ${folder.logFile}`, "Ctrl-C ends it.");
    }
    await ended;
    self.close();
  } else await ended;
  return interrupts.signal.aborted ? EXIT.interrupted : EXIT.succeeded;
};
