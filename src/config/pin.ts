/**
 * The config that a plan was made with, as plain JSON to be stored. What a plan must not keep is left out: limits and
 * notices change at once, and values of `providers.*.env` belong in no file of ours. All of that is taken from the
 * config of the day when the pinned one is used.
 */
import { AppError } from "../errors.ts";
import { completeConfig } from "./complete.ts";
import { problemsOf } from "./config-file.ts";
import { DEFAULT_CONFIG } from "./defaults.ts";
import { isJsonObject, type JsonObject, type JsonValue, type Layer } from "./layers.ts";
import type { Config } from "./schema.ts";

/** Written as a config file would be. Opaque: read it with `usePinnedConfig`. */
export type PinnedConfig = JsonObject;

/** What to store with a plan. Holds no secret of `env`; survives JSON unchanged. */
export function pinConfig(config: Config): PinnedConfig {
  const { limits: _limits, notify: _notify, ...kept } = fileShapeOf(config);
  const providers = kept["providers"];
  return { ...kept, providers: isJsonObject(providers) ? withoutLive(providers) : {} };
}

/**
 * The config of a stored plan: what was pinned, with limits, notices and environment of `current`. What an older version
 * did not know has its default, what this one no longer knows is dropped. Throws STATE_UNUSABLE for what is no config.
 */
export function usePinnedConfig(stored: unknown, current: Config): Config {
  const pinned = dropUnknown(stored);
  const live = {
    limits: { ...current.limits },
    notify: { ...current.notify },
    providers: Object.fromEntries(
      Object.keys(isJsonObject(pinned["providers"]) ? pinned["providers"] : {}).flatMap((name) => {
        const provider = current.providers[name];
        return provider === undefined ? [] : [[name, { env: { ...provider.env }, limit: provider.limit }]];
      }),
    ),
  };
  const layers: Layer[] = [
    { name: "default", file: null, value: DEFAULT_CONFIG },
    { name: "project", file: null, value: pinned },
    { name: "project", file: null, value: live },
  ];
  try {
    return completeConfig(layers).config;
  } catch (cause) {
    throw unusable(cause instanceof Error ? cause.message : "", cause);
  }
}

/** A complete config as a file would say it: roles beside the settings of `agents`. */
export function fileShapeOf(config: Config): JsonObject {
  const { agents, roles, ...rest } = config;
  // A config is made of plain JSON: this only puts the roles back and frees the copy of what was frozen.
  return JSON.parse(JSON.stringify({ ...rest, agents: { ...agents, ...roles } })) as JsonObject;
}

function withoutLive(providers: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(providers).map(([name, provider]) => {
      if (!isJsonObject(provider)) return [name, provider];
      const { env: _env, limit: _limit, ...kept } = provider;
      return [name, kept];
    }),
  );
}

function dropUnknown(stored: unknown): JsonObject {
  if (!isJsonObject(stored)) throw unusable("it is not an object", undefined);
  const copy = JSON.parse(JSON.stringify(stored)) as JsonObject;
  const problems = problemsOf(copy, () => null);
  for (const { path } of problems) remove(copy, path);
  const left = problemsOf(copy, () => null);
  if (left.length > 0) throw unusable(left.map(({ message }) => message).join("; "), undefined);
  return copy;
}

function remove(value: JsonObject, path: readonly (string | number)[]): void {
  let holder: JsonValue | undefined = value;
  for (const step of path.slice(0, -1)) holder = isJsonObject(holder) ? holder[step] : undefined;
  const last = path.at(-1);
  if (isJsonObject(holder) && last !== undefined) delete (holder as Record<string, JsonValue>)[last];
}

function unusable(reason: string, cause: unknown): AppError {
  return new AppError("STATE_UNUSABLE", `The config stored with a plan can't be used: ${reason}`, { cause });
}
