/** The config files of one repository as the engine uses them: read again when they change, turned into plain settings. */
import { accessSync, constants } from "node:fs";
import { stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import type { CurrentSettings } from "./app-access.ts";
import { createBackend } from "./agents/index.ts";
import {
  defaultConfig,
  globalConfigPath,
  loadConfig,
  orchestratorHome,
  projectConfigPath,
  resolveAutoProvider,
  resolveProviders,
  type Config,
  type LoadedConfig,
  worktreesRoot,
} from "./config/index.ts";
import { AppError } from "./errors.ts";
import type { BoardSettings } from "./plan/board.ts";
import type { Prices } from "./plan/prices.ts";
import type { QuestionSettings } from "./questions/route.ts";
import type { PlanSettings, ProviderSettings, RoleSettings } from "./scheduler/settings.ts";

export class ConfigSource {
  readonly #mainWorktree: string | null;
  /** Null until the files could be read once. */
  #loaded: LoadedConfig | null = null;
  #signature = "";

  private constructor(mainWorktree: string | null) {
    this.#mainWorktree = mainWorktree;
  }

  /** A broken config does not keep the engine from starting: it is refused when a plan wants it. */
  static async open(mainWorktree: string | null): Promise<ConfigSource> {
    const source = new ConfigSource(mainWorktree);
    await source.reload();
    return source;
  }

  get config(): Config {
    return this.#loaded?.config ?? defaultConfig();
  }

  /** Folder for the worktrees of all repositories. Where worktrees are can't change under a running engine. */
  worktreesRoot(): string {
    return worktreesRoot(this.config, orchestratorHome());
  }

  /** Environment that the config gives a provider now. Never stored: values may be secrets. */
  providerEnvironment(name: string): Readonly<Record<string, string>> {
    return this.config.providers[name]?.env ?? {};
  }

  /** What its models cost now: a price may become known while a plan waits for it. */
  providerPrices(name: string): Prices {
    return this.config.providers[name]?.prices ?? {};
  }

  /** The interactive client whose user is shown agents' questions; null: none. */
  elicitedClient(): string | null {
    return this.config.questions.elicit;
  }

  engine(): Config["engine"] {
    return this.config.engine;
  }

  /** The rules that count now: none while the repository's own config is not trusted, for then no plan starts. */
  followUps(): Config["followUps"] {
    const state = this.#loaded?.projectFile.state;
    return state === "none" || state === "trusted" ? this.config.followUps : [];
  }

  /** Reads the files again when they changed. False when they did not, or can't be used now. */
  async reload(): Promise<boolean> {
    const signature = await this.#signatureNow();
    if (signature === this.#signature) return false;
    try {
      this.#loaded = this.#read();
      this.#signature = signature;
      return true;
    } catch (thrown) {
      if (thrown instanceof AppError) return false;
      throw thrown;
    }
  }

  /** What the files say now, for a plan that is being made. Throws CONFIG_INVALID, CONFIG_UNTRUSTED. */
  async settings(path: string): Promise<CurrentSettings> {
    this.#signature = await this.#signatureNow();
    const loaded = this.#read();
    this.#loaded = loaded;
    const { config, projectFile, warnings } = loaded;
    if (projectFile.state === "untrusted" || projectFile.state === "changed") {
      const what = projectFile.state === "changed" ? "changed since it was trusted" : "is not trusted yet";
      throw new AppError(
        "CONFIG_UNTRUSTED",
        `${projectFile.path} ${what}; it can name programs to run, so no plan starts before you have looked at it: orchestrator trust`,
        { details: { file: projectFile.path, state: projectFile.state } },
      );
    }
    return {
      plan: planSettings(config, path),
      limitAgents: config.limits.agents,
      isLimitLeftOpen: this.isLimitLeftOpen(),
      warnings: [...warnings, ...leftOutOfChains(config, path)],
    };
  }

  /** True when no file says how many agents may live at once: then a plan that asks for more gets more. */
  isLimitLeftOpen(): boolean {
    return this.#loaded === null || this.#loaded.origins.origin("limits.agents").layer === "default";
  }

  boardSettings(): BoardSettings {
    const { limits, providers, retry, merge, agents } = this.config;
    const usageProbesMs = retry.usageProbeMinutes.map((minutes) => minutes * 60_000);
    return {
      limitAgents: limits.agents,
      providerLimits: new Map(
        Object.entries(providers).flatMap(([name, { limit }]) => (limit === null ? [] : [[name, limit] as const])),
      ),
      retry: {
        retries: retry.retries,
        backoffBaseMs: retry.baseMs,
        backoffMaxMs: retry.maxMs,
        maxContinuations: agents.maxContinuations,
        usageProbesMs,
      },
      gate: { failuresToOpen: retry.circuit.failures, openMs: retry.circuit.openSeconds * 1000, usageProbesMs },
      maxRepairs: merge.maxRepairs,
    };
  }

  /** What clients are asked for: what the kinds need by default and what the config names. */
  passEnvPatterns(): readonly string[] {
    const patterns = new Set<string>();
    for (const provider of Object.values(this.config.providers)) {
      for (const pattern of createBackend(provider.kind).defaultPassEnv) patterns.add(pattern);
      for (const pattern of provider.passEnv) patterns.add(pattern);
    }
    return [...patterns];
  }

  #read(): LoadedConfig {
    return loadConfig({ home: orchestratorHome(), mainWorktree: this.#mainWorktree });
  }

  async #signatureNow(): Promise<string> {
    const files = [
      globalConfigPath(orchestratorHome()),
      join(orchestratorHome(), "trust.json"),
      ...(this.#mainWorktree === null ? [] : [projectConfigPath(this.#mainWorktree)]),
    ];
    const parts = await Promise.all(
      files.map(async (file) => {
        const found = await stat(file).catch(() => null);
        return found === null ? "-" : `${found.ino}:${found.size}:${found.mtimeMs}`;
      }),
    );
    return parts.join(" ");
  }
}

/** Everything a plan pins, roles resolved to providers. A role without a provider gets the first CLI on `path`. */
function planSettings(config: Config, path: string): PlanSettings {
  const isInstalled = (name: string): boolean => isOnPath(config.providers[name]?.command ?? name, path);
  const found = { claude: isInstalled("claude"), codex: isInstalled("codex"), goose: isInstalled("goose") };
  const automatic = resolveAutoProvider(config, found);
  const providers: Record<string, ProviderSettings> = {};
  for (const [name, provider] of Object.entries(config.providers)) {
    const { kind, command, args, env, passEnv, limit, prices } = provider;
    providers[name] = { name, kind, command, args, env, passEnv, limit, prices };
  }
  const roles: Record<string, RoleSettings> = {};
  for (const [name, role] of Object.entries(config.roles)) {
    const { model, systemPrompt, tools, permissions, push } = role;
    const [provider = "", ...otherProviders] = resolveProviders(role, automatic, isInstalled);
    roles[name] = {
      name,
      provider,
      ...(otherProviders.length === 0 ? {} : { otherProviders }),
      model,
      systemPrompt,
      tools,
      permissions,
      push,
    };
  }
  return {
    roles,
    providers,
    verify: config.verify,
    verifyTimeoutMs: config.merge.verifyTimeoutMinutes * 60_000,
    killGraceMs: config.agents.killGraceSeconds * 1000,
    undeclaredWrites: config.writes.undeclared,
    stallMs: config.agents.stallMinutes * 60_000,
    worktree: { copy: config.worktree.copy, link: config.worktree.link, setup: config.worktree.setup },
    questions: questionSettings(config.questions),
    workflows: config.workflows,
    proposals: config.proposals,
    startsAlone: true,
  };
}

/** A list of providers is of those that are installed when the plan is made: who counts on one that is not is told. */
function leftOutOfChains(config: Config, path: string): string[] {
  return Object.entries(config.roles).flatMap(([name, { provider }]) => {
    if (!Array.isArray(provider)) return [];
    const missing = provider.filter((one) => !isOnPath(config.providers[one]?.command ?? one, path));
    if (missing.length === 0 || missing.length === provider.length) return [];
    return [`agents.${name}.provider: ${missing.join(", ")} is not installed, so this plan's tasks never go there`];
  });
}

function questionSettings({ holdSeconds, route, parentSeconds, deadlines }: Config["questions"]): QuestionSettings {
  const { parentMinutes, orchestratorMinutes, humanMinutes } = deadlines;
  return {
    holdMs: holdSeconds * 1000,
    route,
    parentQuietMs: parentSeconds * 1000,
    deadlinesMs: {
      parent: Math.round(parentMinutes * 60_000),
      orchestrator: Math.round(orchestratorMinutes * 60_000),
      human: Math.round(humanMinutes * 60_000),
    },
  };
}

function isOnPath(command: string, path: string): boolean {
  const candidates = command.includes("/")
    ? [command]
    : path
        .split(delimiter)
        .filter(isAbsolute)
        .map((folder) => join(folder, command));
  return candidates.some((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
