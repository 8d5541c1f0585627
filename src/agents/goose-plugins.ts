import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";

import { parse } from "yaml";

/** Goose's own map of plugins: the folder's path, and whether it is on. */
type PluginMap = Record<string, { enabled: boolean }>;

/**
 * Environment that turns off the plugins which a worktree brings (`.agents/plugins/*`): without it Goose runs their
 * hooks at every event of a headless run and asks nobody (seen), so a repository could run what it likes with the
 * user's keys. Empty when the worktree brings none.
 *
 * How: Goose asks its configuration for the key `plugins`, and the variable of that name wins over every config file.
 * What else was tried: `disabledPlugins` in the user's settings.json loses against the repository's own
 * `.config/goose/settings.json`; an additional config file loses against the user's config.yaml; an own
 * GOOSE_PATH_ROOT would lose the user's provider, keys and sessions.
 * The trap: a plugin that the map does not name is switched on, and the whole map is then written into the user's
 * config.yaml. So the map has to hold the user's own plugins too, as they stand there. The variable's name is a common
 * one and the agent's shell sees it; hence only where it is needed.
 *
 * `environment` is where HOME, XDG_CONFIG_HOME and GOOSE_PATH_ROOT are looked up.
 */
export function goosePluginEnvironment(
  worktree: string,
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const brought = pluginFolders(join(worktree, ".agents", "plugins"));
  if (brought.length === 0) return {};
  const root = environment["GOOSE_PATH_ROOT"] || null;
  const home = environment["HOME"] || null;
  const configHome = environment["XDG_CONFIG_HOME"] || (home === null ? null : join(home, ".config"));
  const configFolder = root === null ? configHome && join(configHome, "goose") : join(root, "config");
  const userFolder = root ?? home;
  const map: PluginMap = {};
  if (userFolder !== null) {
    for (const folder of pluginFolders(join(userFolder, ".agents", "plugins"))) map[folder] = { enabled: true };
  }
  if (configFolder !== null) Object.assign(map, configuredPlugins(join(configFolder, "config.yaml")));
  for (const folder of brought) map[folder] = { enabled: false };
  return { PLUGINS: JSON.stringify(map) };
}

/** The folders in `parent`, links to folders too, as Goose names them: under the parent's real path. */
function pluginFolders(parent: string): string[] {
  try {
    const names = readdirSync(parent);
    const paths = names.flatMap((name) => [join(parent, name), join(realParent(parent), name)]);
    return [...new Set(paths)];
  } catch {
    // None, or not a folder: then Goose finds none either.
    return [];
  }
}

/** Goose takes its cwd with all links resolved and joins `.agents/plugins/NAME` to it as text. */
function realParent(parent: string): string {
  return join(realpathSync(join(parent, "..", "..")), ".agents", "plugins");
}

function configuredPlugins(file: string): PluginMap {
  try {
    const config: unknown = parse(readFileSync(file, "utf8"));
    const plugins = (config as { plugins?: unknown } | null)?.plugins;
    if (typeof plugins !== "object" || plugins === null) return {};
    const known = Object.entries(plugins as Record<string, { enabled?: unknown } | null>);
    return Object.fromEntries(known.map(([path, entry]) => [path, { enabled: entry?.enabled !== false }]));
  } catch {
    // No config, or one that Goose can't read either.
    return {};
  }
}
