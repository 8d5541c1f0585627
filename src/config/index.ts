/**
 * The config: what a person may set, what is used when nothing is said, where each value came from, and whether a
 * repository's own file is trusted.
 *
 * Always true: a config that is handed out is complete, checked and frozen; an unknown key or wrong value is refused
 * with file, line and column before anything has happened; a project's file that is not trusted in exactly its text
 * has no effect at all; values of `providers.*.env` are in no message and, through `redactConfig`, in no output.
 *
 * Never: reads the environment for settings, starts a program, or knows what the values are used for.
 */
export { AUTO_PROVIDERS } from "./defaults.ts";
export { type Changed, type ChangeOptions, changeSetting, getSetting, type Setting } from "./edit.ts";
export { configJsonSchema, configSchemaText, describeSettings, type SettingDescription } from "./json-schema.ts";
export {
  defaultConfig,
  type FoundProviders,
  loadConfig,
  type LoadedConfig,
  type LoadOptions,
  type Origins,
  type ProjectFile,
  resolveAutoProvider,
  resolveProviders,
  roleNamed,
} from "./load.ts";
export type { JsonObject, JsonValue, LayerName, Origin } from "./layers.ts";
export { pinConfig, type PinnedConfig, usePinnedConfig } from "./pin.ts";
export { type ConfigPlaces, globalConfigPath, orchestratorHome, projectConfigPath, worktreesRoot } from "./places.ts";
export { PROVIDER_KINDS, type ProviderKind } from "./provider-section.ts";
export { redactConfig } from "./redact.ts";
export {
  type AgentSettings,
  type Config,
  type FollowUpConfig,
  type ProviderConfig,
  type RoleConfig,
  type WorkflowConfig,
} from "./schema.ts";
export {
  describeChange,
  type ProjectPlaces,
  type TrustChange,
  trustProject,
  trustState,
  type TrustState,
  untrustProject,
} from "./trust.ts";
