/**
 * The kinds of agents, by name. Everything else asks here for a backend and knows none of them by itself.
 */
import { AppError } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";
import { BACKEND_KINDS, type AgentBackend, type BackendKind } from "./backend.ts";
import { claudeBackend } from "./claude.ts";
import { codexBackend } from "./codex.ts";
import { commandBackend } from "./command.ts";
import { gooseBackend } from "./goose.ts";

const BACKENDS: Readonly<Record<BackendKind, AgentBackend>> = {
  claude: claudeBackend,
  codex: codexBackend,
  goose: gooseBackend,
  command: commandBackend,
};

/** The backend of a kind. Throws AppError BACKEND_NOT_FOUND, which names the kinds there are and the nearest one. */
export function createBackend(kind: string): AgentBackend {
  const known = BACKEND_KINDS.find((candidate) => candidate === kind);
  if (known !== undefined) return BACKENDS[known];
  const nearest = nearestName(kind, BACKEND_KINDS);
  throw new AppError(
    "BACKEND_NOT_FOUND",
    `there is no kind of agent named ${JSON.stringify(kind)}` +
      (nearest === null ? "" : ` (did you mean "${nearest}"?)`) +
      `. Set \`providers.<name>.kind\` to one of: ${BACKEND_KINDS.join(", ")}.`,
    { details: { kind, kinds: [...BACKEND_KINDS], nearest } },
  );
}
