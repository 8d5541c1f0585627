/** The engine's own git is in turns: nothing beside a change of the repository, and worktrees beside each other. */
import { expect, test } from "vitest";
import { changeTurns } from "../../src/git/change-turns.ts";

/** Works that begin when it is their turn and end when they are told. */
class Works {
  readonly turns = changeTurns();
  readonly under = new Set<string>();
  readonly #ends = new Map<string, () => void>();
  readonly #done: Promise<void>[] = [];

  ask(name: string, worktree: string | null): void {
    const work = async (): Promise<void> => {
      this.under.add(name);
      await new Promise<void>((end) => this.#ends.set(name, end));
      this.under.delete(name);
    };
    this.#done.push(worktree === null ? this.turns.alone(work) : this.turns.beside(worktree, work));
  }

  /** Ends one and answers who is at work once everybody who may has begun. */
  async end(name: string): Promise<string[]> {
    this.#ends.get(name)?.();
    return await this.now();
  }

  async now(): Promise<string[]> {
    await new Promise((resolve) => setImmediate(resolve));
    return [...this.under].sort();
  }
}

test("changes of several worktrees are side by side, those of one and those of all are not, in the order of asking", async () => {
  const works = new Works();
  works.ask("a", "one");
  works.ask("b", "two");
  works.ask("b again", "two");
  works.ask("all", null);
  works.ask("c", "three");
  expect(await works.now()).toEqual(["a", "b"]);
  expect(await works.end("b")).toEqual(["a", "b again"]);
  expect(await works.end("b again")).toEqual(["a"]);
  expect(await works.end("a")).toEqual(["all"]);
  expect(await works.end("all")).toEqual(["c"]);
});

test("one that fails gives its turn away, and its error to who asked", async () => {
  const turns = changeTurns();
  const failing = turns.beside("one", () => Promise.reject(new Error("no room")));
  const next = turns.alone(() => Promise.resolve("done"));
  await expect(failing).rejects.toThrow("no room");
  expect(await next).toBe("done");
});
