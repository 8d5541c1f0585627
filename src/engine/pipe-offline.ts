/** The pipe's own server, for where no engine can be had. Loads the SDK, so it is loaded only then. */
import type { AppError } from "../errors.ts";
import type { Endpoint } from "./pipe.ts";
import type { Fields } from "./protocol.ts";

/** Answers everything as the engine would, but each tool says what `problem` says. */
export async function openOffline(
  problem: AppError,
  version: string,
  cwd: string,
  toHost: (message: Fields) => void,
): Promise<Endpoint> {
  const [{ serveOffline }, { loadToolListings }] = await Promise.all([
    import("../mcp/offline.ts"),
    import("./engine-code.ts"),
  ]);
  let listener: { onMessage: (message: unknown) => void; onClose: () => void } | null = null;
  let isOpen = true;
  serveOffline({
    tools: await loadToolListings(),
    version,
    cwd,
    problem: { ok: false, code: problem.code, message: problem.message, details: problem.details },
    channel: {
      send: (message) => {
        if (isOpen) toHost({ ...message });
      },
      isCongested: () => false,
      close: () => (isOpen = false),
      listen: (given) => (listener = given),
    },
  });
  return {
    send: (message) => listener?.onMessage(message),
    close: () => {
      isOpen = false;
      listener?.onClose();
    },
  };
}
