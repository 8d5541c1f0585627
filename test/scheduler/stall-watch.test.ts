import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { messageOf } from "../../src/errors.ts";
import type { ManagedProcess, ProcessSample } from "../../src/process/process-manager.ts";
import { judge, OpenTools, quietAfter, watchForStall, type Quiet } from "../../src/scheduler/stall-watch.ts";
import { ManualClock, openBench, type Bench } from "../process/support.ts";
import { until } from "../support/until.js";

const STALL_MS = 10_000;

let clock: ManualClock;
let bench: Bench;
let notes: string[];
let endWatch: () => void;
beforeEach(() => {
  clock = new ManualClock();
  bench = openBench({ clock });
  notes = [];
});
afterEach(async () => {
  endWatch();
  await bench.close();
});

function watch(script: string): ManagedProcess {
  const child = bench.manager.start(bench.spec(script));
  const parts = { clock, processes: bench.manager, log: () => {} };
  endWatch = watchForStall(parts, child, { stallMs: STALL_MS, onNote: (message) => notes.push(message) });
  return child;
}

describe("P4: an agent", () => {
  test("without a sign of life is told at half of the time, and ended as stalled when it is over", async () => {
    const child = watch("echo begins; sleep 1000");
    await until("it is ended", () => {
      clock.pass(500);
      return child.state !== "running";
    });
    expect(await child.exited).toMatchObject({ outcome: "stopped", stopReason: "stalled" });
    // Its start may count as work for the first look.
    const idle = notes.filter((note) => note.startsWith("show"));
    expect(idle[0]).toMatch(/^shows no sign of life for [5-9] seconds/);
    expect(idle[1]).toMatch(/^showed no sign of life for \d+ seconds and is ended/);
    expect(idle).toHaveLength(2);
  });

  test("that waits for its tool is given twice the time, and no more", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000"));
    const tools = new OpenTools();
    tools.take({ type: "tool-start", id: "1", name: "Read", summary: "" });
    tools.take({ type: "tool-start", id: "2", name: "Bash", summary: "sleep 1000" });
    tools.take({ type: "tool-end", id: "1", isError: false, summary: "" });
    const parts = { clock, processes: bench.manager, log: () => {} };
    const onNote = (message: string): number => notes.push(message);
    endWatch = watchForStall(parts, child, { stallMs: STALL_MS, onNote, openTool: () => tools.oldest() });
    let endedAtMs = 0;
    const startMs = clock.monotonicMs();
    await until("it is ended", () => {
      clock.pass(500);
      endedAtMs = clock.monotonicMs() - startMs;
      return child.state !== "running";
    });
    expect(await child.exited).toMatchObject({ stopReason: "stalled" });
    expect(endedAtMs).toBeGreaterThanOrEqual(2 * STALL_MS);
    expect(notes.at(-1)).toMatch(/is ended \(agents.stallMinutes\); it waits for its tool Bash$/);
    tools.take({ type: "tool-end", id: "2", isError: true, summary: "" });
    expect(tools.oldest()).toBeNull();
  });

  test("that is silent but computes is slow, and not ended", async () => {
    const child = watch("while :; do :; done");
    let usedMs = 0;
    await until("three times the limit has passed", async () => {
      const sample = await bench.manager.sample(child.id);
      if (sample === null) throw new Error("it has ended");
      // As fast as it gets the processor: on a busy machine it would be idle for the clock.
      clock.pass((sample.cpuMs - usedMs) * 10);
      usedMs = sample.cpuMs;
      return sample.runningMs >= 3 * STALL_MS;
    });
    expect(child.state).toBe("running");
    expect(notes).toEqual([expect.stringMatching(/^has said nothing for .* but its processes are at work$/)]);
  });

  test("that speaks now and then is at work", async () => {
    let lines = 0;
    const child = bench.manager.start(
      bench.spec("while read -r line; do echo $line; done", { keepStdinOpen: true, onStdout: () => (lines += 1) }),
    );
    const parts = { clock, processes: bench.manager, log: () => {} };
    endWatch = watchForStall(parts, child, { stallMs: STALL_MS, onNote: (message) => notes.push(message) });
    for (let round = 1; round <= 10; round += 1) {
      clock.pass(4_000);
      child.write("word\n");
      await until("it has spoken", () => lines >= round);
    }
    expect([child.state, notes]).toEqual(["running", []]);
  });

  test("is not taken for hung because the machine slept, or the clock was set", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000"));
    let looks = 0;
    const sample = async (id: string): Promise<ProcessSample | null> => {
      const taken = await bench.manager.sample(id);
      looks += 1;
      return taken;
    };
    const processes = { sample } as unknown as Bench["manager"];
    const onNote = (message: string): number => notes.push(message);
    endWatch = watchForStall({ clock, processes, log: () => {} }, child, { stallMs: 60_000, onNote });
    for (let night = 1; night <= 5; night += 1) {
      clock.jump(8 * 3_600_000);
      await until("it was looked at", () => looks >= night);
      await turn();
    }
    expect([child.state, notes]).toEqual(["running", []]);
  });
});

describe("P4: the evidence of looks", () => {
  const look = (runningMs: number, more: Partial<ProcessSample> = {}): ProcessSample => {
    return { atMs: 0, lastOutputAtMs: 0, silentMs: runningMs, runningMs, cpuMs: 0, childCount: 1, ...more };
  };
  const after = (...samples: ProcessSample[]): Quiet =>
    samples.reduce<Quiet>(quietAfter, { sample: look(0), sinceMs: 0 });

  test("adds up: a burst of work long ago is a sign of life until the time is over", () => {
    const burst = [look(1_000), look(2_000), look(6_000, { cpuMs: 500 })];
    expect(judge(after(...burst, look(11_000, { cpuMs: 500 })), STALL_MS)).toBe("quiet");
    expect(judge(after(...burst, look(16_000, { cpuMs: 500 })), STALL_MS)).toBe("hung");
  });

  test("children that come or go are signs of life", () => {
    expect(judge(after(look(9_000), look(18_000, { childCount: 2 })), STALL_MS)).toBe("slow");
  });

  test("the timers of an idle program are none", () => {
    expect(judge(after(look(5_000, { cpuMs: 50 }), look(10_000, { cpuMs: 100 })), STALL_MS)).toBe("hung");
  });

  test("output is, also when nothing else moves", () => {
    expect(judge(after(look(9_000), look(18_000, { silentMs: 1_000 })), STALL_MS)).toBe("working");
  });
});

test("a process table that can't be read ends nobody", async () => {
  const child = bench.manager.start(bench.spec("sleep 1000"));
  let looks = 0;
  const broken = {
    sample: () => {
      looks += 1;
      return Promise.reject(new Error("no table"));
    },
  } as unknown as Bench["manager"];
  endWatch = watchForStall({ clock, processes: broken, log: () => {} }, child, {
    stallMs: STALL_MS,
    onNote: (message) => notes.push(messageOf(message)),
  });
  await until("it looked often", () => {
    clock.pass(2_500);
    return looks > 10;
  });
  expect([child.state, notes]).toEqual(["running", []]);
});
