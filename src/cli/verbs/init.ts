/** `orchestrator init`: a config, the git hooks, and this program as an MCP server of the agent CLIs that are here. */
import { homedir } from "node:os";
import { orchestratorHome } from "../../config/index.ts";
import type { FoundRepository } from "../../engine/repository-paths.ts";
import { hasCode, messageOf } from "../../errors.ts";
import { findRepositoryFor } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { findHosts, type HostHere } from "../init/hosts.ts";
import { planConfig, planHooks } from "../init/install-repository.ts";
import { planServer } from "../init/install-server.ts";
import { NO_RECORD, readJournal, type Journal } from "../init/journal.ts";
import { installedServer } from "../init/server-program.ts";
import { removeEmptyFolders } from "../init/owned-file.ts";
import type { Step } from "../init/step.ts";
import { planUndo } from "../init/undo.ts";
import { styled, type Line } from "../styled.ts";
import type { Terminal } from "../terminal.ts";
import type { Invocation, VerbRunner } from "../verb.ts";

export const runInit: VerbRunner = async (invocation, terminal) => {
  const home = orchestratorHome();
  const isUndo = invocation.has("undo");
  const repository = findRepository(invocation);
  const journal = readJournal(home);
  const hosts = await findHosts(home);
  const { repo } = invocation;
  const steps = isUndo
    ? await planUndo({
        home,
        journal,
        hosts: hosts.map(({ host }) => host),
        commonDir: repository?.commonDir ?? null,
        repo,
      })
    : await planInstall({ home, journal, hosts, repository, repo });
  const isOpen = steps.some(({ apply }) => apply !== null);
  const isDryRun = invocation.has("dry-run");

  const isShownFirst = isDryRun || !invocation.has("yes");
  if (!invocation.json && (isShownFirst || steps.length === 0)) {
    if (isShownFirst) terminal.print(...steps.map((step) => lineOf(step, "would")));
    if (!isOpen) terminal.print(isUndo ? "There is nothing to take back." : "Nothing needs to be done.");
  }
  if (isDryRun) {
    if (invocation.json) terminal.printJson({ dryRun: true, undo: isUndo, steps: steps.map(factsOf) });
    return exitCodeOf(steps);
  }
  if (isOpen && !(await isMeant(invocation, terminal))) {
    terminal.note("Nothing was changed. `orchestrator init --yes` does it without asking.");
    return EXIT.needsPerson;
  }
  const done: Step[] = [];
  for (const step of steps) done.push(await carryOut(step, invocation, terminal));
  if (isUndo) removeEmptyFolders([home]);
  if (invocation.json) terminal.printJson({ dryRun: false, undo: isUndo, steps: done.map(factsOf) });
  return exitCodeOf(done);
};

async function planInstall(options: {
  readonly home: string;
  readonly journal: Journal;
  readonly hosts: readonly HostHere[];
  readonly repository: FoundRepository | null;
  readonly repo: string | null;
}): Promise<Step[]> {
  const { home, journal, hosts, repository, repo } = options;
  const steps: Step[] = [];
  const mainWorktree = repository?.mainWorktree ?? null;
  if (repository === null || mainWorktree === null) {
    const message = repository === null ? "no git repository here" : "the repository is bare";
    steps.push({ what: "project config, git hooks", file: null, action: "skip", message, apply: null });
  } else {
    const record = journal.repositories[repository.commonDir] ?? NO_RECORD;
    const plan = { home, commonDir: repository.commonDir, mainWorktree, record };
    steps.push(planConfig(plan), await planHooks(plan, repo));
  }
  const server = installedServer();
  for (const { host, program } of hosts) {
    if (program === null) {
      const message = `${host.program} was not found on PATH`;
      steps.push({ what: host.name, file: null, action: "skip", message, apply: null });
      continue;
    }
    const file = host.file(process.env, homedir());
    const record = journal.servers.find((known) => known.file === file) ?? null;
    steps.push(await planServer({ host, file, server, home, record }));
  }
  return steps;
}

async function isMeant(invocation: Invocation, terminal: Terminal): Promise<boolean> {
  if (invocation.has("yes")) return true;
  return !invocation.json && terminal.canAsk && (await terminal.ask("Do that?"));
}

/** One step that fails does not keep the others from being done. */
async function carryOut(step: Step, invocation: Invocation, terminal: Terminal): Promise<Step> {
  let done = step;
  try {
    if (step.apply !== null) done = { ...step, ...(await step.apply()) };
  } catch (thrown) {
    done = { ...step, action: "left", message: `not done: ${messageOf(thrown)}` };
  }
  if (!invocation.json) terminal.print(lineOf(done, "did"));
  return done;
}

const WORDS: Readonly<Record<Step["action"], readonly [would: string, did: string]>> = {
  create: ["would create", "created"],
  change: ["would change", "changed"],
  delete: ["would delete", "deleted"],
  none: ["unchanged", "unchanged"],
  skip: ["skipped", "skipped"],
  left: ["left", "left"],
};

function lineOf({ what, file, action, message }: Step, tense: "would" | "did"): Line {
  const word = WORDS[action][tense === "would" ? 0 : 1];
  const style = action === "left" ? "yellow" : "green";
  return [
    styled(word.padEnd(tense === "would" ? 12 : 9), style),
    ` ${file ?? what}`,
    ` — ${file === null ? "" : `${what}: `}${message}`,
  ];
}

function factsOf({ what, file, action, message }: Step): object {
  return { what, file, action, message };
}

function exitCodeOf(steps: readonly Step[]): typeof EXIT.succeeded | typeof EXIT.failed {
  return steps.some(({ action }) => action === "left") ? EXIT.failed : EXIT.succeeded;
}

/** A repository that was named must be there; without one the agent CLIs can be told all the same. */
function findRepository(invocation: Invocation): FoundRepository | null {
  try {
    return findRepositoryFor(invocation.repo);
  } catch (thrown) {
    if (invocation.repo === null && hasCode(thrown, "NOT_A_REPOSITORY")) return null;
    throw thrown;
  }
}
