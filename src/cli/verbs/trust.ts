/** `orchestrator trust`: shows what the repository's own config says, and trusts exactly that text. */
import { describeChange, loadConfig, orchestratorHome, trustProject, type ConfigPlaces } from "../../config/index.ts";
import { AppError, messageOf } from "../../errors.ts";
import { findRepositoryFor, openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { styled, type Line } from "../styled.ts";
import type { Terminal } from "../terminal.ts";
import type { VerbRunner } from "../verb.ts";

export const runTrust: VerbRunner = async (invocation, terminal) => {
  const { mainWorktree } = findRepositoryFor(invocation.repo);
  if (mainWorktree === null)
    throw new AppError("REPOSITORY_UNUSABLE", "this repository is bare: it has no config of its own");
  const places = { home: orchestratorHome(), mainWorktree };
  const change = describeChange(places);
  const isOpen = change.state === "untrusted" || change.state === "changed";
  if (invocation.json) terminal.printJson(change);
  else {
    terminal.print(
      `${change.path}: ${STATES[change.state]}`,
      ...change.diff.trimEnd().split("\n").filter(Boolean).map(diffLine),
    );
  }
  if (!isOpen || invocation.has("show")) return EXIT.succeeded;
  const isMeant =
    invocation.has("yes") ||
    (!invocation.json &&
      terminal.canAsk &&
      (await terminal.ask("It can name programs to run. Trust it as it is now?")));
  if (!isMeant) {
    terminal.note("Not trusted. `orchestrator trust --yes` trusts it without asking.");
    return EXIT.needsPerson;
  }
  await trustProject(places, change.sha256 === null ? {} : { expectedSha256: change.sha256 });
  if (!invocation.json) terminal.print("Trusted.");
  await beginToFollow(places, invocation.repo, terminal);
  return EXIT.succeeded;
};

/** What git does from now on is followed, so an engine has to take its first look now. */
async function beginToFollow(places: ConfigPlaces, repo: string | null, terminal: Terminal): Promise<void> {
  try {
    if (loadConfig(places).config.followUps.length === 0) return;
    const session = await openEngineSession({ repo });
    await session.call("look_at_git", {});
    await session.close();
  } catch (thrown) {
    terminal.note(`note: follow-ups begin with the next engine: ${messageOf(thrown)}`);
  }
}

const STATES = {
  none: "there is no such file; nothing needs to be trusted",
  trusted: "trusted as it is now",
  untrusted: "not trusted; it has no effect",
  changed: "changed since it was trusted; it has no effect",
} as const;

function diffLine(text: string): Line {
  if (text.startsWith("+")) return [styled(text, "green")];
  if (text.startsWith("-")) return [styled(text, "red")];
  return [text];
}
