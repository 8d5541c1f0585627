/** Counts along edges: they are what a look at the edges says, also after an edit that turns states over and back. */
import { expect, test } from "vitest";
import { controlTask } from "../../src/plan/controls.ts";
import { isFailing, isSatisfied } from "../../src/plan/node.ts";
import { addPlan, Board, failWith, NOW_MS, settingsOf, start } from "./boards.ts";

/** Gives tasks of the plan "p" other dependencies. */
function change(board: Board, edges: Readonly<Record<string, readonly string[]>>): void {
  board.rewire("p", {
    dropped: new Set(),
    changed: (task) => {
      const dependsOn = edges[task.id];
      if (dependsOn === undefined) return false;
      task.spec = { ...task.spec, dependsOn: [...dependsOn] };
      return true;
    },
    added: [],
    weightOf: () => 1,
  });
}

function expectTrueCounts(board: Board): void {
  for (const node of board.plan("p").nodes.values()) {
    const { record, dependencies, openCount, failedCount } = node;
    expect({ id: record.id, openCount, failedCount }).toEqual({
      id: record.id,
      openCount: dependencies.filter((one) => !isSatisfied(one.record, record)).length,
      failedCount: dependencies.filter((one) => isFailing(one.record, record)).length,
    });
  }
}

test("3.1: a task that an edit blocks and opens again in one go is told of once, and its dependents wait for it", () => {
  const board = new Board(settingsOf({ limitAgents: 2 }));
  addPlan(board, "p", {
    lost: {},
    run: {},
    first: { dependsOn: ["lost"] },
    // Before what it will depend on, so that it hears of `first` before that does.
    moved: { dependsOn: ["run"] },
    last: { dependsOn: ["moved"] },
    second: { dependsOn: ["first"] },
  });
  start(board);
  failWith(board, "p/lost", "reported-failure");
  expect(board.node("p/second").record.state).toBe("blocked");
  change(board, { first: ["run"], moved: ["run", "first", "second"] });
  expectTrueCounts(board);
  controlTask(board, "p/moved", "cancel", NOW_MS);
  expect(board.node("p/last").record.state).toBe("blocked");
});
