/**
 * `init --undo`: what the journal tells, backwards. A file that is as init left it becomes again what it was, byte for
 * byte; one that somebody changed since loses our entry only; what is not recognised as ours stays and is named.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { trustState, untrustProject } from "../../config/index.ts";
import { messageOf } from "../../errors.ts";
import { openEngineSession } from "../engine-session.ts";
import { isSameServer, SERVER_KEY, type Host } from "./host.ts";
import { changeRecord, wordsOf, type HooksReport } from "./install-repository.ts";
import { changeJournal, type Journal, type RepositoryRecord, type ServerRecord } from "./journal.ts";
import { hashOf, readWhole, removeEmptyFolders, removeWhole, replaceWhole } from "./owned-file.ts";
import type { Outcome, Step } from "./step.ts";
import { revertEdit } from "./text-edit.ts";

export interface UndoPlan {
  readonly home: string;
  readonly journal: Journal;
  readonly hosts: readonly Host[];
  /** Null outside of a repository. */
  readonly commonDir: string | null;
  readonly repo: string | null;
}

export async function planUndo(plan: UndoPlan): Promise<Step[]> {
  const { journal, commonDir } = plan;
  const record = commonDir === null ? undefined : journal.repositories[commonDir];
  const steps: Step[] = [];
  // Others that init was run in need the registrations as well; what was a repository and is gone needs nothing.
  const others = Object.keys(journal.repositories).filter((path) => path !== commonDir && existsSync(path));
  for (const server of journal.servers.toReversed()) {
    steps.push(others.length > 0 ? keptFor(server, others[0] ?? "", plan.hosts) : await planServer(plan, server));
  }
  if (record !== undefined && commonDir !== null) {
    if (record.hasHooks) steps.push(hooksStep(plan.home, commonDir, plan.repo));
    if (record.config !== null) steps.push(configStep(plan.home, commonDir, record.config));
  }
  return steps;
}

function keptFor({ host, file }: ServerRecord, other: string, hosts: readonly Host[]): Step {
  const message = `stays: ${other} uses it too; init --undo there takes it back`;
  return { what: hostOf(hosts, host)?.name ?? host, file, action: "none", message, apply: null };
}

function hostOf(hosts: readonly Host[], program: string): Host | null {
  return hosts.find((host) => host.program === program) ?? null;
}

async function planServer({ home, hosts }: UndoPlan, record: ServerRecord): Promise<Step> {
  const { file } = record;
  const host = hostOf(hosts, record.host);
  const what = host?.name ?? record.host;
  const forget = async (): Promise<Outcome> => {
    await changeJournal(home, (journal) => ({
      ...journal,
      servers: journal.servers.filter((other) => other.file !== file),
    }));
    return {};
  };
  try {
    const text = readWhole(file);
    const isUntouched = hashOf(text) === record.afterSha256;
    if (text === null || hashOf(text) === record.beforeSha256) {
      const apply = async (): Promise<Outcome> => {
        if (text === null) removeEmptyFolders(record.madeFolders);
        return await forget();
      };
      return { what, file, action: "change", message: "has nothing of ours any more", apply };
    }
    if (isUntouched && record.beforeSha256 === null) {
      const apply = async (): Promise<Outcome> => {
        await removeWhole(file, text, record.madeFolders);
        return await forget();
      };
      return { what, file, action: "delete", message: "was made by init and is as it left it", apply };
    }
    const after = isUntouched ? revertEdit(text, record.edit) : await withoutEntry(host, record, text);
    if (after === null) {
      const how = host === null ? "" : `: ${host.removal}`;
      return {
        what,
        file,
        action: "left",
        message: `${SERVER_KEY} there is not as init wrote it${how}`,
        apply: forget,
      };
    }
    const apply = async (): Promise<Outcome> => {
      if (after !== text) await replaceWhole(file, text, after, 0o600);
      return await forget();
    };
    const message = isUntouched ? "as it was before init" : `loses ${SERVER_KEY}; what else changed since stays`;
    return { what, file, action: "change", message, apply };
  } catch (thrown) {
    return { what, file, action: "left", message: `left as it is: ${messageOf(thrown)}`, apply: null };
  }
}

/** `text` itself when there is nothing of ours; null when it is not as we wrote it. */
async function withoutEntry(host: Host | null, record: ServerRecord, text: string): Promise<string | null> {
  if (host === null) return null;
  const after = host.takeOut(text, record.edit.inserted);
  const found = await host.find(text).catch(() => undefined);
  if (found === null) return text;
  return found === undefined || isSameServer(found, record.server) ? after : null;
}

function hooksStep(home: string, commonDir: string, repo: string | null): Step {
  const apply = async (): Promise<Outcome> => {
    const report = await uninstallHooks(repo);
    await changeRecord(home, commonDir, (record) => ({ ...record, hasHooks: false }));
    return { message: wordsOf(report) };
  };
  return { what: "git hooks", file: null, action: "change", message: "taken out; those that were there stay", apply };
}

async function uninstallHooks(repo: string | null): Promise<HooksReport> {
  const session = await openEngineSession({ repo });
  try {
    return await session.call("git_hooks", { action: "uninstall" });
  } finally {
    await session.close();
  }
}

function configStep(home: string, commonDir: string, config: NonNullable<RepositoryRecord["config"]>): Step {
  const { file, mainWorktree, afterSha256, madeFolders } = config;
  const what = "project config";
  const text = readWhole(file);
  const isUntouched = hashOf(text) === afterSha256;
  const forget = async (): Promise<void> => {
    await changeRecord(home, commonDir, (record) => ({ ...record, config: null }));
  };
  if (text !== null && !isUntouched) {
    const apply = async (): Promise<Outcome> => {
      await forget();
      return {};
    };
    return { what, file, action: "left", message: "stays: it was changed since init wrote it", apply };
  }
  const apply = async (): Promise<Outcome> => {
    const places = { home, mainWorktree };
    if (["trusted", "none"].includes(trustState(places))) await untrustProject(places);
    if (text !== null) await rm(file);
    removeEmptyFolders(madeFolders);
    await forget();
    return {};
  };
  return { what, file, action: "delete", message: "was made by init and is as it left it", apply };
}
