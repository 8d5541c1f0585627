/**
 * Claude Code in print mode, as another program drives it (CLI 2.1.329; what it does was tried, not read).
 *
 * It owns the form of one turn: the command line, the environment that goes with it and the reading of stream-json.
 * Always true: the prompt goes over stdin and never on the command line; a new session has the id that the attempt
 * gives it, so it is known before the process starts; nothing that an untrusted repository brings along (hooks,
 * environment, permissions, MCP servers, commands, agents, skills, key helpers) runs, while its CLAUDE.md or AGENTS.md
 * reaches the model; an end is judged by the CLI's own `result`, never by the exit code alone.
 * It never spawns, kills, waits or writes: that is `process/`'s.
 */
import { AppError } from "../errors.ts";
import type { AgentBackend, Provider, ResolvedProvider } from "./backend.ts";
import { buildClaudeTurn, inputLine } from "./claude-turn.ts";
import { ClaudeReader } from "./claude-reader.ts";
import { findProgram } from "./find-program.ts";

const INSTALL = "npm install -g @anthropic-ai/claude-code";

export const claudeBackend: AgentBackend = {
  kind: "claude",
  hasSessions: true,
  hasMcp: true,
  lineFor: inputLine,
  openArguments: ({ sessionId, model }, provider) => [
    ...provider.args,
    ...(model === null ? [] : [`--model=${model}`]),
    `--resume=${sessionId}`,
  ],
  buildTurn: buildClaudeTurn,
  readTurn: (request) => new ClaudeReader(request),
  locate: locateClaude,

  /**
   * What signs Claude in, and what it needs to reach its endpoint. Long-lived cloud credentials (`AWS_ACCESS_KEY_ID`,
   * `GOOGLE_APPLICATION_CREDENTIALS` …) are not among them: whatever is here can be read by every command that an
   * agent runs, and most who have them in their shell do not use them for Claude. Who does, names them in
   * `providers.<name>.passEnv`. Profile and region are names, not secrets, and the bearer token serves Bedrock only.
   */
  defaultPassEnv: [
    "ANTHROPIC_*",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_USE_*",
    "CLAUDE_CODE_SKIP_*",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_BEARER_TOKEN_BEDROCK",
    "CLOUD_ML_REGION",
    "NODE_EXTRA_CA_CERTS",
  ],

  defaultEnv: {
    DISABLE_TELEMETRY: "1",
    DISABLE_ERROR_REPORTING: "1",
    DISABLE_AUTOUPDATER: "1",
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    // Its own waits are 0.5, 1, 2, 4.5, 9, 18 s, then 35 s each, 10 times. Six tries ride out half a minute without
    // losing the turn; what lasts longer belongs to the engine, which frees the slot, tells people and parks the
    // provider. With all ten, a refused key (401 is retried too) would be noticed after three minutes.
    CLAUDE_CODE_MAX_RETRIES: "6",
    // For each request. Without it an endpoint that never answers is given six minutes a try. A streamed answer has
    // begun long before; the CLI watches its stalls itself (300 s).
    API_TIMEOUT_MS: "300000",
    // Nothing may go on after the result: a task in the background keeps the process alive for as long as it likes and
    // starts another turn. With this a command past its time limit is ended instead of moved to the background…
    CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: "1",
    CLAUDE_CODE_DISABLE_CRON: "1",
    // …so the limits must fit test suites: 10 min unless the model asks for more, at most 30 (the CLI's own: 2 and 10).
    BASH_DEFAULT_TIMEOUT_MS: "600000",
    BASH_MAX_TIMEOUT_MS: "1800000",
    // Memory is kept by folder, and worktrees are reused: one task would be told what another one learned.
    CLAUDE_CODE_DISABLE_AUTO_MEMORY: "1",
    // `@path` in a prompt makes the CLI attach that file. Prompts also carry foreign text (commits, file names).
    CLAUDE_CODE_DISABLE_FILE_MENTIONS: "1",
  },
};

async function locateClaude(provider: Provider, path: string): Promise<ResolvedProvider> {
  const file = await findProgram(provider.command, path);
  if (file !== null) return { ...provider, file };
  throw new AppError(
    "AGENT_CLI_MISSING",
    `provider ${provider.name}: the program ${JSON.stringify(provider.command)} was not found or can't be executed. ` +
      `Install Claude Code with \`${INSTALL}\`, then run \`claude\` once and sign in with /login (or set ANTHROPIC_API_KEY).`,
    { details: { provider: provider.name, command: provider.command, install: INSTALL } },
  );
}
