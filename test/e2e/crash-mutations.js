// Breaks one promise of recovery at a time, in a build of its own, and sees that crash-points.test.ts says so: a test
// that catches nothing proves nothing. `npm run build && node test/e2e/crash-mutations.js [WORD]`: all, or those whose
// name has the word. Ends with 1 when one is not caught. Some five minutes.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { makeFaultBuild, removeFaultBuild } from "../tools/fault-build.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** `changes`: in the built files. `lives`: which tests are to see it. */
const MUTANTS = [
  {
    name: "an attempt that was open is not ended",
    changes: [{ file: "scheduler/recover.js", from: `record.state !== "running"`, to: `true` }],
    lives: "attempt-pid-written:3$",
  },
  {
    name: "a merge is not looked up on the target",
    changes: [
      {
        file: "scheduler/has-arrived.js",
        from: `return (await repository.resolve(sha)) !== null &&`,
        to: `return false &&`,
      },
    ],
    lives: "everything is done once merge-target-moved:2",
  },
  {
    name: "a merge under way is taken for one that arrived: outcome before effect",
    changes: [{ file: "scheduler/recover.js", from: `await hasArrived(parts, merge.candidateSha, tip)`, to: `true` }],
    lives: "everything is done once merge-moving-written:2",
  },
  {
    name: "a candidate that is gone stops the start",
    changes: [{ file: "scheduler/has-arrived.js", from: `(await repository.resolve(sha)) !== null && `, to: `` }],
    lives: "collected: merge-moving-written:3",
  },
  {
    name: "a request's key is not stored with what it did",
    changes: [
      {
        file: "operations/dispatch.js",
        from: `if (key !== null)\n                app.parts`,
        to: `if (false)\n                app.parts`,
      },
    ],
    lives: "without a name or a key",
  },
  {
    name: "worktrees of finished tasks are not looked up",
    changes: [{ file: "scheduler/recover.js", from: `of parts.store.tasks.listUntidied()`, to: `of []` }],
    lives: "before its last worktree is gone",
  },
  {
    name: "a worktree without a row is taken as it is",
    changes: [
      {
        file: "scheduler/task-place.js",
        from: `await repository.worktrees.remove({ planId: task.planId, taskId: task.id, folder, branch });`,
        to: ``,
      },
    ],
    lives: "collected: attempt-worktree-made:3",
  },
  {
    name: "a command goes on in what the cut one left",
    changes: [{ file: "scheduler/task-place.js", from: `else if (isRepeatable) {`, to: `else if (false) {` }],
    lives: "everything is done once attempt-process-ended:2",
  },
  {
    name: "what a cut command left is not kept",
    changes: [
      { file: "git/remove-worktree.js", from: `await saveWork(core, record, record.mark, kept, keptFolders);`, to: `` },
    ],
    lives: "everything is done once attempt-process-ended:2",
  },
  {
    name: "an old mark for undo stays",
    changes: [{ file: "operations/submit-plan.js", from: `found !== "created" && `, to: `` }],
    lives: "undo's mark",
  },
  {
    name: "processes of an earlier engine are not ended",
    changes: [{ file: "scheduler/recover.js", from: `await parts.endLeftovers(known)`, to: `0` }],
    lives: "recovers attempt-pid-written:3.guard$",
  },
  {
    name: "a session is not stored before its turn ends",
    changes: [{ file: "scheduler/attempt-runner.js", from: `store.sessions.save({`, to: `void ({` }],
    lives: "in its own worktree",
  },
  {
    name: "an engine's death spends a retry",
    changes: [
      {
        file: "scheduler/recover.js",
        from: `type: "failed",\n                    cause: "engine-crash"`,
        to: `type: "failed",\n                    cause: "crashed"`,
      },
    ],
    lives: "attempt-pid-written:3$",
  },
  {
    name: "what happened in git is seen before it is stored",
    changes: [
      {
        file: "follow-ups/follow-ups.js",
        from: `store.followUps.add(row);`,
        to: `setTimeout(() => store.followUps.add(row), 500);`,
      },
    ],
    lives: "follow-up-events-written",
  },
];

let missed = 0;
for (const { name, changes, lives } of MUTANTS.filter((mutant) => mutant.name.includes(process.argv[2] ?? ""))) {
  const dist = makeFaultBuild({ changes });
  const startedMs = performance.now();
  const args = [
    "vitest",
    "run",
    "--config",
    "test/vitest.config.ts",
    "--project",
    "e2e",
    "test/e2e/crash-points.test.ts",
  ];
  const { status, stdout, stderr } = spawnSync("npx", [...args, "-t", lives], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ORCHESTRATOR_FAULT_DIST: dist, NO_COLOR: "1" },
  });
  removeFaultBuild(dist);
  // A pattern that names no test passes too; it must not look like a mutant that lives for another reason.
  const isCaught = status !== 0 && /Tests +\d+ failed/.test(stdout);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  console.log(`${isCaught ? "caught" : "MISSED"}  ${name}  (${seconds} s)`);
  if (isCaught) continue;
  missed += 1;
  console.log(`${stdout}${stderr}`.slice(-3000));
}
process.exit(missed === 0 ? 0 : 1);
