/** `orchestrator ps`: the engine and what it runs now. Starts no engine. */
import { openRunningEngine, type Output } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { renderDuration } from "../render-time.ts";
import { styled, type Line } from "../styled.ts";
import type { VerbRunner } from "../verb.ts";

export const runPs: VerbRunner = async (invocation, terminal) => {
  const session = await openRunningEngine(invocation.repo);
  if (session === null) {
    if (invocation.json) terminal.printJson({ running: false, processes: [] });
    else terminal.print("No engine is running here; the next command that needs one starts it.");
    return EXIT.succeeded;
  }
  try {
    const info = await session.call("engine_info", {});
    const { isRestartPending } = session.client;
    if (invocation.json) terminal.printJson({ running: true, ...info });
    else {
      terminal.print(...renderProcesses(info, Date.now()));
      if (isRestartPending) terminal.print("restart pending: a newer version takes over when its agents are done");
    }
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

function renderProcesses(info: Output<"engine_info">, nowMs: number): Line[] {
  const since = (time: string): string => renderDuration(nowMs - Date.parse(time));
  const lines: Line[] = [
    [
      styled(`engine ${info.version}`, "bold"),
      ` process ${info.pid}, up ${since(info.startedAt)}, limits.agents ${info.limitAgents}`,
    ],
    [`  repository ${info.repository}`],
  ];
  for (const { name, state, until, reason, command } of info.providers) {
    if (state === "healthy") continue;
    lines.push([
      `  provider ${name}: `,
      styled(state, "yellow"),
      `${until === null ? "" : ` until ${until}`}${reason === null ? "" : `: ${reason}`}`,
      ...(command === null ? [] : [" → ", styled(command, "bold")]),
    ]);
  }
  if (info.processes.length === 0) lines.push(["  no agents run"]);
  for (const child of info.processes) {
    const quiet = `${since(child.startedAt)}, last output ${since(child.lastOutputAt)} ago`;
    lines.push([
      `  ${String(child.pid ?? "-").padStart(7)} `,
      styled(child.label, "bold"),
      ` ${child.state}, up ${quiet}`,
    ]);
  }
  return lines;
}
