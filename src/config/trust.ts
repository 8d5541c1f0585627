/**
 * Trust in a project's config. A config names programs to run, so a repository's own is used only when the user has
 * said so, for exactly the text that is there: its hash and the text itself are kept in `<home>/trust.json`, by the real
 * path of the main worktree. Any other text is not used at all, in no part. Text and state always come from one reading
 * of the file, so what was judged is what is used.
 */
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { AppError } from "../errors.ts";
import { parseConfigFile } from "./config-file.ts";
import { readTextFile, realPathSoFar, withLock, writeFileAtomically } from "./files.ts";
import { formatLineDiff } from "./line-diff.ts";
import { type ConfigPlaces, projectConfigPath, readProjectFile } from "./places.ts";

/** none: there is no file (or no repository) · changed: another text was trusted before. */
export type TrustState = "none" | "trusted" | "untrusted" | "changed";

export interface ProjectPlaces extends ConfigPlaces {
  readonly mainWorktree: string;
}

/** What a person sees before deciding. */
export interface TrustChange {
  readonly path: string;
  readonly state: TrustState;
  /** The project's text now; pass it to `trustProject`, so that what was shown is what is trusted. Null: no file. */
  readonly sha256: string | null;
  /** The trusted text against the one there now, line by line (all of it when nothing was trusted); empty when equal. */
  readonly diff: string;
}

const trustFileSchema = z.strictObject({
  version: z.literal(1),
  projects: z.record(
    z.string(),
    z.strictObject({ sha256: z.string(), text: z.string(), trustedAtMs: z.number().nonnegative() }),
  ),
});
type TrustFile = z.infer<typeof trustFileSchema>;
type TrustRecord = TrustFile["projects"][string];

/** The state of the project's file as it is now. Throws STATE_UNUSABLE when trust.json is damaged. */
export function trustState(places: ProjectPlaces): TrustState {
  return stateOfProjectText(places, readProjectFile(places.mainWorktree)?.text ?? null);
}

/** The state of `text`, which was read from the project's file. */
export function stateOfProjectText(places: ConfigPlaces, text: string | null): TrustState {
  if (places.mainWorktree === null || text === null) return "none";
  const record = readRecord(places.home, places.mainWorktree);
  if (record === null) return "untrusted";
  return record.sha256 === sha256Of(text) ? "trusted" : "changed";
}

/** What trusting would mean, for a person to read. Shows the file as it is: it is the repository's, not a secret. */
export function describeChange(places: ProjectPlaces): TrustChange {
  const text = readProjectFile(places.mainWorktree)?.text ?? null;
  const state = stateOfProjectText(places, text);
  const trusted = readRecord(places.home, places.mainWorktree)?.text ?? "";
  return {
    path: projectConfigPath(places.mainWorktree),
    state,
    sha256: text === null ? null : sha256Of(text),
    diff: text === null ? "" : formatLineDiff(trusted, text),
  };
}

/**
 * Trusts the project's file as it is now. With `expectedSha256` (of `describeChange`) only if it is still that text.
 * Throws CONFIG_INVALID for a file that could not be used anyway, and CONFIG_UNTRUSTED when there is no file or it is
 * another than expected. Safe beside other writers.
 */
export async function trustProject(
  places: ProjectPlaces,
  options: { readonly expectedSha256?: string; readonly nowMs?: number } = {},
): Promise<void> {
  const path = projectConfigPath(places.mainWorktree);
  const text = readProjectFile(places.mainWorktree)?.text;
  if (text === undefined) {
    throw new AppError("CONFIG_UNTRUSTED", `There is no ${path} to trust.`, { details: { file: path } });
  }
  const sha256 = sha256Of(text);
  if (options.expectedSha256 !== undefined && options.expectedSha256 !== sha256) {
    throw new AppError("CONFIG_UNTRUSTED", `${path} changed while you looked at it. Look at it again.`, {
      details: { file: path },
    });
  }
  parseConfigFile("project", path, text);
  const record = { sha256, text, trustedAtMs: options.nowMs ?? Date.now() };
  await changeTrustFile(places.home, (projects) => ({ ...projects, [projectKey(places.mainWorktree)]: record }));
}

/** Takes the trust away. False when there was none. */
export async function untrustProject(places: ProjectPlaces): Promise<boolean> {
  const key = projectKey(places.mainWorktree);
  let wasTrusted = false;
  await changeTrustFile(places.home, (projects) => {
    const { [key]: record, ...rest } = projects;
    wasTrusted = record !== undefined;
    return rest;
  });
  return wasTrusted;
}

/** One lock for all that is written in the orchestrator's home by this folder. */
export function configLock(home: string): string {
  return join(home, "config.lock");
}

async function changeTrustFile(
  home: string,
  change: (projects: TrustFile["projects"]) => TrustFile["projects"],
): Promise<void> {
  await withLock(configLock(home), async () => {
    const projects = change(readTrustFile(home).projects);
    // Texts of configs may hold what their owner does not want read by others.
    if (Object.keys(projects).length === 0) return await rm(trustPath(home), { force: true });
    await writeFileAtomically(trustPath(home), `${JSON.stringify({ version: 1, projects }, null, 2)}\n`, 0o600);
  });
}

function readRecord(home: string, mainWorktree: string): TrustRecord | null {
  const { projects } = readTrustFile(home);
  const key = projectKey(mainWorktree);
  const record = Object.hasOwn(projects, key) ? projects[key] : undefined;
  return record === undefined || record.sha256 !== sha256Of(record.text) ? null : record;
}

function readTrustFile(home: string): TrustFile {
  const path = trustPath(home);
  const file = readTextFile(path, MAX_TRUST_FILE_BYTES);
  if (file === null) return { version: 1, projects: {} };
  let value: unknown;
  try {
    value = JSON.parse(file.text);
  } catch (cause) {
    throw damaged(path, cause);
  }
  const parsed = trustFileSchema.safeParse(value);
  if (!parsed.success) throw damaged(path, parsed.error);
  return parsed.data;
}

/** Holds the texts of many projects. */
const MAX_TRUST_FILE_BYTES = 64 * 1_048_576;

function damaged(path: string, cause: unknown): AppError {
  return new AppError(
    "STATE_UNUSABLE",
    `${path} is damaged or from a newer version. Update, or move it away and trust your projects again (orchestrator trust).`,
    { details: { path }, cause },
  );
}

function trustPath(home: string): string {
  return join(home, "trust.json");
}

function projectKey(mainWorktree: string): string {
  return realPathSoFar(mainWorktree);
}

/** The hash that trust is given to. */
export function sha256Of(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}
