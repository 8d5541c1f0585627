/**
 * Codex as an agent: `codex exec --json`, the prompt on stdin, a thread continued by `exec resume`. Follows codex-cli
 * 0.169 as seen with its real binary.
 *
 * Always true: no prompt and no secret is on the command line; all that an attempt may do is told anew with each turn,
 * because a thread remembers neither sandbox, model nor MCP servers; the sandbox lets an editing agent write its
 * worktree, its own TMPDIR and the parts of git it needs to commit, and nothing else. Never starts a process.
 *
 * What the caller owes: the folders of `TurnCommand.files` are made before the files are written. The two files under
 * the git folder are placeholders that keep `refs/heads/orchestrator` and its log in being: the sandbox silently drops
 * a writable folder that does not exist (seen), and `git pack-refs` removes an empty one. In a repository with the
 * reftable format they can't be made (`refs/heads` is a file there) and are not needed.
 *
 * Known limit: git's folder of the worktree is writable as a whole, so its `commondir`, `gitdir` and `config.worktree`
 * are, too. Whoever runs git in the worktree afterwards looks at those three first.
 */
import { join } from "node:path";
import { AppError } from "../errors.ts";
import type {
  AgentBackend,
  FileToWrite,
  McpServerCommand,
  Permissions,
  ResolvedProvider,
  TurnCommand,
  TurnRequest,
} from "./backend.ts";
import { locateCodex } from "./codex-program.ts";
import { readCodexTurn } from "./codex-reader.ts";
import { tomlString, tomlStrings, tomlTable } from "./codex-toml.ts";

export const codexBackend: AgentBackend = {
  kind: "codex",
  hasSessions: true,
  hasMcp: true,
  lineFor: null,
  openArguments: ({ sessionId, worktree, model }, provider) => [
    ...provider.args,
    "resume",
    // Else a process in the background holds the thread beyond the screen's end, and our next turn would be refused.
    "--no-daemon",
    ...(model === null ? [] : ["--model", model]),
    "--cd",
    worktree,
    sessionId,
  ],
  buildTurn,
  readTurn: readCodexTurn,
  locate: async (provider, path) => ({ ...provider, file: await locateCodex(provider, path) }),
  defaultPassEnv: [
    "OPENAI_*",
    "AZURE_OPENAI_*",
    "CODEX_HOME",
    "CODEX_API_KEY",
    "CODEX_ACCESS_TOKEN",
    "CODEX_CA_CERTIFICATE",
    "SSL_CERT_FILE",
  ],
  // Codex takes such settings from its config only: see `SETTINGS`.
  defaultEnv: {},
};

const SANDBOX_MODES: Readonly<Record<Permissions, string>> = {
  read: "read-only",
  edit: "workspace-write",
  full: "danger-full-access",
};

/** As the file `codex exec resume` takes ids: anything else would silently begin a new thread (seen). */
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** One argument may have 131,071 bytes on Linux; a longer instruction goes before the prompt instead. */
const MAX_ARGUMENT_BYTES = 100_000;

/** Throws AppError INPUT_INVALID when the session's id is no thread id of Codex. */
function buildTurn(request: TurnRequest, provider: ResolvedProvider): TurnCommand {
  const { session } = request;
  if (session !== null && !UUID.test(session.id)) {
    throw new AppError(
      "INPUT_INVALID",
      `session ${JSON.stringify(session.id)} is no Codex thread: expected a UUID; start a new session instead`,
      { details: { sessionId: session.id } },
    );
  }
  const instructions = developerInstructions(request);
  const schemaFile = request.outputSchema === null ? null : join(request.scratchDir, "output-schema.json");
  return {
    file: provider.file,
    args: [
      ...provider.args,
      "exec",
      "--json",
      // The worktree is the orchestrator's own; a check for a trusted repository has nothing to add.
      "--skip-git-repo-check",
      "--sandbox",
      SANDBOX_MODES[request.permissions],
      "--cd",
      request.worktree,
      ...(request.model === null ? [] : ["--model", request.model]),
      ...(schemaFile === null ? [] : ["--output-schema", schemaFile]),
      ...settings(request, instructions.setting)
        .filter((setting) => !isSetBy(provider.args, setting))
        .flatMap((setting) => ["-c", setting]),
      // `resume` itself takes none of these flags, so it comes last.
      ...(session === null ? [] : ["resume", session.id]),
      "-",
    ],
    // Sandboxed commands leave empty `.git`, `.codex` and the like in TMPDIR (seen): no other agent should meet them.
    env: { TMPDIR: request.scratchDir },
    cwd: request.worktree,
    stdin: instructions.prefix + request.prompt,
    files: [...schemaFiles(request, schemaFile), ...placeholders(request)],
  };
}

/** What the provider's own `args` set stays as they set it: so can the network be opened, or a login shell be had. */
function isSetBy(args: readonly string[], setting: string): boolean {
  const assignment = setting.slice(0, setting.indexOf("=") + 1);
  return args.some(
    (argument, index) =>
      argument.startsWith(`--config=${assignment}`) ||
      (argument.startsWith(assignment) && ["-c", "--config"].includes(args[index - 1] ?? "")),
  );
}

/** Settings that hold for every turn. An unknown name is a warning of Codex, not an error (seen). */
const SETTINGS = [
  'approval_policy="never"',
  // Else a refused connection is waited for without end, and without an end event.
  "features.unbounded_connection_retries=false",
  // The tokens of Codex's own subagents are in no event, so no budget would see them. Goals go on by themselves.
  "features.multi_agent=false",
  "features.goals=false",
  // Commands get the PATH they are given: a login shell's profile would set another one, without `orchestrator` on it.
  "allow_login_shell=false",
  "analytics.enabled=false",
  "check_for_update_on_startup=false",
];

/**
 * What shell commands may not see of Codex's environment. Codex's own list (`*KEY*`, `*SECRET*`, `*TOKEN*`) would take
 * `GIT_CONFIG_KEY_0` with it, and git then fails in every command; so the list is ours.
 */
const SECRET_VARIABLES = [
  "*_KEY",
  "*APIKEY*",
  "*API_KEY*",
  "*ACCESS_KEY*",
  "*PRIVATE_KEY*",
  "*SECRET*",
  "*TOKEN*",
  "*PASSWORD*",
  "*PASSPHRASE*",
  "*CREDENTIAL*",
];

function settings(request: TurnRequest, instructions: string | null): string[] {
  return [
    ...SETTINGS,
    'shell_environment_policy.inherit="all"',
    "shell_environment_policy.ignore_default_excludes=true",
    `shell_environment_policy.exclude=${tomlStrings(SECRET_VARIABLES)}`,
    "shell_environment_policy.include_only=[]",
    ...(request.permissions === "edit" ? sandboxSettings(request) : []),
    ...toolSettings(request.tools),
    ...(instructions === null ? [] : [instructions]),
    ...(request.mcpServer === null ? [] : mcpSettings(request.mcpServer, request.worktree)),
  ];
}

/**
 * `/tmp` is not writable: agents would meet each other's files there, and a repository that lies in it would be open.
 * TMPDIR, the attempt's own, is. `full` is for work that insists on `/tmp` or on the network.
 */
function sandboxSettings(request: TurnRequest): string[] {
  return [
    `sandbox_workspace_write.writable_roots=${tomlStrings(gitRoots(request))}`,
    "sandbox_workspace_write.network_access=false",
    "sandbox_workspace_write.exclude_slash_tmp=true",
    "sandbox_workspace_write.exclude_tmpdir_env_var=false",
  ];
}

/**
 * The least of git's folders that lets a task commit on `orchestrator/<plan>/<task>` from a linked worktree (tried with
 * the real sandbox, also with packed refs): its own index and HEAD, objects, the orchestrator's branches and their
 * log. The user's branches, tags, stash, hooks and config stay read-only. `reftable` exists only where git keeps refs
 * that way, and then has all of them; `lfs` where `git add` puts large files. The sandbox passes over what is not there.
 */
function gitRoots({ gitDir, gitCommonDir }: TurnRequest): string[] {
  return [
    gitDir,
    join(gitCommonDir, "objects"),
    join(gitCommonDir, ...BRANCHES),
    join(gitCommonDir, "logs", ...BRANCHES),
    join(gitCommonDir, "reftable"),
    join(gitCommonDir, "lfs"),
  ];
}

const BRANCHES = ["refs", "heads", "orchestrator"];

/** git takes no notice of files in `refs` and `logs` that end in `.lock`; no plan's name begins with `_`. */
const PLACEHOLDER = "_keep.lock";

function placeholders({ permissions, gitCommonDir }: TurnRequest): FileToWrite[] {
  if (permissions !== "edit") return [];
  return [join(gitCommonDir, ...BRANCHES, PLACEHOLDER), join(gitCommonDir, "logs", ...BRANCHES, PLACEHOLDER)].map(
    (path) => ({ path, content: "" }),
  );
}

/**
 * Codex knows no list of tools; it has switches for some. A role that lists tools gets those off that it does not name:
 * `exec_command` (or `shell`), `web_search`, `view_image`. `apply_patch` can't be switched off (`"permissions": "read"` stops it), and MCP
 * tools are not concerned.
 */
function toolSettings(tools: readonly string[] | null): string[] {
  if (tools === null) return [];
  const switches: readonly { readonly names: readonly string[]; readonly off: string }[] = [
    { names: ["exec_command", "shell"], off: "features.shell_tool=false" },
    { names: ["view_image"], off: "tools.view_image=false" },
    { names: ["web_search"], off: 'web_search="disabled"' },
  ];
  return switches.filter(({ names }) => !names.some((name) => tools.includes(name))).map(({ off }) => off);
}

/** Seconds for a call of a satellite tool: `ask_orchestrator` is held about a minute, and the engine may restart. */
const TOOL_TIMEOUT_SECONDS = 600;
const STARTUP_TIMEOUT_SECONDS = 60;

/**
 * `required`: Codex does not wait for other servers, and the first request may go out without their tools (seen).
 * `approve`: without it each call is refused in `exec`. `env`: Codex gives a server a handful of variables, not the
 * attempt's mark. All keys are set one by one, because a server of the same name in the user's config.toml is merged
 * with ours key by key.
 */
function mcpSettings(server: McpServerCommand, worktree: string): string[] {
  const key = `mcp_servers.${server.name}`;
  return [
    `${key}.command=${tomlString(server.command)}`,
    `${key}.args=${tomlStrings(server.args)}`,
    `${key}.env=${tomlTable(server.env)}`,
    `${key}.cwd=${tomlString(worktree)}`,
    `${key}.enabled=true`,
    `${key}.disabled_tools=[]`,
    `${key}.required=true`,
    `${key}.default_tools_approval_mode="approve"`,
    `${key}.tool_timeout_sec=${TOOL_TIMEOUT_SECONDS}`,
    `${key}.startup_timeout_sec=${STARTUP_TIMEOUT_SECONDS}`,
  ];
}

/**
 * With the models Codex knows best, MCP tools are deferred: the model sees the server's name only, until it searches
 * (seen). An agent that is told to report must not conclude that it can't.
 */
function toolHint({ name }: McpServerCommand): string {
  return (
    `The tools of the MCP server \`${name}\` are yours to use. Where they are not listed, find them with ` +
    "`tool_search` first; they do not need approval."
  );
}

function developerInstructions({ systemPrompt, mcpServer }: TurnRequest): { setting: string | null; prefix: string } {
  const parts = [systemPrompt ?? "", mcpServer === null ? "" : toolHint(mcpServer)].filter((part) => part !== "");
  if (parts.length === 0) return { setting: null, prefix: "" };
  const text = parts.join("\n\n");
  const setting = `developer_instructions=${tomlString(text)}`;
  if (Buffer.byteLength(setting) <= MAX_ARGUMENT_BYTES) return { setting, prefix: "" };
  return { setting: null, prefix: `${text}\n\n` };
}

function schemaFiles({ outputSchema }: TurnRequest, path: string | null): FileToWrite[] {
  return path === null ? [] : [{ path, content: JSON.stringify(outputSchema) }];
}
