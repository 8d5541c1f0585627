/** Reads the layers of the config and makes the one config that is used. */
import { AppError } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";
import { completeConfig } from "./complete.ts";
import { parseConfigFile } from "./config-file.ts";
import { AUTO_PROVIDERS, DEFAULT_CONFIG } from "./defaults.ts";
import { readTextFile } from "./files.ts";
import { parseKey } from "./key.ts";
import { type Layer, type Origin, originOf } from "./layers.ts";
import { type ConfigPlaces, globalConfigPath, projectConfigPath, readProjectFile } from "./places.ts";
import { problemLine } from "./problem.ts";
import type { Config, RoleConfig } from "./schema.ts";
import { stateOfProjectText, type TrustState } from "./trust.ts";

export interface LoadOptions extends ConfigPlaces {
  /**
   * Whether the project's file is used. Left out: when it is trusted as it is now. Given: without looking, for showing
   * and checking what it would mean; never to carry anything out.
   */
  readonly trusted?: boolean;
}

export interface ProjectFile {
  /** Null outside of a repository. */
  readonly path: string | null;
  /** Only `trusted` is used; `untrusted` and `changed` are as if they were not there, and no plan starts. */
  readonly state: TrustState;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Where values come from, by dotted key (`limits.agents`). */
  readonly origins: Origins;
  readonly globalFile: { readonly path: string; readonly exists: boolean };
  readonly projectFile: ProjectFile;
  /** Lines about what works but is surely not meant, each with its place. */
  readonly warnings: readonly string[];
  /** What was merged, lowest first. */
  readonly layers: readonly Layer[];
}

export interface Origins {
  /** The layer that gave the value; for an object the highest that says anything about it. Throws USAGE for a bad key. */
  origin(key: string): Origin;
}

/**
 * Built-in defaults, under the global file, under the project's: objects are merged key by key, lists and other values
 * are replaced as a whole. Missing files are fine. Throws CONFIG_INVALID, PROVIDER_NOT_FOUND or BACKEND_NOT_FOUND with
 * file, line and column in the message and in details; a project file that is not used is not even parsed.
 */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const globalPath = globalConfigPath(options.home);
  const globalFile = readTextFile(globalPath);
  const projectText = options.mainWorktree === null ? null : (readProjectFile(options.mainWorktree)?.text ?? null);
  const state = stateOfProjectText(options, projectText);
  const layers: Layer[] = [{ name: "default", file: null, value: DEFAULT_CONFIG }];
  if (globalFile !== null) layers.push(parseConfigFile("global", globalPath, globalFile.text));
  if (options.mainWorktree !== null && projectText !== null && (options.trusted ?? state === "trusted")) {
    layers.push(parseConfigFile("project", projectConfigPath(options.mainWorktree), projectText));
  }
  const { config, warnings } = completeConfig(layers);
  return {
    config,
    origins: { origin: (key) => originOf(layers, parseKey(key)) },
    globalFile: { path: globalPath, exists: globalFile !== null },
    projectFile: { path: options.mainWorktree === null ? null : projectConfigPath(options.mainWorktree), state },
    warnings: warnings.map(problemLine),
    layers,
  };
}

/** The built-in defaults alone: what holds where no file can be used. */
export function defaultConfig(): Config {
  return completeConfig([{ name: "default", file: null, value: DEFAULT_CONFIG }]).config;
}

/** Which of the agent CLIs that need no config are installed. */
export type FoundProviders = Readonly<Record<(typeof AUTO_PROVIDERS)[number], boolean>>;

/** The provider for roles that name none: the first of claude, codex, goose that was found; null when none was. */
export function resolveAutoProvider(config: Config, found: FoundProviders): string | null {
  return AUTO_PROVIDERS.find((name) => found[name] && Object.hasOwn(config.providers, name)) ?? null;
}

/**
 * The providers of a role in the order of preference: the one it names, those of its list that `isInstalled` says yes to,
 * or `automatic` where it names none. A list without any that is installed is left whole, so that what is said to be
 * missing is what was meant.
 */
export function resolveProviders(
  role: RoleConfig,
  automatic: string | null,
  isInstalled: (provider: string) => boolean,
): readonly string[] {
  if (role.provider === null) return automatic === null ? [] : [automatic];
  if (typeof role.provider === "string") return [role.provider];
  const installed = role.provider.filter(isInstalled);
  return installed.length === 0 ? role.provider : installed;
}

/** The role of that name. Throws PLAN_UNKNOWN_AGENT with the nearest. */
export function roleNamed(config: Config, name: string): RoleConfig {
  const role = config.roles[name];
  if (role !== undefined) return role;
  const near = nearestName(name, Object.keys(config.roles));
  const hint = near === null ? `Known: ${Object.keys(config.roles).join(", ")}.` : `Did you mean "${near}"?`;
  throw new AppError("PLAN_UNKNOWN_AGENT", `There is no role "${name}" in the config. ${hint}`, {
    details: { agent: name },
  });
}
