import { beforeEach, describe, expect, test } from "vitest";
import { ClockWatch } from "../../src/scheduler/clock-watch.ts";
import { ManualClock } from "../process/support.ts";

const HOUR_MS = 3_600_000;

/** A clock whose hands can be set while time goes on. */
class SettableClock extends ManualClock {
  offsetMs = 0;

  override nowMs(): number {
    return super.nowMs() + this.offsetMs;
  }
}

let clock: SettableClock;
let jumps: number[];
let watch: ClockWatch;
beforeEach(() => {
  clock = new SettableClock();
  jumps = [];
  watch = new ClockWatch(clock, (byMs) => jumps.push(byMs));
  watch.start();
});

describe("6: a jump of the wall clock is told once, with its size", () => {
  test("set ahead and set back", () => {
    clock.pass(10_000);
    clock.offsetMs = 8 * HOUR_MS;
    clock.pass(10_000);
    clock.offsetMs = 0;
    clock.pass(10_000);
    expect(jumps).toEqual([8 * HOUR_MS, -8 * HOUR_MS]);
  });

  test("the machine slept: also where the monotonic clock ran on", () => {
    clock.pass(10_000);
    clock.jump(8 * HOUR_MS);
    clock.pass(10_000);
    expect(jumps).toHaveLength(1);
    expect(jumps[0]).toBeGreaterThan(8 * HOUR_MS - 10_000);
    expect(jumps[0]).toBeLessThanOrEqual(8 * HOUR_MS);
  });

  test("who asks before the next tick hears of it at once, and not again", () => {
    clock.offsetMs = -HOUR_MS;
    watch.look();
    expect(jumps).toEqual([-HOUR_MS]);
    clock.pass(5_000);
    expect(jumps).toHaveLength(1);
  });

  test("a busy machine, and a clock that is adjusted bit by bit, are none", () => {
    for (let second = 0; second < 100; second += 1) {
      clock.offsetMs += 50;
      clock.jump(4_000);
    }
    expect(jumps).toEqual([]);
  });

  test("nothing is told after the end", () => {
    watch.stop();
    clock.offsetMs = HOUR_MS;
    clock.pass(10_000);
    expect(jumps).toEqual([]);
  });
});
