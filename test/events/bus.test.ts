import fc from "fast-check";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createEventBus, type EventBus, type EventBusOptions, type LiveOutput } from "../../src/events/bus.ts";
import type { StoredEvent } from "../../src/events/event.ts";

interface Said {
  readonly type: "text";
  readonly text: string;
}

function eventOf(seq: number): StoredEvent {
  return { seq, atMs: 0, planId: null, taskId: null, attemptId: null, body: { type: "warning", message: `${seq}` } };
}

function outputOf(text: string, of: Partial<LiveOutput<Said>> = {}): LiveOutput<Said> {
  return { attemptId: "x", planId: "p", taskId: "a", event: { type: "text", text }, ...of };
}

function busWith(options: Partial<EventBusOptions> = {}): { bus: EventBus<Said>; reported: unknown[] } {
  const reported: unknown[] = [];
  return { bus: createEventBus<Said>({ onListenerError: (thrown) => reported.push(thrown), ...options }), reported };
}

/** A promise that is settled by hand. */
function gate(): { readonly opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

test("committed events reach every listener, each once and in order", async () => {
  const { bus } = busWith();
  const heard: number[][] = [[], []];
  bus.onEvent(({ seq }) => heard[0]?.push(seq));
  bus.onEvent(({ seq }) => heard[1]?.push(seq));
  bus.publish([eventOf(1), eventOf(2)]);
  bus.publish([eventOf(3)]);
  await nextTurn();
  bus.publish([eventOf(4)]);
  await nextTurn();
  expect(heard).toEqual([
    [1, 2, 3, 4],
    [1, 2, 3, 4],
  ]);
});

test("a listener never runs within the publisher's code, and runs before timers", async () => {
  const { bus } = busWith();
  const order: string[] = [];
  bus.onEvent(() => order.push("heard"));
  const timer = new Promise<void>((resolve) => setTimeout(() => resolve(void order.push("timer")), 0));
  bus.publish([eventOf(1)]);
  order.push("published");
  await timer;
  expect(order).toEqual(["published", "heard", "timer"]);
});

test("a listener gets what is published after it subscribed, also when it subscribes before delivery", async () => {
  const { bus } = busWith();
  const early: number[] = [];
  const late: number[] = [];
  bus.onEvent(({ seq }) => early.push(seq));
  bus.publish([eventOf(1)]);
  bus.onEvent(({ seq }) => late.push(seq));
  bus.publish([eventOf(2)]);
  await nextTurn();
  expect([early, late]).toEqual([[1, 2], [2]]);
});

test("what nobody was there for is not kept for those who come later", async () => {
  const { bus } = busWith();
  const heard: number[] = [];
  bus.publish([eventOf(1)]);
  bus.onEvent(({ seq }) => heard.push(seq));
  await nextTurn();
  bus.publish([eventOf(2)]);
  await nextTurn();
  expect(heard).toEqual([2]);
});

test("a listener that throws is reported; the others and its own later events do not suffer", async () => {
  const { bus, reported } = busWith();
  const heard: string[] = [];
  bus.onEvent(({ seq }) => {
    heard.push(`first ${seq}`);
    if (seq === 1) throw new Error("listener");
  });
  bus.onEvent(({ seq }) => heard.push(`second ${seq}`));
  bus.publish([eventOf(1), eventOf(2)]);
  await nextTurn();
  expect(heard).toEqual(["first 1", "second 1", "first 2", "second 2"]);
  expect(reported.map(String)).toEqual(["Error: listener"]);
});

test("a listener that left hears nothing more, even of what was published before", async () => {
  const { bus } = busWith();
  const heard: number[] = [];
  const leave = bus.onEvent(({ seq }) => {
    heard.push(seq);
    leave();
  });
  const leaveAtOnce = bus.onEvent(({ seq }) => heard.push(seq * 100));
  bus.publish([eventOf(1), eventOf(2)]);
  leaveAtOnce();
  await nextTurn();
  expect(heard).toEqual([1]);
});

test("events that a listener publishes come after those under way, for all", async () => {
  const { bus } = busWith();
  const heard: string[] = [];
  bus.onEvent(({ seq }) => {
    heard.push(`first ${seq}`);
    if (seq === 1) bus.publish([eventOf(3)]);
  });
  bus.onEvent(({ seq }) => heard.push(`second ${seq}`));
  bus.publish([eventOf(1), eventOf(2)]);
  await nextTurn();
  expect(heard).toEqual(["first 1", "second 1", "first 2", "second 2", "first 3", "second 3"]);
});

test("whatever the order of publishing, subscribing and leaving: no gap, no repeat, no event from before", async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("publish" as const), count: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ kind: fc.constant("subscribe" as const) }),
    fc.record({ kind: fc.constant("leave" as const), which: fc.nat(5) }),
    fc.record({ kind: fc.constant("wait" as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { bus } = busWith();
      const listeners: { from: number; heard: number[]; hasLeft: boolean; leave: () => void }[] = [];
      let last = 0;
      for (const one of steps) {
        if (one.kind === "publish") bus.publish(Array.from({ length: one.count }, () => eventOf((last += 1))));
        else if (one.kind === "subscribe") {
          const heard: number[] = [];
          const leave = bus.onEvent(({ seq }) => heard.push(seq));
          listeners.push({ from: last + 1, heard, hasLeft: false, leave });
        } else if (one.kind === "leave") {
          const listener = listeners[one.which];
          listener?.leave();
          if (listener !== undefined) listener.hasLeft = true;
        } else await nextTurn();
      }
      await nextTurn();
      for (const { from, heard, hasLeft } of listeners) {
        const all = Array.from({ length: last - from + 1 }, (_, index) => from + index);
        expect(heard).toEqual(hasLeft ? all.slice(0, heard.length) : all);
      }
    }),
  );
});

test("live output comes in order, in batches, only what fits the filter", async () => {
  const { bus } = busWith();
  const all: string[][] = [];
  const ofTask: string[] = [];
  const ofAttempt: string[] = [];
  bus.onOutput((batch) => void all.push(batch.map(({ event }) => event.text)));
  bus.onOutput((batch) => void ofTask.push(...batch.map(({ event }) => event.text)), { planId: "p", taskId: "b" });
  bus.onOutput((batch) => void ofAttempt.push(...batch.map(({ event }) => event.text)), { attemptId: "y" });
  bus.publishOutput(outputOf("1"));
  bus.publishOutput(outputOf("2", { taskId: "b" }));
  bus.publishOutput(outputOf("3", { taskId: "b", attemptId: "y" }));
  bus.publishOutput(outputOf("4", { planId: "q", taskId: "b" }));
  expect(all).toEqual([]);
  await vi.waitFor(() => expect(all).toEqual([["1", "2", "3", "4"]]));
  expect([ofTask, ofAttempt]).toEqual([["2", "3"], ["3"]]);
});

test("T6: a flood reaches a slow listener cut, newest last, with the number lost, and holds nobody up", async () => {
  const { bus } = busWith({ maxQueuedOutputs: 100 });
  const slow: { texts: string[]; dropped: number }[] = [];
  const quick: string[] = [];
  const firstBatch = gate();
  bus.onOutput((batch, dropped) => {
    slow.push({ texts: batch.map(({ event }) => event.text), dropped });
    return slow.length === 1 ? firstBatch.opened : undefined;
  });
  bus.onOutput((batch) => void quick.push(...batch.map(({ event }) => event.text)));
  bus.publishOutput(outputOf("first"));
  await vi.waitFor(() => expect(slow).toHaveLength(1));
  for (let index = 0; index < 10_000; index += 1) {
    bus.publishOutput(outputOf(`${index}`));
    // A quick listener that gets its turns loses nothing of the same flood.
    if (index % 50 === 0) await nextTurn();
  }
  await vi.waitFor(() => expect(quick).toHaveLength(10_001));
  expect(slow).toEqual([{ texts: ["first"], dropped: 0 }]);
  firstBatch.open();
  await vi.waitFor(() => expect(slow).toHaveLength(2));
  expect(slow[1]?.dropped).toBe(9_900);
  expect(slow[1]?.texts).toEqual(Array.from({ length: 100 }, (_, index) => `${9_900 + index}`));
  bus.publishOutput(outputOf("later"));
  await vi.waitFor(() => expect(slow).toHaveLength(3));
  expect(slow[2]).toEqual({ texts: ["later"], dropped: 0 });
});

test("T6: a queue is bounded by the size of its texts too, and keeps at least the newest", async () => {
  const { bus } = busWith({ maxQueuedCharacters: 1000 });
  const heard: { lengths: number[]; dropped: number }[] = [];
  bus.onOutput((batch, dropped) => {
    heard.push({ lengths: batch.map(({ event }) => event.text.length), dropped });
  });
  for (const length of [400, 401, 402, 100]) bus.publishOutput(outputOf("x".repeat(length)));
  await vi.waitFor(() => expect(heard).toHaveLength(1));
  bus.publishOutput(outputOf("x".repeat(50)));
  bus.publishOutput(outputOf("x".repeat(5000)));
  await vi.waitFor(() => expect(heard).toHaveLength(2));
  for (const length of [500, 400]) bus.publishOutput(outputOf("x".repeat(length)));
  await vi.waitFor(() => expect(heard).toHaveLength(3));
  expect(heard).toEqual([
    { lengths: [401, 402, 100], dropped: 1 },
    { lengths: [5000], dropped: 1 },
    { lengths: [500, 400], dropped: 0 },
  ]);
});

test("a listener of live output that throws or rejects is reported and gets the next batch", async () => {
  const { bus, reported } = busWith();
  const heard: string[] = [];
  bus.onOutput((batch) => {
    heard.push(...batch.map(({ event }) => event.text));
    if (heard.length === 1) throw new Error("thrown");
    return heard.length === 2 ? Promise.reject(new Error("rejected")) : undefined;
  });
  for (const text of ["1", "2", "3"]) {
    bus.publishOutput(outputOf(text));
    await vi.waitFor(() => expect(heard).toContain(text));
  }
  expect(reported.map(String)).toEqual(["Error: thrown", "Error: rejected"]);
});

test("a listener of live output that left hears nothing more, even of what is queued", async () => {
  const { bus } = busWith();
  const heard: unknown[] = [];
  const others: string[] = [];
  const leave = bus.onOutput((batch) => void heard.push(batch));
  bus.onOutput((batch) => void others.push(...batch.map(({ event }) => event.text)));
  bus.publishOutput(outputOf("queued"));
  leave();
  bus.publishOutput(outputOf("later"));
  await vi.waitFor(() => expect(others).toEqual(["queued", "later"]));
  expect(heard).toEqual([]);
});
