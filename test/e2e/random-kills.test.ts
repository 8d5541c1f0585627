/**
 * Engine, guard, both at once and agents are killed at random moments; whatever was killed when, all is done once and
 * nothing is left. A life is repeatable from its seed but for the machine's own pace. More of them:
 * `ORCHESTRATOR_KILL_SEEDS=100-140 npx vitest run --config test/vitest.config.ts --project e2e test/e2e/random-kills.test.ts`
 * (some ten seconds each).
 */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../plan/seeded-random.ts";
import { CrashScene, IDS } from "./crash-scene.ts";
import { attemptsBelow } from "./engine-support.ts";
import { isAlive, kill } from "../support/processes.js";
import { until } from "../support/until.js";

const ROUNDS = 4;

function seeds(): number[] {
  const [first = 1, last = first + 2] = (process.env["ORCHESTRATOR_KILL_SEEDS"] ?? "1-3").split("-").map(Number);
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

const VICTIMS = ["engine", "guard", "both", "agent"] as const;

/** Stopped first: none can act on another's death. */
async function killAtOnce(pids: readonly number[]): Promise<void> {
  for (const pid of pids) kill(pid, "SIGSTOP");
  for (const pid of pids) kill(pid, "SIGKILL");
  await until("they are dead", () => !pids.some(isAlive));
}

async function killOne(scene: CrashScene, victim: (typeof VICTIMS)[number], chance: number): Promise<void> {
  const { repo } = scene;
  const engine = repo.enginePid();
  const guards = repo.guardPids();
  const agents = attemptsBelow(engine);
  const agent = agents[Math.floor(chance * agents.length)];
  if (victim === "guard") return await killAtOnce(guards);
  if (victim === "agent") return await killAtOnce(agent === undefined ? [] : [agent]);
  const doneBefore = new Map(
    Object.entries(await repo.states("chain"))
      .filter(([, state]) => state === "succeeded")
      .map(([id]) => [id, scene.count("starts", id)]),
  );
  repo.closeClients();
  await killAtOnce(victim === "both" ? [engine, ...guards] : [engine]);
  await repo.client();
  for (const pid of agents) expect(isAlive(pid), `agent ${pid} of the dead engine`).toBe(false);
  for (const [id, starts] of doneBefore) expect(scene.count("starts", id), `runs of ${id}`).toBe(starts);
}

describe("S3 B7: killed at random moments, all is done once and nothing is left", () => {
  test.concurrent.each(seeds())("seed %i", async (seed) => {
    const source = new SeededRandom(seed);
    const random = (): number => source.next();
    const scene = new CrashScene({ retry: { baseMs: 20, maxMs: 100, retries: 20 } });
    try {
      await scene.submit();
      scene.talk("sleep 0.3; echo third > third.txt");
      for (let round = 0; round < ROUNDS; round += 1) {
        await delay(random() * 700);
        await killOne(scene, VICTIMS[Math.floor(random() * VICTIMS.length)] ?? "engine", random());
      }
      await scene.expectDoneOnce(IDS, ["engine-crash", "crashed"]);
    } finally {
      await scene.leave();
    }
  });
});
