/** `orchestrator diff PLAN/TASK`: the patch. Into a pipe it goes as it is, so that `git apply` can read it. */
import { openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { styled, type Line } from "../styled.ts";
import type { VerbRunner } from "../verb.ts";

export const runDiff: VerbRunner = async (invocation, terminal) => {
  const [name = ""] = invocation.positionals;
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const answer = await session.call("read_diff", { task: name });
    if (invocation.json) terminal.printJson(answer);
    else if (answer.diff === "") terminal.note(answer.summary);
    else if (terminal.isInteractive) terminal.print(...answer.diff.trimEnd().split("\n").map(diffLine));
    else terminal.writeRaw(answer.diff.endsWith("\n") ? answer.diff : `${answer.diff}\n`);
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

/** Tabs are what a patch is full of; a line for the terminal has spaces. */
function diffLine(text: string): Line {
  const line = text.replaceAll("\t", "        ");
  if (line.startsWith("+++") || line.startsWith("---") || line.startsWith("diff ")) return [styled(line, "bold")];
  if (line.startsWith("+")) return [styled(line, "green")];
  if (line.startsWith("-")) return [styled(line, "red")];
  if (line.startsWith("@@")) return [styled(line, "cyan")];
  return [line];
}
