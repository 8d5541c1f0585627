import { z } from "zod";
import type { App } from "../app.ts";
import { candidatesOf } from "../plan/provider-choice.ts";
import { taskKey } from "../plan/records.ts";
import type { Operation } from "./operation.ts";

const input = z.strictObject({});

const output = z.object({
  summary: z.string(),
  engineId: z.string(),
  pid: z.number(),
  version: z.string(),
  /** The version of a client that waits for this engine to end its agents and make room; null: none does. */
  restartPending: z.string().nullable(),
  repository: z.string(),
  stateFolder: z.string(),
  startedAt: z.string(),
  /** No plan was ever made here: the engine leaves with its last client, and nothing of it stays. */
  isUnused: z.boolean(),
  limitAgents: z.number(),
  providers: z.array(
    z.object({
      name: z.string(),
      state: z.string(),
      until: z.string().nullable(),
      reason: z.string().nullable(),
      /** What has a provider that is not healthy asked at once; null where no task wants it. */
      command: z.string().nullable(),
    }),
  ),
  processes: z.array(
    z.object({
      id: z.string(),
      label: z.string(),
      pid: z.number().nullable(),
      state: z.string(),
      startedAt: z.string(),
      lastOutputAt: z.string(),
    }),
  ),
  /** Names of variables that clients brought for providers; never values. */
  variables: z.array(z.string()),
});

/** A person's retry of any task that wants the provider has it asked at once. */
function retryOf(app: App, provider: string): string | null {
  for (const plan of app.parts.board.plans()) {
    for (const { record } of plan.nodes.values()) {
      const waits = record.state === "ready" || PROVIDER_WAITS.has(record.wait?.code ?? "");
      if (waits && candidatesOf(record).includes(provider)) return `orchestrator retry ${taskKey(record)}`;
    }
  }
  return null;
}

const PROVIDER_WAITS: ReadonlySet<string> = new Set(["usage-limit", "circuit-open", "auth"]);

export const engineInfo: Operation<z.infer<typeof input>, z.infer<typeof output>> = {
  name: "engine_info",
  title: "The engine and its processes",
  description: "The engine of this repository: version, limits, providers' health, living processes.",
  audience: "operator",
  isTool: false,
  isReading: true,
  input,
  output,
  run: async (app) => {
    const { board, clock, processes, engineId } = app.parts;
    const nowMs = clock.nowMs();
    const living = processes.list();
    return await Promise.resolve({
      summary: `${living.length} processes run; limits.agents is ${board.settings.limitAgents}.`,
      engineId,
      pid: process.pid,
      version: app.version,
      restartPending: app.restartPending,
      repository: app.parts.repository.mainWorktree,
      stateFolder: app.stateFolder,
      startedAt: new Date(app.startedAtMs).toISOString(),
      isUnused: app.isUnused(),
      limitAgents: board.settings.limitAgents,
      providers: [...board.providers()].map((health) => {
        const gate = board.gate(health.name, nowMs);
        return {
          name: health.name,
          state:
            gate.state === "open-to-all" ? "healthy" : `${gate.code}${gate.state === "one-probe" ? " (probing)" : ""}`,
          until: gate.state === "shut" ? new Date(gate.untilMs).toISOString() : null,
          reason: health.reason,
          command: gate.state === "open-to-all" ? null : retryOf(app, health.name),
        };
      }),
      processes: living.map((child) => ({
        id: child.id,
        label: child.label,
        pid: child.pid,
        state: child.state,
        startedAt: new Date(child.startedAtMs).toISOString(),
        lastOutputAt: new Date(child.lastOutputAtMs).toISOString(),
      })),
      variables: app.variableNames(),
    });
  },
  text: (result) =>
    [
      result.summary,
      ...result.providers
        .filter(({ state }) => state !== "healthy")
        .map(
          ({ name, state, until, reason, command }) =>
            `provider ${name}: ${state}${until === null ? "" : ` until ${until}`}${reason === null ? "" : `: ${reason}`}${command === null ? "" : ` [${command}]`}`,
        ),
      ...result.processes.map((child) => `${child.pid ?? "-"} ${child.label} ${child.state}`),
    ].join("\n"),
};
