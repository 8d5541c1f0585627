/**
 * What `init` did, in `<home>/init.json`: enough to take it back, and nothing of what else stands in the files (those of
 * agent CLIs hold secrets). Written before each change, so that one that was cut off is known too: the hashes tell
 * whether it happened.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readTextFile, withLock, writeFileAtomically } from "../../config/files.ts";
import { AppError } from "../../errors.ts";

const serverRecord = z.strictObject({
  host: z.string(),
  file: z.string(),
  server: z.strictObject({ command: z.string(), args: z.array(z.string()) }),
  edit: z.strictObject({ offset: z.number(), removed: z.string(), inserted: z.string() }),
  /** Null: the file was not there. */
  beforeSha256: z.string().nullable(),
  afterSha256: z.string(),
  /** Folders made for it, outermost first. */
  madeFolders: z.array(z.string()),
});

const repositoryRecord = z.strictObject({
  config: z
    .strictObject({
      file: z.string(),
      mainWorktree: z.string(),
      afterSha256: z.string(),
      madeFolders: z.array(z.string()),
    })
    .nullable(),
  hasHooks: z.boolean(),
});

const journalSchema = z.strictObject({
  version: z.literal(1),
  /** Of this user, for all repositories. */
  servers: z.array(serverRecord),
  /** By common git folder. */
  repositories: z.record(z.string(), repositoryRecord),
});

export type ServerRecord = z.infer<typeof serverRecord>;
export type RepositoryRecord = z.infer<typeof repositoryRecord>;
export type Journal = z.infer<typeof journalSchema>;

export const NO_RECORD: RepositoryRecord = { config: null, hasHooks: false };

function journalPath(home: string): string {
  return join(home, "init.json");
}

/** Throws STATE_UNUSABLE when it is damaged. */
export function readJournal(home: string): Journal {
  const path = journalPath(home);
  const file = readTextFile(path);
  if (file === null) return { version: 1, servers: [], repositories: {} };
  try {
    return journalSchema.parse(JSON.parse(file.text));
  } catch (cause) {
    const message = `${path} is damaged or from a newer version. Update, or move it away: what it tells can then be undone by hand only.`;
    throw new AppError("STATE_UNUSABLE", message, { details: { path }, cause });
  }
}

/** One process at a time; a journal of nothing is no file. */
export async function changeJournal(home: string, change: (journal: Journal) => Journal): Promise<void> {
  await withLock(join(home, "init.lock"), async () => {
    const next = change(readJournal(home));
    const repositories = Object.fromEntries(
      Object.entries(next.repositories).filter(([, { config, hasHooks }]) => config !== null || hasHooks),
    );
    const isEmpty = next.servers.length === 0 && Object.keys(repositories).length === 0;
    if (isEmpty) await rm(journalPath(home), { force: true });
    else await writeFileAtomically(journalPath(home), `${JSON.stringify({ ...next, repositories }, null, 2)}\n`, 0o600);
  });
}
