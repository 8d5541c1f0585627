/** The agent CLIs: which are there, in which version, and whether they seem to be signed in. Never a value of a secret. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { AgentBackend, Provider } from "../../agents/backend.ts";
import { createBackend } from "../../agents/index.ts";
import type { Config } from "../../config/index.ts";
import { selectVariables } from "../../engine/environment.ts";
import { AppError, messageOf } from "../../errors.ts";
import type { Finding } from "../render-doctor.ts";
import { runTool } from "../run-tool.ts";
import { withScratch } from "../scratch.ts";
import { gooseHost } from "../init/goose-host.ts";

/** How a person signs in, and the file that shows that somebody did. */
const SIGN_IN: Readonly<Record<string, { readonly how: string; readonly files: () => readonly string[] }>> = {
  claude: {
    how: "start `claude` and give /login, or set ANTHROPIC_API_KEY",
    files: () => [join(process.env["CLAUDE_CONFIG_DIR"] ?? join(homedir(), ".claude"), ".credentials.json")],
  },
  codex: {
    how: "codex login, or set OPENAI_API_KEY",
    files: () => [join(process.env["CODEX_HOME"] ?? join(homedir(), ".codex"), "auth.json")],
  },
  goose: {
    how: "goose configure",
    files: () => [gooseHost.file(process.env, homedir())],
  },
};

/** `engineVariables`: names that the running engine holds for providers; null when none runs. */
export async function checkAgents(config: Config, engineVariables: readonly string[] | null): Promise<Finding[]> {
  const providers = Object.entries(config.providers).filter(([, { kind }]) => kind !== "command");
  const checked = await Promise.all(
    providers.map(([name, { kind, command, args, passEnv }]) => checkProvider({ name, kind, command, args }, passEnv)),
  );
  const isAnyThere = checked.some(({ isThere }) => isThere);
  const findings = checked.map(({ finding }) => finding);
  if (!isAnyThere) {
    const message = "no agent CLI was found: only tasks with `agent: command` can run";
    findings.push({ check: "agents", level: "warn", message, fix: "npm install -g @anthropic-ai/claude-code" });
  }
  if (engineVariables !== null) {
    const names = engineVariables.length === 0 ? "none" : engineVariables.join(", ");
    findings.push({ check: "variables", level: "ok", message: `the engine holds for providers: ${names}`, fix: null });
  }
  return findings;
}

async function checkProvider(
  provider: Provider,
  passEnv: readonly string[],
): Promise<{ finding: Finding; isThere: boolean }> {
  const check = provider.name;
  const backend = createBackend(provider.kind);
  let file: string;
  try {
    file = (await backend.locate(provider, process.env["PATH"] ?? "")).file;
  } catch (thrown) {
    const install = thrown instanceof AppError ? thrown.details["install"] : undefined;
    const message = messageOf(thrown);
    return {
      finding: { check, level: "warn", message, fix: typeof install === "string" ? install : null },
      isThere: false,
    };
  }
  const answer = await withScratch((folder, environment) => runTool(file, ["--version"], folder, environment));
  if (!answer.isOk) {
    return {
      finding: { check, level: "warn", message: `${file} can't be run: ${answer.problem}`, fix: `${file} --version` },
      isThere: false,
    };
  }
  const version = answer.stdout.trim().split("\n", 1)[0] ?? "";
  const finding = { check, ...judgeSignIn(provider, backend, passEnv, `${version} (${file})`) };
  return { finding: provider.kind === "codex" ? await withSandbox(finding, file) : finding, isThere: true };
}

/**
 * Where namespaces are forbidden (many containers) each command of Codex fails, and yet its turn ends well (0.169): the
 * agent would report work that it could not do.
 */
async function withSandbox(finding: Finding, file: string): Promise<Finding> {
  const tried = await withScratch((folder, environment) =>
    runTool(file, ["sandbox", "--", "true"], folder, environment),
  );
  if (tried.isOk) return { ...finding, message: `${finding.message}; its sandbox works` };
  const message = `${finding.message}; its sandbox does not work here (${tried.problem}), so its agents can't run commands`;
  const fix = "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), or give its roles permissions: full";
  return { ...finding, level: "warn", message, fix };
}

function judgeSignIn(
  provider: Provider,
  backend: AgentBackend,
  passEnv: readonly string[],
  facts: string,
): Pick<Finding, "level" | "message" | "fix"> {
  const names = Object.keys(selectVariables(process.env, [...backend.defaultPassEnv, ...passEnv])).sort();
  const signIn = SIGN_IN[provider.kind];
  const isSignedIn = signIn?.files().some((path) => existsSync(path)) ?? true;
  const seen = names.length === 0 ? "" : `; passes on ${names.join(", ")}`;
  if (isSignedIn || names.some((name) => /KEY|TOKEN/.test(name)) || signIn === undefined) {
    return { level: "ok", message: `${facts}${seen}`, fix: null };
  }
  // Keychains and helpers can't be seen from here, so this is no failure.
  return { level: "warn", message: `${facts}; no sign-in can be seen${seen}`, fix: signIn.how };
}
