/**
 * The Goose CLI (`goose run`, seen with 1.52.0) as a backend, and with it local models (Ollama, LM Studio, llama.cpp).
 * This file builds the command of a turn; `goose-reader.ts` reads its output.
 *
 * Always true: the prompt goes over stdin and never reaches Goose's slash commands; a new session has a name of our own
 * and exactly the tools of its role, none of the user's profile; what a repository brings that would run (plugins,
 * their hooks and servers) is off; nothing of the user's Goose configuration is changed.
 * It never puts the attempt's mark or a key on the command line: Goose keeps a session's extensions with the values
 * that their flag gave and would show the first attempt's mark for ever, while its own environment reaches every stdio
 * server afresh at each turn (seen).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { AppError } from "../errors.ts";
import type {
  AgentBackend,
  McpServerCommand,
  Provider,
  ResolvedProvider,
  TurnCommand,
  TurnRequest,
} from "./backend.ts";
import { findProgram } from "./find-program.ts";
import { gooseModelArguments } from "./goose-model.ts";
import { readGooseTurn } from "./goose-reader.ts";
import { askForJson } from "./goose-structured.ts";
import { goosePluginEnvironment } from "./goose-plugins.ts";
import { gooseSessionName } from "./goose-session.ts";
import { gooseToolSetup } from "./goose-tools.ts";

const INSTALL =
  "curl -fsSL https://github.com/block/goose/releases/download/stable/download_cli.sh | bash, then goose configure";

/**
 * Linux takes no single argument of more than 128 KiB (and there is no flag for a file), so a longer system prompt
 * goes in front of the prompt.
 */
const MAX_SYSTEM_ARGUMENT_BYTES = 100_000;

/**
 * What Goose 1.52 does not send to the model but carries out (also with GOOSE_SLASH_COMMANDS_ENABLED=false: seen): a
 * text that begins with a slash, and one sentence. It trims white space first, by a longer list than JavaScript's.
 */
const COMMAND_LIKE = /^[\s\p{C}]*(?:\/|Please compact this conversation)/u;

export const gooseBackend: AgentBackend = {
  kind: "goose",
  hasSessions: true,
  hasMcp: true,
  lineFor: null,
  openArguments: ({ sessionId }, provider) => [
    ...provider.args.filter((argument) => argument !== "run"),
    "session",
    "--resume",
    `--name=${sessionId}`,
  ],
  // Keys of models only: cloud accounts (AWS_*, GCP_*) would reach the agent's shell too, so who needs one names it in
  // `providers.*.passEnv`.
  defaultPassEnv: [
    "GOOSE_*",
    "OPENAI_*",
    "ANTHROPIC_*",
    "OLLAMA_*",
    "LMSTUDIO_*",
    "LLAMA_SWAP_*",
    "OPENROUTER_*",
    "GOOGLE_API_KEY",
    "GEMINI_*",
    "AZURE_OPENAI_*",
    "DATABRICKS_*",
    "DEEPSEEK_*",
    "GROQ_*",
    "LITELLM_*",
    "MISTRAL_*",
    "XAI_*",
  ],
  // The keyring stays on: a user's key may be there and nowhere else.
  defaultEnv: {
    GOOSE_DISABLE_SESSION_NAMING: "true",
    GOOSE_TELEMETRY_ENABLED: "false",
    GOOSE_TELEMETRY_OFF: "1",
  },
  buildTurn,
  readTurn: readGooseTurn,
  locate,
};

/**
 * Throws AppError INPUT_INVALID (a `model` with an empty half) and NOT_SUPPORTED (a tool that Goose has not or that the
 * permissions exclude; a server command that Goose's flag can't express). Looks into the worktree (plugin folders and
 * which instruction files there are), so the worktree has to be there.
 */
function buildTurn(request: TurnRequest, provider: ResolvedProvider): TurnCommand {
  const tools = gooseToolSetup(request);
  const system = request.systemPrompt ?? "";
  const isSystemTooLong = Buffer.byteLength(system) > MAX_SYSTEM_ARGUMENT_BYTES;
  return {
    file: provider.file,
    args: [
      ...provider.args,
      // A provider's own `args` may name the subcommand, so as to add options of it.
      ...(provider.args.includes("run") ? [] : ["run"]),
      "--quiet",
      "--output-format=stream-json",
      // A continued session has its extensions stored; to give one again ends the run (seen).
      ...(request.session === null
        ? [`--name=${gooseSessionName(request.attemptId)}`, ...tools.args]
        : ["--resume", `--name=${request.session.id}`]),
      ...gooseModelArguments(request.model),
      ...(system === "" || isSystemTooLong ? [] : [`--system=${system.replaceAll("\0", "")}`]),
      "--instructions=-",
    ],
    env: {
      ...serverEnvironment(request.mcpServer),
      // Long answers of tools are put there, and what the agent's shell makes.
      TMPDIR: request.scratchDir,
      // An unknown value means auto too, but the user's own `approve` would end the run at the first tool.
      GOOSE_MODE: "auto",
      ...tools.env,
      ...goosePluginEnvironment(request.worktree, request.environment),
      ...instructionFiles(request.worktree),
    },
    cwd: request.worktree,
    stdin: promptText(request, isSystemTooLong ? system : ""),
    files: [],
  };
}

/**
 * What our server must be told by way of Goose's own environment, which is also its shell's: not what describes the
 * user's machine. The caller has set that already, with the provider's own wishes and our command on the PATH.
 */
function serverEnvironment(server: McpServerCommand | null): Record<string, string> {
  const { PATH: _path, HOME: _home, TMPDIR: _tmpdir, ...rest } = server?.env ?? {};
  return rest;
}

function promptText(request: TurnRequest, systemText: string): string {
  const parts = [systemText, request.prompt, askForJson(request.outputSchema)];
  const text = parts.filter((part) => part !== "").join("\n\n");
  return COMMAND_LIKE.test(text) ? `The message:\n\n${text}` : text;
}

/** Goose reads AGENTS.md and .goosehints by itself, CLAUDE.md only when told; where both exist they mostly repeat. */
function instructionFiles(worktree: string): Record<string, string> {
  const hasOnlyClaudes = existsSync(join(worktree, "CLAUDE.md")) && !existsSync(join(worktree, "AGENTS.md"));
  return hasOnlyClaudes ? { CONTEXT_FILE_NAMES: JSON.stringify(["CLAUDE.md", ".goosehints"]) } : {};
}

async function locate(provider: Provider, path: string): Promise<ResolvedProvider> {
  const file = await findProgram(provider.command, path);
  if (file === null) {
    throw new AppError(
      "AGENT_CLI_MISSING",
      `The Goose CLI \`${provider.command}\` of provider \`${provider.name}\` was not found on PATH. ` +
        `Install it (https://block.github.io/goose/docs/getting-started/installation), or set the provider's \`command\` to its path.`,
      { details: { provider: provider.name, command: provider.command, install: INSTALL } },
    );
  }
  return { ...provider, file };
}
