/**
 * One life with a death in it: a plan of command agents and one scripted agent with a session, an engine that is killed
 * at a named place, and what must be true when the plan has ended. Effects are counted outside the repository.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { quoted, type Fields } from "./engine-support.ts";
import { FaultScene } from "./fault-scene.ts";
import { processesNaming } from "../support/processes.js";

export const IDS = ["side", "first", "second", "third"] as const;

export class CrashScene extends FaultScene {
  /** Sleeps that only this scene's agents sleep. */
  readonly seconds = `86398.${process.pid}${Math.floor(Math.random() * 1e9)}`;
  plan = "";
  branch = "main";

  /** Lets `side` come to its end. */
  openGate(): void {
    this.repo.write("../traces/gate", "");
  }

  /** side ‖ first → second → third. `side` runs until the gate is open; `third` is an agent with a session. */
  async submit(more: Fields = {}): Promise<void> {
    const file = (id: string): string => quoted(join(this.ground.traces, id));
    const told = (id: string, what: string): string =>
      `echo ${id} >> ${file("starts")}; ${what} && echo ${id} >> ${file("ends")}`;
    const hidden = `(trap '' TERM; setsid sleep ${this.seconds} &) ; setsid sh -c "sleep ${this.seconds}; true" &`;
    this.talk(`echo third >> ${file("starts")}; echo third >> third.txt; echo third >> ${file("ends")}`);
    const tasks = [
      {
        id: "side",
        prompt: `${hidden}\n${told("side", `while [ ! -e ${file("gate")} ]; do sleep 0.05; done; echo side >> side.txt`)}`,
        writes: ["side.txt"],
      },
      { id: "first", prompt: told("first", "echo first >> first.txt"), writes: ["first.txt"] },
      {
        id: "second",
        prompt: told(
          "second",
          "echo half >> second.txt; git add -A; git commit -qm half; test -f first.txt && echo whole >> second.txt",
        ),
        writes: ["second.txt"],
        dependsOn: ["first"],
        verify: ["test -f first.txt && test -f second.txt"],
      },
      { id: "third", prompt: "PROMPT-3", agent: "coder", writes: ["third.txt", "draft.txt"], dependsOn: ["second"] },
    ];
    this.plan = await this.repo.submit("chain", tasks, more);
  }

  count(trace: "starts" | "ends", id: string): number {
    return this.ground.trace(trace).filter((line) => line === id).length;
  }

  /** The plan goes on to its end; then state, git, processes and folders agree that all of it was done once. */
  async expectDoneOnce(ids: readonly string[] = IDS, allowed: readonly string[] = ["engine-crash"]): Promise<void> {
    const { repo, plan } = this;
    repo.closeClients();
    await repo.client();
    this.openGate();
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(repo.merges(this.branch)).toEqual(Object.fromEntries(ids.map((id) => [id, 1])));
    for (const id of ids) {
      const { state, mergedSha, attempts } = await repo.task(`${plan}/${id}`);
      expect(state).toBe("succeeded");
      const causes = attempts.flatMap(({ cause }) => (cause === null ? [] : [cause]));
      expect(causes.filter((cause) => !allowed.includes(cause))).toEqual([]);
      expect(
        repo.git("show", "-s", "--format=%(trailers:key=Orchestrator-Task,valueonly)", mergedSha ?? "").trim(),
      ).toBe(id);
      repo.git("merge-base", "--is-ancestor", mergedSha ?? "", this.branch);
      const text = id === "second" ? "half\nwhole" : id;
      expect(repo.git("show", `${this.branch}:${id}.txt`)).toBe(text);
    }
    expect(repo.git("status", "--porcelain")).toBe("");
    await this.stopEngine();
    expect(processesNaming(this.seconds)).toEqual([]);
    this.expectNothingLeft(ids);
    this.expectAllEnded(allowed.includes("crashed") ? "retries-spent" : "no-retry");
  }

  expectNothingLeft(ids: readonly string[]): void {
    const { repo, ground } = this;
    expect(repo.git("branch", "--list", "orchestrator/*")).toBe("");
    expect(repo.git("worktree", "list", "--porcelain").match(/^worktree /gm)).toHaveLength(1);
    const worktrees = join(ground.home, ".orchestrator", "worktrees");
    expect(existsSync(worktrees) ? readdirSync(worktrees, { recursive: true }) : []).toEqual([]);
    const refs = repo.git("for-each-ref", "--format=%(refname)", "refs/orchestrator").split("\n");
    expect(refs.filter((ref) => !ref.startsWith("refs/orchestrator/kept/"))).toEqual([
      `refs/orchestrator/before/${this.plan}`,
    ]);
    expect(this.column("SELECT id FROM merges WHERE outcome = 'merged'")).toHaveLength(ids.length);
    expect(this.column("SELECT id FROM tasks WHERE worktree IS NOT NULL")).toEqual([]);
    expect(this.column("SELECT id FROM plans WHERE ended_at_ms IS NULL")).toEqual([]);
    expect(this.events("plan-created")).toHaveLength(1);
    expect(this.column("SELECT body FROM events WHERE body LIKE '%outside its claim%'")).toEqual([]);
  }

  /** A hook of the user's that is run by the merge in their checkout. */
  hook(name: string, text: string): void {
    const file = join(this.repo.path, ".git", "hooks", name);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
  }
}
