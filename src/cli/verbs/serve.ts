/**
 * `orchestrator serve`: the engine in this process, in the foreground, for service managers and for looking. Ctrl-C ends
 * it in order.
 */
import { connectClient } from "../../engine/client.ts";
import { engineEnvironment } from "../../engine/environment.ts";
import { runEngine } from "../../engine/server.ts";
import { stateFolderOf } from "../../engine/state-folder.ts";
import { readPackageVersion } from "../../engine/version.ts";
import { AppError } from "../../errors.ts";
import { findRepositoryFor } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { catchInterrupts } from "../interrupts.ts";
import type { VerbRunner } from "../verb.ts";

export const runServe: VerbRunner = async (invocation, terminal) => {
  const environment = { ...process.env };
  const { commonDir, place } = findRepositoryFor(invocation.repo);
  const folder = stateFolderOf(commonDir);
  becomeEngine(environment, folder.hash);
  const interrupts = catchInterrupts();
  const engine = await runEngine({ commonDir, version: readPackageVersion(), environment: process.env });
  if (engine === null) {
    throw new AppError("ENGINE_UNREACHABLE", "another engine has this repository already; `orchestrator stop` ends it");
  }
  if (invocation.json)
    terminal.printJson({ engineId: engine.engineId, socket: engine.socketPath, log: folder.logFile });
  else
    terminal.print(
      `Engine ${engine.engineId} listens on ${engine.socketPath}`,
      `log: ${folder.logFile}`,
      "Ctrl-C ends it.",
    );
  // Variables for providers come with clients: this terminal's own count too, and while it is here the engine stays.
  const self = await connectClient({
    commonDir,
    place,
    clientName: "orchestrator serve",
    mayStart: false,
    environment,
  });
  const stop = (): void => void engine.stop("asked for by a signal");
  if (interrupts.signal.aborted) stop();
  else interrupts.signal.addEventListener("abort", stop);
  await engine.ended;
  self.close();
  return interrupts.signal.aborted ? EXIT.interrupted : EXIT.succeeded;
};

/** What the engine starts inherits this process's environment: it gets the same clean one as an engine in the background. */
function becomeEngine(environment: NodeJS.ProcessEnv, hash: string): void {
  const clean = engineEnvironment(environment, hash);
  for (const name of Object.keys(process.env)) {
    if (!Object.hasOwn(clean, name)) delete process.env[name];
  }
  Object.assign(process.env, clean);
}
