/** Our entry in the file of one agent CLI: what would be done to have it there. */
import { messageOf } from "../../errors.ts";
import { isSameServer, SERVER_KEY, type Host, type ServerProgram } from "./host.ts";
import { changeJournal, type ServerRecord } from "./journal.ts";
import { hashOf, missingFolders, readWhole, replaceWhole } from "./owned-file.ts";
import type { Outcome, Step } from "./step.ts";
import { editBetween, revertEdit } from "./text-edit.ts";

export interface ServerPlan {
  readonly host: Host;
  readonly file: string;
  readonly server: ServerProgram;
  /** The orchestrator's, for the journal. */
  readonly home: string;
  /** Of an earlier `init` for the same file. */
  readonly record: ServerRecord | null;
}

export async function planServer(plan: ServerPlan): Promise<Step> {
  const { host, file, server, record } = plan;
  const step = { what: host.name, file, apply: null };
  try {
    const text = readWhole(file);
    const found = await host.find(text ?? "");
    if (found === null) return await planEntry(plan, text, text);
    if (isSameServer(found, server)) return { ...step, action: "none", message: `${SERVER_KEY} is registered` };
    if (record !== null && isSameServer(found, record.server) && text !== null) {
      const before = withoutOurs(plan, record, text);
      if (before !== null) return await planEntry(plan, text, before);
    }
    const message =
      `${SERVER_KEY} is registered already, as \`${[found.command, ...found.args].join(" ").trim()}\`; that is not ours to ` +
      `change. To replace it: ${host.removal}, then init again`;
    return { ...step, action: "left", message };
  } catch (thrown) {
    return { ...step, action: "left", message: `left as it is: ${messageOf(thrown)}` };
  }
}

/** `before`: the text without our entry, from which `--undo` is reckoned; null when there is no file. */
async function planEntry(plan: ServerPlan, text: string | null, before: string | null): Promise<Step> {
  const { host, file, server, home } = plan;
  const after = await host.add(before ?? "", server);
  const record: ServerRecord = {
    host: host.program,
    file,
    server: { command: server.command, args: [...server.args] },
    edit: editBetween(before ?? "", after),
    beforeSha256: hashOf(before),
    afterSha256: hashOf(after) ?? "",
    madeFolders: text === null ? missingFolders(file) : (plan.record?.madeFolders ?? []),
  };
  const apply = async (): Promise<Outcome> => {
    await changeJournal(home, (journal) => ({
      ...journal,
      servers: [...journal.servers.filter((other) => other.file !== file), record],
    }));
    await replaceWhole(file, text, after, 0o600);
    return {};
  };
  const message = `registers ${SERVER_KEY}: ${[server.command, ...server.args].join(" ")}`;
  return { what: host.name, file, action: text === null ? "create" : "change", message, apply };
}

function withoutOurs({ host }: ServerPlan, record: ServerRecord, text: string): string | null {
  if (hashOf(text) !== record.afterSha256) return host.takeOut(text, record.edit.inserted);
  return record.beforeSha256 === null ? "" : revertEdit(text, record.edit);
}
