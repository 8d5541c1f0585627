/**
 * What a person does to target, branches and worktrees between the engine's death and its next start: the plan goes on
 * by itself, or says what it waits for and names a command that, run as it stands, lets it go on.
 */
import "./crash-build.ts";
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CrashScene, IDS } from "./crash-scene.ts";
import { inScene } from "./fault-scene.ts";

/** Dies at `line`, then `user` acts, then the engine starts again. */
async function between(
  line: string,
  user: (scene: CrashScene) => void | Promise<void>,
  then: (scene: CrashScene) => Promise<void>,
): Promise<void> {
  await inScene(new CrashScene(), async (scene) => {
    scene.dieAt(line);
    await scene.submit();
    await scene.untilDead();
    await user(scene);
    await scene.restart();
    await then(scene);
  });
}

/** Runs what `why` names, with what a person would put in the place of `<commit>`. */
async function clear(scene: CrashScene, state: string, commit = ""): Promise<void> {
  const { repo, ground } = scene;
  await repo.untilState("chain/second", `waiting:${state}`);
  const command = (await repo.task("chain/second")).why?.command ?? "";
  expect(command).not.toBe("");
  const [own = "", ...more] = command.replace("<commit>", commit).split("; orchestrator ");
  execFileSync("/bin/sh", ["-c", own], { cwd: repo.path, env: ground.environment, stdio: "pipe" });
  for (const words of more) {
    const [action = "", task = ""] = words.split(" ");
    await repo.control(action, { task });
  }
  await repo.untilState("chain/second", "succeeded");
}

function placeOf(scene: CrashScene, id: string): string {
  const worktrees = scene.repo.git("worktree", "list", "--porcelain").split("\n\n");
  const own = worktrees.find((text) => text.includes(`branch refs/heads/orchestrator/chain/${id}`)) ?? "";
  return /^worktree (.*)$/m.exec(own)?.[1] ?? "";
}

describe("3.12: the target between the death and the next start", () => {
  test.concurrent("a dependency's merge reset away: its command brings it back, once", async () => {
    await between(
      "attempt-worktree-made:3",
      ({ repo }) => void repo.git("reset", "-q", "--hard", "HEAD~1"),
      async (scene) => {
        await clear(scene, "target");
        await scene.expectDoneOnce();
      },
    );
  });

  test.concurrent("a dependency's merge reset away, and another branch checked out", async () => {
    await between(
      "attempt-worktree-made:3",
      ({ repo }) => {
        repo.git("reset", "-q", "--hard", "HEAD~1");
        repo.git("switch", "-q", "-c", "other");
      },
      async (scene) => {
        await clear(scene, "target");
        await scene.expectDoneOnce();
      },
    );
  });

  test.concurrent("a dependency's merge reset away and collected: said so, and a skip goes on without", async () => {
    await between(
      "attempt-worktree-made:3",
      ({ repo }) => {
        repo.git("reset", "-q", "--hard", "HEAD~1");
        for (const text of repo.git("worktree", "list", "--porcelain").split("\n\n").slice(1)) {
          repo.git("worktree", "remove", "--force", "--force", text.split("\n")[0]?.slice("worktree ".length) ?? "");
        }
        const refs = repo.git("for-each-ref", "--format=%(refname)", "refs/heads/orchestrator", "refs/orchestrator");
        for (const ref of refs.split("\n").filter((name) => !name.endsWith("/side"))) repo.git("update-ref", "-d", ref);
        repo.git("update-ref", "-d", "ORIG_HEAD");
        repo.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all");
        repo.git("gc", "-q", "--prune=now");
      },
      async (scene) => {
        const { repo } = scene;
        await repo.untilState("chain/second", "waiting:target");
        const { why } = await repo.task("chain/second");
        expect(why?.message).toContain("git has its commit");
        expect(why?.command).toBe("orchestrator skip chain/second");
        await repo.control("skip", { task: "chain/second" });
        scene.openGate();
        expect(await repo.settled("chain")).toBe("succeeded");
        expect(repo.merges()).toEqual({ side: 1, third: 1 });
      },
    );
  });

  test.concurrent("deleted: its command makes it again", async () => {
    let tip = "";
    await between(
      "merge-moving-written:2",
      ({ repo }) => {
        tip = repo.git("rev-parse", "main");
        repo.git("switch", "-q", "--detach");
        repo.git("branch", "-q", "-D", "main");
      },
      async (scene) => {
        await clear(scene, "target", tip);
        scene.repo.git("switch", "-q", "main");
        await scene.expectDoneOnce();
      },
    );
  });

  test.concurrent(
    "a file of the user's in the way of the merge: it stays, and moved away the merge goes on",
    async () => {
      await between(
        "merge-moving-written:2",
        ({ repo }) => repo.write("second.txt", "the user's own\n"),
        async (scene) => {
          const { repo } = scene;
          await repo.untilState("chain/second", "waiting:manual-merge");
          expect(repo.read("second.txt")).toBe("the user's own\n");
          rmSync(`${repo.path}/second.txt`);
          await repo.untilState("chain/second", "succeeded");
          await scene.expectDoneOnce();
        },
      );
    },
  );

  test.concurrent("the task's branch merged by hand: it is done, and merged no second time", async () => {
    await between(
      "merge-row-written:2",
      ({ repo }) => void repo.git("merge", "-q", "--no-ff", "-m", "by hand", "orchestrator/chain/second"),
      async (scene) => {
        const { repo } = scene;
        scene.openGate();
        expect(await repo.settled("chain")).toBe("succeeded");
        expect(repo.merges()).toEqual({ side: 1, first: 1, third: 1 });
        expect(repo.read("second.txt")).toBe("half\nwhole\n");
        for (const id of ["first", "second", "third"]) expect(scene.count("starts", id)).toBe(1);
        await scene.stopEngine();
        scene.expectAllEnded();
      },
    );
  });
});

describe("6: the task's own branch and worktree between the death and the next start", () => {
  test.concurrent("both deleted when the work was done: its command brings the work back", async () => {
    let tip = "";
    await between(
      "attempt-end-written:2",
      (scene) => {
        const { repo } = scene;
        tip = repo.git("rev-parse", "orchestrator/chain/second");
        repo.git("worktree", "remove", "--force", "--force", placeOf(scene, "second"));
        repo.git("branch", "-q", "-D", "orchestrator/chain/second");
      },
      async (scene) => {
        await clear(scene, "manual-merge", tip);
        await scene.expectDoneOnce();
        expect(scene.count("starts", "second")).toBe(1);
      },
    );
  });

  test.concurrent.each(["attempt-pid-written:3", "attempt-end-written:2", "merge-candidate-written:2"])(
    "the worktree's folder deleted: %s",
    async (line) => {
      await between(
        line,
        (scene) => rmSync(placeOf(scene, "second"), { recursive: true }),
        (scene) => scene.expectDoneOnce(),
      );
    },
  );

  test.concurrent(
    "the worktree of an agent with a session deleted: it begins again in another at the same place",
    async () => {
      await inScene(new CrashScene(), async (scene) => {
        scene.dieAt("attempt-session-noted");
        await scene.submit();
        await scene.untilDead();
        rmSync(placeOf(scene, "third"), { recursive: true });
        await scene.expectDoneOnce(IDS);
      });
    },
  );

  test.concurrent(
    "somebody's own commit on the branch while it waits for its merge: it is merged with the rest",
    async () => {
      await between(
        "merge-candidate-written:2",
        (scene) => {
          const { repo } = scene;
          const place = placeOf(scene, "second");
          repo.gitAt(place, "commit", "-q", "--allow-empty", "-m", "a person's own");
        },
        async (scene) => {
          await scene.expectDoneOnce();
          expect(scene.repo.git("log", "--format=%s", "main")).toContain("a person's own");
        },
      );
    },
  );
});
