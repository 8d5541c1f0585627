/** The pipe's own server, for where no engine can be had. Loads the SDK, so it is loaded only then. */
import { readFileSync } from "node:fs";
import type { AppError } from "../errors.ts";
import { serveOffline } from "../mcp/offline.ts";
import type { ToolListing } from "./engine-host.ts";
import type { Endpoint } from "./pipe.ts";
import type { Fields } from "./protocol.ts";

/** Answers everything as the engine would, but each tool says what `problem` says. */
export function openOffline(
  problem: AppError,
  version: string,
  cwd: string,
  toHost: (message: Fields) => void,
): Endpoint {
  let listener: { onMessage: (message: unknown) => void; onClose: () => void } | null = null;
  let isOpen = true;
  serveOffline({
    tools: readToolListings(),
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

/** Written beside this file by the build, from the list of operations: loading those takes half a second. */
function readToolListings(): readonly ToolListing[] {
  return JSON.parse(readFileSync(new URL("./tool-listings.json", import.meta.url), "utf8")) as ToolListing[];
}
