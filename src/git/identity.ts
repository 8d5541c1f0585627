/** Who the engine's commits are by: the user as configured, else a fixed name, so that none is needed. */
import type { GitVariables } from "./git-environment.ts";
import { runGit, splitAtNul, type GitPlace } from "./run-git.ts";

const FALLBACK_NAME = "orchestrator";
const FALLBACK_EMAIL = "orchestrator@localhost";

/** What the user commits with where the environment says nothing else; null where nothing is configured. */
export async function configuredEmail(place: GitPlace): Promise<string | null> {
  for (const key of ["committer.email", "user.email"]) {
    const result = await runGit(place, ["config", "--get", key]);
    const email = result.stdout.toString("utf8").trim();
    if (result.exitCode === 0 && email !== "") return email;
  }
  return null;
}

/** So long what was read counts: a plan's tasks end one after another, and nobody changes their name meanwhile. */
const KEEP_MS = 10_000;

/** `identityVariables`, read at most every ten seconds. */
export function identityReader(place: GitPlace): () => Promise<GitVariables> {
  let known: { readonly variables: Promise<GitVariables>; readonly untilMs: number } | null = null;
  return async () => {
    if (known === null || performance.now() > known.untilMs) {
      const variables = identityVariables(place);
      known = { variables, untilMs: performance.now() + KEEP_MS };
      // A failure is told to who asked, and not kept.
      variables.catch(() => (known = null));
    }
    return await known.variables;
  };
}

/**
 * Variables that fill in what the configuration lacks; git's own guess from the machine's name is not used, because it
 * differs between machines and fails on some.
 */
async function identityVariables(place: GitPlace): Promise<GitVariables> {
  const pattern = "^(user|author|committer)\\.(name|email)$";
  const result = await runGit(place, ["config", "-z", "--get-regexp", pattern]);
  const settings = new Map<string, string>();
  for (const field of splitAtNul(result.stdout)) {
    const text = field.toString("utf8");
    const end = text.indexOf("\n");
    if (end > 0) settings.set(text.slice(0, end), text.slice(end + 1).trim());
  }
  const setting = (role: "author" | "committer", key: "name" | "email", fallback: string): string =>
    settings.get(`${role}.${key}`) || settings.get(`user.${key}`) || fallback;
  return {
    GIT_AUTHOR_NAME: setting("author", "name", FALLBACK_NAME),
    GIT_AUTHOR_EMAIL: setting("author", "email", FALLBACK_EMAIL),
    GIT_COMMITTER_NAME: setting("committer", "name", FALLBACK_NAME),
    GIT_COMMITTER_EMAIL: setting("committer", "email", FALLBACK_EMAIL),
  };
}
