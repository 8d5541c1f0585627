import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { healthOf, type ProcessSample } from "../../src/process/process-manager.ts";
import { ManualClock, openBench, type Bench } from "./support.ts";
import { until } from "../support/until.js";

let clock: ManualClock;
let bench: Bench;
beforeEach(() => {
  clock = new ManualClock();
  bench = openBench({ clock });
});
afterEach(() => bench.close());

describe("the deadline", () => {
  it("stops a process as timed-out once it has run that long, and not before", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000", { deadlineMs: 60_000 }));
    clock.pass(59_900);
    expect(child.state).toBe("running");
    clock.pass(100);
    expect(await child.exited).toMatchObject({ outcome: "stopped", stopReason: "timed-out", signal: "SIGTERM" });
  });

  it("does not count the machine's sleep", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000", { deadlineMs: 60_000 }));
    clock.pass(30_000);
    clock.jump(8 * 3_600_000);
    clock.pass(20_000);
    expect(child.state).toBe("running");
    clock.pass(15_000);
    expect((await child.exited).stopReason).toBe("timed-out");
  });

  it("is no reason any more when the process was stopped for another before it", async () => {
    let isReady = false;
    const child = bench.manager.start(
      bench.spec("trap '' TERM; echo ready; while :; do sleep 0.05; done", {
        deadlineMs: 10_000,
        killGraceMs: 30_000,
        onStdout: () => (isReady = true),
      }),
    );
    await until("it ignores TERM", () => isReady);
    const ended = child.stop("stalled");
    await until("it was asked", () => bench.entries.some(({ event }) => event === "signal"));
    await turn();
    clock.pass(20_000);
    expect(child.state).toBe("stopping");
    clock.pass(15_000);
    expect(await ended).toMatchObject({ stopReason: "stalled", signal: "SIGKILL" });
  });
});

describe("P4: evidence of health", () => {
  it("tells silence without the machine's sleep, processor time and children of a living tree", async () => {
    const child = bench.manager.start(bench.spec("echo ready; i=0; sleep 1000 & while :; do i=$((i+1)); done"));
    const busy = await until("its tree used the processor", async () => {
      const sample = await bench.manager.sample(child.id);
      return sample !== null && sample.cpuMs >= 100 && sample.childCount === 1 ? sample : null;
    });
    clock.pass(3000);
    clock.jump(3_600_000);
    const later = await bench.manager.sample(child.id);
    expect(later?.cpuMs).toBeGreaterThanOrEqual(busy.cpuMs);
    expect(later?.silentMs).toBe(8000);
    expect(later?.runningMs).toBe(8000);
    expect(later?.lastOutputAtMs).toBe(busy.lastOutputAtMs);
    await child.stop("stalled");
    expect(await bench.manager.sample(child.id)).toBeNull();
  });

  it("judges: who wrote lately works, who is silent but busy is slow, who is silent and idle hangs", () => {
    const before: ProcessSample = { atMs: 0, lastOutputAtMs: 0, silentMs: 0, runningMs: 0, cpuMs: 1000, childCount: 1 };
    const silent = { ...before, atMs: 60_000, silentMs: 60_000, runningMs: 60_000 };
    const health = (now: ProcessSample) => healthOf(before, now, { quietMs: 30_000 });
    expect(health({ ...silent, silentMs: 10_000 })).toBe("working");
    expect(health({ ...silent, cpuMs: 5000 })).toBe("slow");
    expect(health({ ...silent, childCount: 2 })).toBe("slow");
    expect(health(silent)).toBe("hung");
    // What an idle Node program's timers take.
    expect(health({ ...silent, cpuMs: 1200 })).toBe("hung");
  });
});
