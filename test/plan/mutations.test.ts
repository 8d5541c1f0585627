/**
 * A simulation that catches nothing proves nothing. Here one promise of the board is broken on purpose at a time, in a
 * copy of the sources, and the simulation must say which.
 */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type * as Simulate from "./simulate.ts";

/** Every mutant must be caught within so many lives: chance needs some. */
const MOST_SEEDS = 1_500;

interface Mutant {
  /** What is no longer so. */
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The promises that may be told as broken first; what is broken often shows in more than one way. */
  readonly promises: readonly string[];
}

const MUTANTS: readonly Mutant[] = [
  {
    name: "order: a task starts with a dependency still open",
    file: "edges.ts",
    from: `return node.openCount > 0 ? "pending" : "ready";`,
    to: `return node.openCount > 1 ? "pending" : "ready";`,
    promises: ["order"],
  },
  {
    name: "order: the failure of a hard dependency is not told",
    file: "node.ts",
    from: `return (task.state === "failed" || task.state === "cancelled") && task.spec.onFailure === "hard";`,
    to: `return false;`,
    promises: ["edges"],
  },
  {
    name: "bounds: one agent more than the engine's limit",
    file: "board.ts",
    from: `while (this.#places.running < this.settings.limitAgents)`,
    to: `while (this.#places.running <= this.settings.limitAgents)`,
    promises: ["bounds"],
  },
  {
    name: "bounds: one agent more than the plan's limit",
    file: "admission.ts",
    from: `plan.running >= maxConcurrent`,
    to: `plan.running > maxConcurrent`,
    promises: ["bounds"],
  },
  {
    name: "bounds: one agent more than the provider's limit",
    file: "admission.ts",
    from: `providers.runningOf(provider) >= limit`,
    to: `providers.runningOf(provider) > limit`,
    promises: ["bounds"],
  },
  {
    name: "claims: holders are not asked",
    file: "claim-table.ts",
    from: `if (other.linePlace === null) holder = other;`,
    to: `if (other.linePlace === null) continue;`,
    promises: ["claims"],
  },
  {
    name: "claims: a later one overtakes",
    file: "claim-table.ts",
    from: `return latest ?? holder;`,
    to: `return holder;`,
    promises: ["claims"],
  },
  {
    name: "claims: lost over a restart",
    file: "board.ts",
    from: `this.claims.restore(node);`,
    to: ``,
    promises: ["restored", "claims"],
  },
  {
    name: "once: a task that was merged goes into the line again",
    file: "outcomes.ts",
    from: `if (end.type === "merged" || end.type === "nothing") {`,
    to: `if (end.type === "merged") {\n    board.move(node, "waiting", { wait: pausedWait(node) });\n    return board.move(node, "merging");\n  }\n  if (end.type === "nothing") {`,
    promises: ["once"],
  },
  {
    name: "once: two merges into one target at a time",
    file: "merge-lines.ts",
    from: `if (this.#active.has(target)) return null;`,
    to: ``,
    promises: ["once"],
  },
  {
    name: "deadlock: who waited for a claim is not woken",
    file: "places.ts",
    from: `if (waiter.record.state === "waiting" && waiter.record.wait?.code === "lock") this.move(waiter, "ready");`,
    to: ``,
    promises: ["wakes", "no deadlock"],
  },
  {
    name: "deadlock: a timer is dropped",
    file: "board.ts",
    from: `node = timers.takeDue(nowMs)) this.goOn(node);`,
    to: `node = timers.takeDue(nowMs)) void node;`,
    promises: ["timers"],
  },
  {
    name: "questions: who asked goes on without its answer",
    file: "outcomes.ts",
    from: `if (end.type === "asked") return`,
    to: `if (end.type === "asked" && end.wait === null) return`,
    promises: ["consequence"],
  },
  {
    name: "deadlock: dependents are not told of a success",
    file: "edges.ts",
    from: `dependent.openCount -= news.satisfied;`,
    to: `dependent.openCount -= Math.min(0, news.satisfied);`,
    promises: ["edges"],
  },
  {
    name: "ledgers: a continuation spends a retry",
    file: "consequence.ts",
    from: `ledger: { ...ledger, continuations: ledger.continuations + 1 } };`,
    to: `ledger: { ...ledger, continuations: ledger.continuations + 1, retries: ledger.retries + 1 } };`,
    promises: ["ledgers"],
  },
  {
    name: "ledgers: waiting for a usage limit spends a retry",
    file: "consequence.ts",
    from: `return { type: "park", ledger: { ...ledger, waits: ledger.waits + 1 } };`,
    to: `return backOff(end, ledger, retriesOfTask ?? settings.retries, settings, nowMs, random);`,
    promises: ["consequence"],
  },
  {
    name: "gate: more than one task probes a provider",
    file: "provider-choice.ts",
    from: `return gate.state === "open-to-all" || providers.probeOf(name) === null;`,
    to: `return true;`,
    promises: ["gate"],
  },
  {
    name: "gate: a shut provider lets tasks through",
    file: "provider-choice.ts",
    from: `if (gate.state === "shut") return false;`,
    to: ``,
    promises: ["gate"],
  },
  {
    name: "queue: the order of a heap changes under it",
    file: "ready-queue.ts",
    from: `return left.pathLength > right.pathLength;`,
    to: `return left.node.pathLength < right.node.pathLength;`,
    promises: ["queue"],
  },
  {
    name: "queue: what has begun waits behind what is new",
    file: "ready-queue.ts",
    from: `goesOn: ledger.attempts > 0,`,
    to: `goesOn: ledger.attempts === 0,`,
    promises: ["queue"],
  },
  {
    name: "events: a step is not told",
    file: "places.ts",
    from: `this.journal.step(record, from);`,
    to: `if (to === "blocked") this.journal.touch(record);\n    else this.journal.step(record, from);`,
    promises: ["events"],
  },
  {
    name: "store: a changed record is not written",
    file: "controls.ts",
    from: `node.record.wish = null;\n    return board.touch(node.record);`,
    to: `node.record.wish = null;\n    return;`,
    promises: ["touched"],
  },
  {
    name: "wishes: a resume before the end of the agent is lost",
    file: "outcomes.ts",
    from: `if (end.type === "failed" && wish === null)`,
    to: `if (end.type === "stopped" && wish === null) return board.carryOutWish(node, "pause");\n  if (end.type === "failed" && wish === null)`,
    promises: ["wishes"],
  },
  {
    name: "why: a paused task names no command",
    file: "waits.ts",
    from: `return { code: "paused", message: "paused by the operator", command, untilMs: null };`,
    to: `void command;\n  return { code: "paused", message: "paused by the operator", command: null, untilMs: null };`,
    promises: ["why", "no deadlock"],
  },
  {
    name: "standing: a plan that waits for a person is told as running",
    file: "explain.ts",
    from: `counts.ready + counts.merging + plan.movingWaits - plan.lockWaits > 0`,
    to: `counts.ready + counts.merging + plan.movingWaits > 0`,
    promises: ["standing"],
  },
  {
    name: "stop: an attempt that has ended is told to stop",
    file: "board.ts",
    from: `task.state === "running" && task.wish === wish`,
    to: `task.wish !== undefined || wish`,
    promises: ["stop"],
  },
  {
    name: "wishes: a pause undoes a cancel",
    file: "controls.ts",
    from: `if (isLeaving(node)) throw refused(node, "pause");`,
    to: ``,
    promises: ["wishes"],
  },
  {
    name: "wishes: one for a merge dies with the engine",
    file: "board.ts",
    from: `this.#carryOutOldWishes();\n    // An`,
    to: `// An`,
    promises: ["wishes"],
  },
  {
    name: "wakes: who is paused in line keeps its place",
    file: "places.ts",
    from: `return state === "waiting" && !holdsClaims`,
    to: `return state === "waiting" && holdsClaims && !holdsClaims`,
    promises: ["wakes", "claims"],
  },
  {
    name: "edits: a dropped task is woken",
    file: "board.ts",
    from: `this.#places.wake(woken.filter((node) => node.plan.nodes.get(node.record.id) === node));`,
    to: `this.#places.wake(woken);`,
    promises: ["events", "counts", "no bug"],
  },
  {
    name: "edits: what is put behind a task does not make its path longer",
    file: "edges.ts",
    from: `if (length <= dependency.pathLength) continue;`,
    to: `if (length > 0) continue;`,
    promises: ["queue", "restored"],
  },
  {
    name: "steps: a reject counts as an approval",
    file: "outcomes.ts",
    from: `if (verdict?.type === "reject") {`,
    to: `if (verdict?.type === "reject" && node.record.step > 9) {`,
    promises: ["consequence", "steps"],
  },
  {
    name: "steps: a repair goes to whoever was last",
    file: "outcomes.ts",
    from: `the agent repairs it";\n        return board.move(node, "ready", { step: 0, cause`,
    to: `the agent repairs it";\n        return board.move(node, "ready", { cause`,
    promises: ["steps"],
  },
  {
    name: "steps: one round more than allowed",
    file: "outcomes.ts",
    from: `const isRoundLeft = rounds < record`,
    to: `const isRoundLeft = rounds <= record`,
    promises: ["consequence", "ledgers"],
  },
  {
    name: "steps: the next step runs on the provider of the first",
    file: "workflow.ts",
    from: `record.provider = record.workflow.steps[step]?.provider ?? record.provider;`,
    to: ``,
    promises: ["steps"],
  },
];

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "orchestrator-mutants-"));
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test("unbroken, the copy keeps every promise", async () => {
  expect(firstBroken(await load("unbroken", null))).toBeNull();
});

describe("the simulation catches", () => {
  test.each(MUTANTS.map((mutant, index) => ({ ...mutant, place: `mutant-${index}` })))("$name", async (mutant) => {
    const broken = firstBroken(await load(mutant.place, mutant));
    expect(mutant.promises).toContain(broken ?? "nothing");
  });
});

/** The promise that is broken first; null when all are kept. */
function firstBroken({ simulate, isBroken }: typeof Simulate): string | null {
  for (let seed = 1; seed <= MOST_SEEDS; seed += 1) {
    const result = simulate(seed);
    if (isBroken(result)) return result.promise;
  }
  return null;
}

/** Copies what the simulation needs, breaks it, and loads the copy. */
async function load(place: string, mutant: Mutant | null): Promise<typeof Simulate> {
  const copy = join(folder, place);
  const files = ["errors.ts", "nearest-name.ts", "invalid-input.ts", "plan"];
  await Promise.all([
    ...files.map((file) => cp(join(root, "src", file), join(copy, "src", file), { recursive: true })),
    cp(join(root, "test/plan"), join(copy, "test/plan"), {
      recursive: true,
      filter: (file) => !file.endsWith(".test.ts"),
    }),
  ]);
  if (mutant !== null) {
    const path = join(copy, "src/plan", mutant.file);
    const text = await readFile(path, "utf8");
    // A mutant whose place is gone would pass for one that is caught, or the other way round.
    expect(text.split(mutant.from).length - 1).toBe(1);
    await writeFile(
      path,
      text.replace(mutant.from, () => mutant.to),
    );
  }
  return (await import(pathToFileURL(join(copy, "test/plan/simulate.ts")).href)) as typeof Simulate;
}
