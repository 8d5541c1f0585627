import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AppError } from "../../src/errors.ts";
import { checkGraph, longestPaths, type GraphNode } from "../../src/plan/graph.ts";

/** Edges between any two of a few tasks, also to themselves and twice: often with a cycle. */
const anyGraph: fc.Arbitrary<GraphNode[]> = fc
  .integer({ min: 1, max: 8 })
  .chain((size) =>
    fc
      .array(fc.array(fc.integer({ min: 0, max: size - 1 }), { maxLength: 3 }), { minLength: size, maxLength: size })
      .map((edges) => edges.map((ends, index) => ({ id: `t${index}`, dependsOn: ends.map((end) => `t${end}`) }))),
  );

/** Edges to earlier tasks alone, in an order that hides it. */
const acyclicGraph: fc.Arbitrary<GraphNode[]> = fc.integer({ min: 1, max: 9 }).chain((size) =>
  fc
    .tuple(
      fc.array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: size, maxLength: size }),
      fc.shuffledSubarray(
        Array.from({ length: size }, (_, index) => index),
        { minLength: size, maxLength: size },
      ),
    )
    .map(([edges, places]) => {
      const nodes = edges.map((ends, index) => ({
        id: `t${index}`,
        dependsOn: index === 0 ? [] : [...new Set(ends.map((end) => `t${end % index}`))],
      }));
      return places.flatMap((place) => nodes[place] ?? []);
    }),
);

describe("D2: cycles are refused at once with the cycle named", () => {
  test("a graph is either ordered by its edges or refused with a cycle that is there", () => {
    fc.assert(
      fc.property(anyGraph, (nodes) => {
        const found = cycleOf(nodes);
        if (found === null) {
          const order = checkGraph(nodes);
          expect(order.toSorted()).toEqual(nodes.map((node) => node.id).toSorted());
          const places = new Map(order.map((id, place) => [id, place]));
          for (const node of nodes) {
            for (const id of node.dependsOn) expect(places.get(id)).toBeLessThan(places.get(node.id) ?? -1);
          }
          return;
        }
        expect(found.length).toBeGreaterThan(1);
        expect(found.at(0)).toBe(found.at(-1));
        expect(new Set(found.slice(1)).size).toBe(found.length - 1);
        for (const [index, id] of found.slice(0, -1).entries()) {
          expect(nodes.find((node) => node.id === id)?.dependsOn).toContain(found[index + 1]);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("a graph without a cycle is never refused", () => {
    fc.assert(
      fc.property(acyclicGraph, (nodes) => {
        expect(checkGraph(nodes)).toHaveLength(nodes.length);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a task that depends on itself is a cycle of one", () => {
    const error = refusalOf([{ id: "a", dependsOn: ["a"] }]);
    expect(error.code).toBe("PLAN_CYCLE");
    expect(error.message).toContain("a → a");
  });

  test("the message names the path, and a cycle of thousands by its ends", () => {
    expect(refusalOf(ring(["a", "b", "c"])).message).toContain("a → b → c → a");
    const long = refusalOf(ring(Array.from({ length: 5_000 }, (_, index) => `t${index}`)));
    expect(long.message.length).toBeLessThan(300);
    expect(long.message).toContain("more");
  });
});

test("two tasks of one id are refused, whichever they are", () => {
  const error = refusalOf([task("a"), task("b"), task("a")]);
  expect(error.code).toBe("PLAN_DUPLICATE_TASK");
  expect(error.message).toContain('"a"');
});

test("an unknown dependency names its task and the nearest id", () => {
  const error = refusalOf([task("schema"), task("limiter", "shcema")]);
  expect(error.code).toBe("PLAN_UNKNOWN_DEPENDENCY");
  expect(error.message).toContain('"limiter"');
  expect(error.message).toContain('"shcema"');
  expect(error.message).toContain('did you mean "schema"?');
  const far = refusalOf([task("schema"), task("limiter", "x".repeat(100_000))]);
  expect(far.message).not.toContain("did you mean");
  expect(far.message.length).toBeLessThan(200);
});

describe("a hundred thousand tasks", () => {
  const SIZE = 100_000;
  const names = Array.from({ length: SIZE }, (_, index) => `t${index}`);
  const chain = (): string[][] => names.map((_, index) => (index === 0 ? [] : [`t${index - 1}`]));
  const star = (): string[][] => names.map((_, index) => (index === 0 ? [] : ["t0"]));
  const sink = (): string[][] => names.map((_, index) => (index === SIZE - 1 ? names.slice(0, -1) : []));

  test.each([
    ["a chain", chain, SIZE],
    ["a chain, last task first", () => chain(), SIZE],
    ["a star", star, 2],
    ["one that waits for all", sink, 2],
  ])("%s is ordered, each edge read a few times, and the stack holds", (name, edges, depth) => {
    const counter = { reads: 0 };
    const lists = edges();
    const nodes = names.map((id, index) => counted(id, lists[index] ?? [], counter));
    if (name.includes("last")) nodes.reverse();
    const order = checkGraph(nodes);
    expect(order).toHaveLength(SIZE);
    let weighed = 0;
    const lengths = longestPaths(nodes, order, () => {
      weighed += 1;
      return 1;
    });
    expect(Math.max(lengths.get("t0") ?? 0, lengths.get(`t${SIZE - 1}`) ?? 0)).toBe(depth);
    expect(weighed).toBe(SIZE);
    // A list that is read again for each of its own edges would be read a hundred thousand times.
    expect(counter.reads).toBeLessThanOrEqual(SIZE * 6);
  });

  test("a ring is refused by its name, and the stack holds", () => {
    const nodes = names.map((id, index) => task(id, `t${(index + 1) % SIZE}`));
    expect(refusalOf(nodes).code).toBe("PLAN_CYCLE");
    expect(cycleOf(nodes)).toHaveLength(SIZE + 1);
  });
});

test("the longest remaining path is the longest of all paths, whatever the weights", () => {
  fc.assert(
    fc.property(
      acyclicGraph,
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 9, maxLength: 9 }),
      (nodes, weights) => {
        const weightOf = (id: string): number => weights[Number(id.slice(1))] ?? 1;
        const lengths = longestPaths(nodes, checkGraph(nodes), weightOf);
        for (const node of nodes) expect(lengths.get(node.id)).toBe(longestByHand(nodes, node.id, weightOf));
      },
    ),
    { numRuns: 1_000 },
  );
});

function longestByHand(nodes: readonly GraphNode[], id: string, weightOf: (id: string) => number): number {
  const behind = nodes.filter((node) => node.dependsOn.includes(id));
  return weightOf(id) + Math.max(0, ...behind.map((node) => longestByHand(nodes, node.id, weightOf)));
}

function task(id: string, ...dependsOn: string[]): GraphNode {
  return { id, dependsOn };
}

function ring(ids: readonly string[]): GraphNode[] {
  return ids.map((id, index) => task(id, ids[(index + 1) % ids.length] ?? id));
}

function counted(id: string, dependsOn: readonly string[], counter: { reads: number }): GraphNode {
  return {
    id,
    get dependsOn() {
      counter.reads += 1;
      return dependsOn;
    },
  };
}

function refusalOf(nodes: readonly GraphNode[]): AppError {
  try {
    checkGraph(nodes);
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown;
    throw thrown;
  }
  throw new Error("the graph was not refused");
}

/** The cycle that the refusal names; null when the graph is fine. */
function cycleOf(nodes: readonly GraphNode[]): string[] | null {
  try {
    checkGraph(nodes);
    return null;
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === "PLAN_CYCLE") return thrown.details["cycle"] as string[];
    throw thrown;
  }
}
