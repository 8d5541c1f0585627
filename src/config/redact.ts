/** What may be shown of a config. Values of variables are never shown: whether one is a secret can't be seen from it. */
import { isJsonObject, type JsonObject, type JsonValue } from "./layers.ts";

const HIDDEN = "(hidden)";

/**
 * The same config (a file's, a complete one, a pinned one) with the values of `providers.*.env` and of arguments that
 * hold a secret hidden. The input is not changed.
 */
export function redactConfig<Shape>(config: Shape): Shape {
  if (!isJsonObject(config)) return config;
  const providers = config["providers"];
  if (!isJsonObject(providers)) return config;
  // The shape stays: texts are replaced by texts.
  return { ...config, providers: mapValues(providers, redactProvider) } as Shape;
}

function redactProvider(provider: JsonValue): JsonValue {
  if (!isJsonObject(provider)) return provider;
  const { env, args } = provider;
  return {
    ...provider,
    ...(isJsonObject(env) ? { env: mapValues(env, () => HIDDEN) } : {}),
    ...(Array.isArray(args) ? { args: redactArguments(args as readonly JsonValue[]) } : {}),
  };
}

const SECRET_OPTION = /^--?[\w-]*(key|token|secret|password)$/i;
const SECRET_ASSIGNMENT = /^(--?[\w-]*(?:key|token|secret|password)=)/i;
const SECRET_VALUE = /^(sk|pk|ghp|gho|ghs|github_pat|xox[a-z]|glpat)[-_][\w-]{8}/;

/** `--api-key VALUE`, `--token=VALUE`, and what has the form of a well-known kind of key. */
function redactArguments(args: readonly JsonValue[]): JsonValue[] {
  return args.map((argument, index) => {
    if (typeof argument !== "string") return argument;
    const before = args[index - 1];
    if (typeof before === "string" && SECRET_OPTION.test(before) && !argument.startsWith("-")) return HIDDEN;
    const assignment = SECRET_ASSIGNMENT.exec(argument)?.[1];
    if (assignment !== undefined) return `${assignment}${HIDDEN}`;
    return SECRET_VALUE.test(argument) ? HIDDEN : argument;
  });
}

/** Whether an argument carries a secret, or announces one. */
export function isSecretArgument(argument: string): boolean {
  return SECRET_OPTION.test(argument) || SECRET_ASSIGNMENT.test(argument) || SECRET_VALUE.test(argument);
}

function mapValues(object: JsonObject, change: (value: JsonValue) => JsonValue): JsonObject {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}
