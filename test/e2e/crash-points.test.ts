/**
 * The engine dies at every named place between two of its effects (`crashPoint` in the sources); whatever the place,
 * the next command starts it again, the plan ends, and everything was done once. The other `crash-*.test.ts` die at
 * what plans alone don't come by.
 */
import "./crash-build.ts";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { crashPointNames } from "../tools/fault-build.js";
import { CrashScene } from "./crash-scene.ts";
import { inScene } from "./fault-scene.ts";
import { until } from "../support/until.js";

/** What the death means for the agent of `second`, which all deaths but the session's are about. */
type Reruns =
  /** It had not begun, or its end was known: one start in all. */
  | "none"
  /** Its end was not known, so it runs once more. */
  | "one"
  /** It was cut off somewhere. */
  | "some";

/** In one process, `side` and `first` start before `second`, and `first` ends before it. */
const DEATHS: Readonly<Record<string, Reruns>> = {
  "decisions-written:2": "none",
  "task-worktree-put-aside:3": "none",
  "task-branch-made:3": "none",
  "worktree-added:4": "none",
  "attempt-worktree-made:3": "none",
  "attempt-worktree-set-up:3": "none",
  "attempt-row-written:3": "none",
  "attempt-files-written:3": "none",
  "attempt-process-started:3": "some",
  "attempt-pid-written:3": "some",
  "attempt-process-ended:2": "one",
  "attempt-work-committed:2": "one",
  "attempt-work-finished:2": "one",
  "attempt-end-written:2": "none",
  "merge-row-written:2": "none",
  "merge-candidate-made:2": "none",
  "merge-candidate-written:2": "none",
  "merge-verified:2": "none",
  "merge-moving-written:2": "none",
  "merge-target-moved:2": "none",
  "merge-outcome-written:2": "none",
  "removal-work-kept:2": "none",
  "removal-marked:2": "none",
  "removal-branch-deleted:2": "none",
  "removal-folder-deleted:2": "none",
  "removal-done:2": "none",
};

async function life(work: (scene: CrashScene) => Promise<void>, config = {}): Promise<void> {
  await inScene(new CrashScene(config), work);
}

function expectStarts(scene: CrashScene, reruns: Reruns): void {
  expect(scene.count("starts", "first")).toBe(1);
  expect(scene.count("starts", "third")).toBe(1);
  const starts = scene.count("starts", "second");
  if (reruns === "some") expect([1, 2]).toContain(starts);
  else expect(starts).toBe(reruns === "one" ? 2 : 1);
  expect(scene.count("ends", "side")).toBe(1);
}

describe("S1 S3: killed at a named place, everything is done once", () => {
  test.concurrent.each(Object.entries(DEATHS))("%s", async (line, reruns) => {
    await life(async (scene) => {
      scene.dieAt(line);
      await scene.submit();
      await scene.untilDead();
      await scene.expectDoneOnce();
      expectStarts(scene, reruns);
      // What the cut run had done, committed or not, is kept before the next one begins anew.
      const kept = scene.repo.keptRefs().map((ref) => scene.repo.git("show", `${ref}:second.txt`));
      if (reruns === "one") expect(kept).toContain("half\nwhole");
    });
  });
});

const PLAN_DEATHS = ["plan-target-made", "plan-before-ref-set", "request-carried-out", "engine-made", "engine-listens"];

describe("S1 S3: killed while a plan is made, the call that is sent again makes it once", () => {
  test.concurrent.each(PLAN_DEATHS)("%s", async (line) => {
    await life(async (scene) => {
      scene.branch = "next";
      scene.dieAt(line);
      await scene.submit({ into: "next" });
      expect(scene.deaths()).toEqual([line]);
      await scene.expectDoneOnce();
    });
  });
});

test.concurrent("4: a changing call without a name or a key, killed before its answer, is done once", async () => {
  await life(async (scene) => {
    const { repo } = scene;
    await repo.client();
    scene.dieAt("request-carried-out");
    const { plan } = await repo.call("spawn_agent", { agent: "command", prompt: "echo once >> once.txt" });
    expect(scene.deaths()).toEqual(["request-carried-out"]);
    expect(await repo.settled(String(plan))).toBe("succeeded");
    expect((await repo.status({ since: 0 })).plans).toHaveLength(1);
    expect(repo.read("once.txt")).toBe("once\n");
  });
});

/** The first death leaves something to recover from. */
const RECOVERIES: readonly (readonly string[])[] = [
  ["attempt-pid-written:3+guard"],
  ["attempt-pid-written:3", "recovery-processes-ended", "recovery-merges-looked-up"],
  ["merge-target-moved:2+guard", "recovery-merges-looked-up", "recovery-outcomes-written"],
  ["removal-marked:2", "recovery-finished-tidied", "recovery-finished-tidied"],
  ["attempt-work-committed:2", "recovery-outcomes-written", "task-worktree-put-aside:2"],
];

describe("S3 B7: killed with its guard, and again while it recovers", () => {
  test.concurrent.each(RECOVERIES.map((lines) => [lines.join(", "), lines] as const))("%s", async (_name, lines) => {
    await life(async (scene) => {
      scene.dieAt(...lines);
      await scene.submit();
      await scene.untilDead();
      scene.repo.closeClients();
      await scene.repo.client();
      await scene.untilDead(lines.length);
      await scene.expectDoneOnce();
      // One that outlived its engine would come to its end beside the one that is run again.
      expect(scene.count("ends", "side")).toBe(1);
      expect(scene.count("starts", "first")).toBe(1);
      expect(scene.count("starts", "third")).toBe(1);
    });
  });
});

const STOPS = ["engine-stopping", "engine-host-stopped"];

describe("R4: killed while it stops in order", () => {
  test.concurrent.each(STOPS)("%s", async (line) => {
    await life(async (scene) => {
      await scene.submit();
      await scene.repo.untilState("chain/third", "succeeded");
      scene.dieAt(line);
      await scene.repo.ask("stop_engine", {}).catch(() => undefined);
      await scene.untilDead();
      await scene.expectDoneOnce();
      for (const id of ["first", "second", "third"]) expect(scene.count("starts", id)).toBe(1);
    });
  });
});

/** `third` has a session: what it did stays in its worktree, and it is told that it was interrupted. */
const SESSION_DEATHS = ["attempt-session-noted", "attempt-process-ended:3", "attempt-work-committed:3"];

describe("S4: killed around an agent with a session, it goes on with its own session in its own worktree", () => {
  test.concurrent.each(SESSION_DEATHS)("%s", async (line) => {
    await life(async (scene) => {
      scene.dieAt(line);
      await scene.submit();
      scene.talk("echo draft > draft.txt; echo third > third.txt");
      await scene.untilDead();
      await scene.expectDoneOnce();
      const [first, second, ...more] = scene.turns();
      expect(more).toEqual([]);
      expect(second).toMatchObject({ resumed: true, sessionId: first?.sessionId, cwd: first?.cwd });
      expect(second?.prompt).toMatch(/^You were interrupted: the engine that runs you stopped/);
    });
  });
});

/** Each is the last thing that the engine had to do for the plan, whose end is written by then. */
const LAST_DEATHS = [
  "merge-outcome-written:4",
  "removal-work-kept:4",
  "removal-marked:4",
  "removal-folder-deleted:4",
  "removal-done:4",
];

describe("killed after a plan's end is written, before its last worktree is gone: the next start takes it away", () => {
  test.concurrent.each(LAST_DEATHS)("%s", async (line) => {
    await life(async (scene) => {
      scene.dieAt(line);
      await scene.submit();
      scene.openGate();
      await scene.untilDead();
      await scene.expectDoneOnce();
      for (const id of ["side", "first", "second", "third"]) expect(scene.count("starts", id)).toBe(1);
    });
  });
});

describe("4: the user's target between the death and the next start", () => {
  const lines = [
    "attempt-worktree-made:3",
    "attempt-work-finished:2",
    "merge-candidate-written:3",
    "merge-moving-written:3",
    "merge-target-moved:3",
  ];
  test.concurrent.each(lines)("moved on, and objects that nothing names collected: %s", async (line) => {
    await life(async (scene) => {
      const { repo } = scene;
      scene.dieAt(line);
      await scene.submit();
      await scene.untilDead();
      repo.commit("the user's own", { "user.txt": "user\n" });
      repo.git("gc", "-q", "--prune=now");
      await scene.expectDoneOnce();
      expect(repo.read("user.txt")).toBe("user\n");
    });
  });

  test.concurrent.each(["merge-moving-written:2", "merge-target-moved:2"])("set back: %s", async (line) => {
    await life(async (scene) => {
      const { repo } = scene;
      scene.dieAt(line);
      await scene.submit();
      await scene.untilDead();
      const before = repo.git("log", "-1", "--first-parent", "--format=%H", "--grep=^Orchestrator-Task: first$");
      repo.git("reset", "-q", "--hard", before);
      await scene.expectDoneOnce();
    });
  });

  test.concurrent("moved while a plan is made: undo's mark is where the plan really begins", async () => {
    await life(async (scene) => {
      const { repo, ground } = scene;
      // Nobody sends the call again: its caller is gone too before an engine is there that would take it.
      scene.dieAt("plan-before-ref-set", ...Array<string>(50).fill("engine-made"));
      await repo.client();
      const made = scene.submit().catch(() => undefined);
      await scene.untilDead(2);
      repo.closeClients();
      await made;
      scene.dieAt();
      const sha = repo.commit("the user's own", { "user.txt": "user\n" });
      expect(ground.trace("starts")).toEqual([]);
      await scene.submit();
      expect(repo.git("rev-parse", "refs/orchestrator/before/chain")).toBe(sha);
      await scene.expectDoneOnce();
    });
  });
});

const FOLLOW_UPS = ["follow-up-events-written", "follow-up-started"];

describe("M4 4: killed around follow-ups, each event starts one", () => {
  test.concurrent.each(FOLLOW_UPS)("%s", async (line) => {
    const prompt = 'echo "$ORCHESTRATOR_COMMITS" >> "$HOME/followed"; echo x >> followed.txt';
    const followUps = [{ on: "commit", branch: "main", agent: "command", prompt, cooldownSeconds: 0 }];
    await life(
      async (scene) => {
        const { repo } = scene;
        await repo.client();
        scene.dieAt(line);
        repo.commit("the user's own", { "user.txt": "user\n" });
        await scene.untilDead();
        repo.closeClients();
        await repo.client();
        await until("the follow-up is merged", () =>
          repo.git("log", "-1", "--format=%s").startsWith("Merge follow-up"),
        );
        expect(repo.read("followed.txt")).toBe("x\n");
        expect((await repo.status({ since: 0 })).plans).toHaveLength(1);
      },
      { followUps },
    );
  });
});

test("every name in the sources stands there once, and is died at in one of these files", () => {
  const names = crashPointNames();
  expect([...names].filter(([, count]) => count !== 1)).toEqual([]);
  const folder = new URL(".", import.meta.url);
  const files = readdirSync(folder).filter((file) => /^crash-.*\.test\.ts$/.test(file));
  const died = files.flatMap((file) =>
    Array.from(
      readFileSync(new URL(file, folder), "utf8").matchAll(/"([a-z]+(?:-[a-z]+)+)(?::\d+)?(?:\+guard)?"/g),
      ([, name]) => name,
    ),
  );
  expect([...names.keys()].filter((name) => !died.includes(name))).toEqual([]);
});
