import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import type { Mail } from "../../src/scheduler/mail.ts";
import { OpenTurn } from "../../src/scheduler/open-turn.ts";

/** An agent's stdin, and the timers that wait for it. */
function scene(carried: readonly Mail[] = []) {
  const written: string[] = [];
  const heard: string[] = [];
  const timers = new Set<() => void>();
  let isOpen = true;
  let count = 0;
  const turn = new OpenTurn({
    clock: {
      ...systemClock,
      schedule: (_afterMs, callback) => {
        timers.add(callback);
        return () => void timers.delete(callback);
      },
    },
    child: {
      write: (text) => {
        if (isOpen) written.push(text);
        return isOpen;
      },
      endStdin: () => void (isOpen = false),
    },
    lineFor: (id, text) => `${id}:${text}`,
    newId: () => `id-${(count += 1)}`,
    carried,
    onHeard: (text) => void heard.push(text),
  });
  const fire = (): void => {
    for (const callback of timers) callback();
  };
  return { turn, written, heard, timers, fire, isOpen: () => isOpen };
}

function message(id: number, text: string): Mail {
  return { kind: "message", id, from: "the operator", text, atMs: id };
}

test("each message is said once, and not what the prompt had", () => {
  const { turn, written } = scene([message(1, "in the prompt")]);
  turn.tell([message(1, "in the prompt"), message(2, "new")]);
  turn.tell([message(1, "in the prompt"), message(2, "new"), message(3, "newer")]);
  expect(written.map((line) => line.split(":")[0])).toEqual(["id-1", "id-2"]);
  expect(written.join("")).not.toContain("in the prompt");
});

test("stdin ends with the turn; what is said afterwards is left for the next one", () => {
  const { turn, written, heard, isOpen } = scene();
  turn.take({ type: "turn-over" });
  expect(isOpen()).toBe(false);
  turn.tell([message(1, "too late")]);
  expect(written).toEqual([]);
  expect([heard, turn.heard]).toEqual([[], []]);
});

test("what was said and not taken up keeps stdin open over the answer, for the turn that it begins", () => {
  const { turn, heard, timers, isOpen } = scene();
  turn.tell([message(1, "one more thing")]);
  turn.take({ type: "turn-over" });
  expect(isOpen()).toBe(true);
  turn.take({ type: "heard", id: "somebody else's" });
  turn.take({ type: "heard", id: "id-1" });
  expect(timers.size).toBe(0);
  expect(heard).toEqual([expect.stringContaining("one more thing")]);
  turn.take({ type: "turn-over" });
  expect(isOpen()).toBe(false);
  expect(turn.heard).toEqual([message(1, "one more thing")]);
});

test("a CLI that passes over what it was told is not waited for without end", () => {
  const { turn, fire, isOpen } = scene();
  turn.tell([message(1, "ignored")]);
  turn.take({ type: "turn-over" });
  fire();
  expect(isOpen()).toBe(false);
  expect(turn.heard).toEqual([]);
});

test("an answer is no news in the middle of a turn", () => {
  const { turn, written } = scene();
  turn.tell([{ kind: "answer", id: "q1", from: "a person", question: "Which?", answer: "That.", atMs: 1 }]);
  expect(written).toEqual([]);
});
