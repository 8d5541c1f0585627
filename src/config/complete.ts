/**
 * Makes the whole config out of its layers: merged, defaults of each entry filled in, names that refer to each other
 * checked. What comes out has nothing missing and is frozen.
 */
import { nearestName } from "../nearest-name.ts";
import { formatPath, parseInput } from "../invalid-input.ts";
import { AppError } from "../errors.ts";
import { AGENT_SETTING_NAMES } from "./agents-section.ts";
import { COMMAND_OF_KIND, ENTRY_DEFAULTS } from "./defaults.ts";
import type { FileLayer } from "./config-file.ts";
import { isJsonObject, type JsonObject, type JsonValue, type Layer, mergeLayers, originOf } from "./layers.ts";
import { isSecretArgument } from "./redact.ts";
import { configInvalid, type Place, type Problem } from "./problem.ts";
import type { ProviderKind } from "./provider-section.ts";
import { completeConfigSchema, type Config } from "./schema.ts";

export interface CompletedConfig {
  readonly config: Config;
  readonly warnings: readonly Problem[];
}

type Path = readonly (string | number)[];
type Report = (path: Path, message: string, code?: "PROVIDER_NOT_FOUND") => void;

/**
 * Throws CONFIG_INVALID, or PROVIDER_NOT_FOUND when all that is wrong are names of providers, with the place of each
 * problem in the file that it comes from. Warnings are for what works but is surely not meant.
 */
export function completeConfig(layers: readonly Layer[]): CompletedConfig {
  const merged = fillEntries(mergeLayers(layers));
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  checkNames(merged, reporterInto(problems, layers));
  if (problems.length > 0) throw configInvalid(problems);
  const parsed = parseInput(completeConfigSchema, merged, "the config");
  if (!parsed.ok) {
    const reasons = parsed.items.map(({ message }) => message);
    throw new AppError("INTERNAL", `the merged config does not fit its own schema: ${reasons.join("; ")}`);
  }
  const config = freeze(withBareNames(parsed.value));
  warn(config, layers, reporterInto(warnings, layers));
  return { config, warnings };
}

/** The place of what `path` names, in the file that gave it; null for a built-in default. */
export function placeOf(layers: readonly Layer[], path: Path): Place | null {
  const { layer: name } = originOf(layers, path);
  const layer = layers.find((one) => one.name === name);
  return layer !== undefined && isFileLayer(layer) ? layer.source.placeOf(path, "key") : null;
}

function isFileLayer(layer: Layer): layer is FileLayer {
  return "source" in layer;
}

function reporterInto(list: Problem[], layers: readonly Layer[]): Report {
  return (path, message, code) => {
    const problem = { place: placeOf(layers, path), path, message: `${formatPath(path)}: ${message}` };
    list.push(code === undefined ? problem : { ...problem, code });
  };
}

/** The merged layers in the shape of a complete config: entries filled, roles apart from the settings beside them. */
function fillEntries(merged: JsonObject): JsonObject {
  const agents = Object.entries(objectAt(merged, "agents"));
  const roles = agents.filter(([name]) => !AGENT_SETTING_NAMES.includes(name));
  return {
    ...merged,
    providers: mapEntries(objectAt(merged, "providers"), (entry) => ({
      ...ENTRY_DEFAULTS.provider,
      ...commandFor(entry["kind"]),
      ...entry,
      prices: mapEntries(objectAt(entry, "prices"), (price) => ({ ...ENTRY_DEFAULTS.price, ...price })),
    })),
    agents: Object.fromEntries(agents.filter(([name]) => AGENT_SETTING_NAMES.includes(name))),
    roles: mapEntries(Object.fromEntries(roles), (entry) => ({ ...ENTRY_DEFAULTS.role, ...entry })),
    workflows: mapEntries(objectAt(merged, "workflows"), (entry) => ({
      ...ENTRY_DEFAULTS.workflow,
      ...entry,
      ...(Array.isArray(entry["steps"]) ? { steps: listAt(entry, "steps").map(fillStep) } : {}),
    })),
    followUps: listAt(merged, "followUps").map((entry) =>
      isJsonObject(entry) ? { ...ENTRY_DEFAULTS.followUp, ...entry } : entry,
    ),
  };
}

function fillStep(step: JsonValue): JsonValue {
  return isJsonObject(step) ? { ...ENTRY_DEFAULTS.step, ...step } : step;
}

function commandFor(kind: JsonValue | undefined): JsonObject {
  return typeof kind === "string" && Object.hasOwn(COMMAND_OF_KIND, kind)
    ? { command: COMMAND_OF_KIND[kind as ProviderKind] }
    : {};
}

function mapEntries(entries: JsonObject, fill: (entry: JsonObject) => JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [name, isJsonObject(entry) ? fill(entry) : entry]),
  );
}

/** Everything that refers to something else by its name, and what one value means for another. */
function checkNames(merged: JsonObject, report: Report): void {
  const providers = objectAt(merged, "providers");
  const roles = objectAt(merged, "roles");
  const workflows = objectAt(merged, "workflows");
  for (const [name, provider] of Object.entries(providers)) {
    if (isJsonObject(provider) && provider["kind"] === undefined) {
      const kinds = Object.keys(COMMAND_OF_KIND).join(", ");
      const near = nearestName(
        name,
        Object.keys(providers).filter((other) => other !== name),
      );
      const hint = near === null ? "" : `; or is "${near}" meant?`;
      report(["providers", name], `missing "kind": how the program is driven (${kinds})${hint}`);
    }
  }
  for (const [name, role] of Object.entries(roles)) {
    if (!isJsonObject(role)) continue;
    checkChain(name, role["provider"] ?? null, providers, report);
    checkKinds(name, role, providers, report);
  }
  for (const [name, workflow] of Object.entries(workflows)) {
    if (!isJsonObject(workflow)) continue;
    if (workflow["steps"] === undefined) report(["workflows", name], 'missing "steps": a list of { "agent": ROLE }');
    listAt(workflow, "steps").forEach((step, index) => {
      if (!isJsonObject(step)) return;
      checkName(["workflows", name, "steps", index, "agent"], step["agent"], roles, "role", report);
      if (index > 0 || typeof step["prompt"] !== "string") return;
      const path = ["workflows", name, "steps", index, "prompt"];
      report(path, "the first step does the task, and its prompt is the task's: leave it out");
    });
  }
  listAt(merged, "followUps").forEach((followUp, index) => {
    if (!isJsonObject(followUp)) return;
    checkName(["followUps", index, "agent"], followUp["agent"], roles, "role", report);
    checkName(["followUps", index, "workflow"], followUp["workflow"], workflows, "workflow", report);
  });
  const { baseMs, maxMs } = objectAt(merged, "retry");
  if (typeof baseMs === "number" && typeof maxMs === "number" && maxMs < baseMs) {
    report(["retry", "maxMs"], `expected at least retry.baseMs (${baseMs}), found ${maxMs}`);
  }
}

function checkChain(role: string, provider: JsonValue, providers: JsonObject, report: Report): void {
  const chain = Array.isArray(provider) ? provider : [provider];
  chain.forEach((name, index) => {
    const path = ["agents", role, "provider", ...(Array.isArray(provider) ? [index] : [])];
    checkName(path, name, providers, "provider", report);
    if (name !== null && chain.indexOf(name) !== index) report(path, `"${String(name)}" stands twice in the list`);
  });
}

/** What a list of providers can't share: a prompt that is a command for one, and names of tools that only one knows. */
function checkKinds(name: string, role: JsonObject, providers: JsonObject, report: Report): void {
  const chain = role["provider"];
  if (!Array.isArray(chain)) return;
  const kinds = new Set(chain.map((provider) => objectAt(providers, String(provider))["kind"]));
  if (kinds.size < 2 || kinds.has(undefined)) return;
  const found = [...kinds].map(String).join(", ");
  if (kinds.has("command")) {
    report(
      ["agents", name, "provider"],
      `the list mixes kinds (${found}): for \`command\` the prompt is a shell command, which no agent is told; make it a role of its own`,
    );
  }
  if (Array.isArray(role["tools"])) {
    report(
      ["agents", name, "tools"],
      `each kind of the provider list (${found}) names its tools otherwise, so the list would bound only one of them; leave it out (permissions bound them all), or name providers of one kind`,
    );
  }
}

function checkName(
  path: Path,
  name: JsonValue | undefined,
  known: JsonObject,
  what: "provider" | "role" | "workflow",
  report: Report,
): void {
  if (typeof name !== "string" || Object.hasOwn(known, name)) return;
  const near = nearestName(name, Object.keys(known));
  const hint = near === null ? `known: ${Object.keys(known).join(", ")}` : `did you mean "${near}"?`;
  const message = `there is no ${what} "${name}"; ${hint}`;
  if (what === "provider") report(path, message, "PROVIDER_NOT_FOUND");
  else report(path, message);
}

/** Keys that are known, with the one value that this version does: who sets another is told. */
const LATER_KEYS: readonly { readonly path: Path; readonly done: (config: Config) => boolean }[] = [
  { path: ["agents", "isolation"], done: ({ agents }) => agents.isolation === "none" },
  { path: ["merge", "strategy"], done: ({ merge }) => merge.strategy === "merge" },
  { path: ["merge", "conflicts"], done: ({ merge }) => merge.conflicts === "manual" },
  { path: ["notify"], done: () => false },
];

function warn(config: Config, layers: readonly Layer[], report: Report): void {
  for (const { path, done } of LATER_KEYS) {
    if (originOf(layers, path).layer !== "default" && !done(config)) report(path, "has no effect in this version");
  }
  for (const [name, provider] of Object.entries(config.providers)) {
    const index = provider.args.findIndex(isSecretArgument);
    if (index >= 0) {
      report(
        ["providers", name, "args", index],
        "looks like a secret on a command line, where others can read it; use passEnv",
      );
    }
  }
  for (const [name, role] of Object.entries(config.roles)) {
    const [provider] = typeof role.provider === "string" ? [role.provider] : (role.provider ?? []);
    if (role.model !== null && provider !== undefined) {
      const modelOrigin = originOf(layers, ["agents", name, "model"]);
      const providerOrigin = originOf(layers, ["agents", name, "provider"]);
      if (providerOrigin.layer === "project" && modelOrigin.layer === "global") {
        report(
          ["agents", name, "provider"],
          `the provider comes from here, but the model "${role.model}" from ${modelOrigin.file ?? "the defaults"}; set both or neither`,
        );
      }
    }
    const chain = Array.isArray(role.provider) ? role.provider : [];
    const strangers = chain.filter((one) => config.providers[one]?.kind !== config.providers[provider ?? ""]?.kind);
    if (role.model !== null && strangers.length > 0) {
      report(
        ["agents", name, "model"],
        `is given to ${config.providers[provider ?? ""]?.kind ?? "the first"} only: ${strangers.join(", ")} uses its own choice`,
      );
    }
    if (provider !== undefined && config.providers[provider]?.kind === "command") {
      for (const key of ["model", "systemPrompt", "tools"] as const) {
        if (role[key] !== null) report(["agents", name, key], "has no meaning for a provider of kind command");
      }
    }
  }
}

function objectAt(value: JsonObject, key: string): JsonObject {
  const child = value[key];
  return isJsonObject(child) ? child : {};
}

function listAt(value: JsonObject, key: string): readonly JsonValue[] {
  const child = value[key];
  return Array.isArray(child) ? (child as readonly JsonValue[]) : [];
}

/** A task may ask for a role named "constructor": looking it up must find nothing. */
function withBareNames(config: Config): Config {
  return {
    ...config,
    providers: bare(config.providers),
    roles: bare(config.roles),
    workflows: bare(config.workflows),
  };
}

function bare<Value>(entries: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.assign(Object.create(null) as Record<string, Value>, entries);
}

function freeze<Value>(value: Value): Value {
  if (typeof value !== "object" || value === null) return value;
  for (const child of Object.values(value)) freeze(child);
  return Object.freeze(value);
}
