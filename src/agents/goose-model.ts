import { AppError } from "../errors.ts";

/**
 * Providers of Goose 1.52 (each tried with `--provider NAME`). Needed to tell `ollama/qwen2.5` (a provider and its
 * model) from `qwen/qwen3-8b` (the name of a model that has a slash). Providers that a user added in Goose's settings
 * begin with `custom_`.
 */
const PROVIDERS = new Set(
  (
    "alibaba amp-acp anthropic avian aws_bedrock azure_openai cerebras chatgpt_codex claude-acp claude-code codex " +
    "codex-acp copilot-acp cursor-agent databricks gcp_vertex_ai gemini-cli github_copilot google groq huggingface " +
    "inception kimi_code litellm llama_swap lmstudio local minimax mistral moonshot nearai novita nvidia ollama " +
    "ollama_cloud openai openrouter ovhcloud perplexity pi-acp sagemaker_tgi scaleway snowflake tanzu_ai tetrate " +
    "together venice vercel_ai_gateway xai zai"
  ).split(" "),
);

/** How people write the local ones. A llama.cpp server and llama-swap speak alike (LLAMA_SWAP_HOST). */
const ALIASES: Readonly<Record<string, string>> = {
  "llama.cpp": "llama_swap",
  "llama-cpp": "llama_swap",
  llamacpp: "llama_swap",
  "llama-swap": "llama_swap",
  "lm-studio": "lmstudio",
  deepseek: "custom_deepseek",
};

/**
 * The arguments for a role's `model`: `PROVIDER/MODEL` when what stands before the first slash is a provider of Goose,
 * else the whole is a model of the provider that Goose is configured for. Null leaves both to Goose. They are given on
 * each turn, a continued one too, and win over the environment and over what the session stored (seen).
 * Throws AppError INPUT_INVALID when one half is empty.
 */
export function gooseModelArguments(model: string | null): string[] {
  if (model === null) return [];
  const { provider, name } = splitModel(model);
  if (name.trim() === "") {
    throw new AppError(
      "INPUT_INVALID",
      `The model \`${model}\` has no model name. Expected \`MODEL\` or \`PROVIDER/MODEL\`, for example \`ollama/qwen2.5\`.`,
      { details: { model } },
    );
  }
  return [...(provider === null ? [] : [`--provider=${provider}`]), `--model=${name}`];
}

function splitModel(model: string): { provider: string | null; name: string } {
  const slash = model.indexOf("/");
  const head = model.slice(0, Math.max(0, slash)).trim();
  const provider = Object.hasOwn(ALIASES, head) ? (ALIASES[head] ?? head) : head;
  if (slash === -1 || !(PROVIDERS.has(provider) || provider.startsWith("custom_"))) {
    return { provider: null, name: slash === 0 ? "" : model.trim() };
  }
  return { provider, name: model.slice(slash + 1).trim() };
}
