// Promises of recovery, each broken on purpose in the built files, and the lives that are to see it.

/** @param {string} lives @param {string} [file] */
const points = (lives, file = "crash-points") => ({ file, lives });
/** @param {string} lives @param {string} [file] */
const kills = (lives, file = "engine-kill") => ({ file, lives });

/**
 * @typedef {{ file: string, lives: string }} Catcher `lives`: a pattern of the tests' names
 * @type {readonly { name: string, changes: readonly { file: string, from: string, to: string }[], points?: Catcher, kills?: Catcher }[]}
 */
export const MUTANTS = [
  {
    name: "an attempt that was open is not ended",
    changes: [{ file: "scheduler/recover.js", from: `record.state !== "running"`, to: `true` }],
    points: points("attempt-pid-written:3$"),
    kills: kills("finished tasks are not run again"),
  },
  {
    name: "a merge is not looked up on the target",
    changes: [
      { file: "scheduler/recover.js", from: `await hasArrived(parts, merge.candidateSha, tip)`, to: `false` },
      {
        file: "scheduler/merge-task.js",
        from: `return await whatArrived(merge, targetSha);`,
        to: `return { type: "nothing" };`,
      },
    ],
    points: points("everything is done once merge-target-moved:2"),
    kills: kills("in the middle of the merge in the user's checkout"),
  },
  {
    name: "a merge under way is taken for one that arrived: outcome before effect",
    changes: [{ file: "scheduler/recover.js", from: `await hasArrived(parts, merge.candidateSha, tip)`, to: `true` }],
    points: points("everything is done once merge-moving-written:2"),
  },
  {
    name: "a merge is moved before that is written: intent missing",
    changes: [
      {
        file: "scheduler/merge-task.js",
        from: `commit(() => store.merges.update(mergeId, { state: "moving" }));`,
        to: ``,
      },
      {
        file: "scheduler/merge-task.js",
        from: `return await whatArrived(merge, targetSha);`,
        to: `return { type: "nothing" };`,
      },
    ],
    points: points("everything is done once merge-target-moved:2"),
    kills: kills("in the middle of the merge in the user's checkout"),
  },
  {
    name: "a candidate that is gone stops the start",
    changes: [{ file: "scheduler/has-arrived.js", from: `(await repository.resolve(sha)) !== null && `, to: `` }],
    points: points("collected: merge-moving-written:3"),
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
    points: points("without a name or a key"),
    kills: kills("the same key twice makes one plan"),
  },
  {
    name: "a request's key is stored outside of the transaction of what it did",
    changes: [
      {
        file: "operations/dispatch.js",
        from: `app.parts.store.requestKeys.put({ key, operation: operation.name, inputHash, response: output });`,
        to: `setTimeout(() => app.parts.store.requestKeys.put({ key, operation: operation.name, inputHash, response: output }), 200);`,
      },
    ],
    points: points("another turn of an agent that has ended", "crash-steps"),
  },
  {
    name: "worktrees of finished tasks are not looked up",
    changes: [{ file: "scheduler/recover.js", from: `of parts.store.tasks.listUntidied()`, to: `of []` }],
    points: points("before its last worktree is gone"),
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
    points: points("collected: attempt-worktree-made:3"),
  },
  {
    name: "a command goes on in what the cut one left",
    changes: [{ file: "scheduler/task-place.js", from: `else if (isRepeatable) {`, to: `else if (false) {` }],
    points: points("everything is done once attempt-process-ended:2"),
    kills: kills("finished tasks are not run again"),
  },
  {
    name: "what a cut command left is not kept",
    changes: [
      { file: "git/remove-worktree.js", from: `await saveWork(core, record, record.mark, kept, keptFolders);`, to: `` },
    ],
    points: points("everything is done once attempt-process-ended:2"),
    kills: kills("finished tasks are not run again"),
  },
  {
    name: "an old mark for undo stays",
    changes: [{ file: "operations/submit-plan.js", from: `found !== "created" && `, to: `` }],
    points: points("undo's mark"),
  },
  {
    name: "a dependency's merge is not looked for on the target",
    changes: [{ file: "scheduler/task-place.js", from: `lacking !== null`, to: `false` }],
    points: points("brings it back, once", "crash-user"),
  },
  {
    name: "processes of an earlier engine are not ended",
    changes: [{ file: "scheduler/recover.js", from: `await parts.endLeftovers(known)`, to: `0` }],
    points: points("recovers attempt-pid-written:3.guard$"),
    kills: kills("engine and guard killed in the same instant"),
  },
  {
    name: "processes of an earlier engine are looked for by the pids in its rows only",
    changes: [{ file: "process/strays.js", from: `mark.startsWith(\`\${engineId}/\`)`, to: `false` }],
    kills: kills("engine and guard killed in the same instant"),
  },
  {
    name: "the guard leaves its engine's agents alone",
    changes: [{ file: "process/guard-main.js", from: `if (isDismissed || engineId === "")`, to: `if (true)` }],
    kills: kills("kill -9 of the engine in the middle of agents"),
  },
  {
    name: "the guard's list of what was seen is not refreshed",
    changes: [
      { file: "process/guard-main.js", from: `attempts = message.attempts;`, to: `attempts ??= message.attempts;` },
    ],
    kills: kills("what hid while the engine lived", "crash-loops"),
  },
  {
    name: "a guard that died is not replaced",
    changes: [
      {
        file: "process/guard.js",
        from: `this.#clock.schedule(hasLived ? 0 : RESTART_PAUSE_MS, () => this.start());`,
        to: ``,
      },
    ],
    kills: kills("a guard that is killed is replaced"),
  },
  {
    name: "a session is not stored before its turn ends",
    changes: [{ file: "scheduler/attempt-notes.js", from: `store.sessions.save({`, to: `void ({` }],
    points: points("in its own worktree"),
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
    points: points("attempt-pid-written:3$"),
  },
  {
    name: "an attempt that never began is counted as cut off",
    changes: [{ file: "scheduler/recover.js", from: `open.has(key)`, to: `true` }],
    points: points("spends nothing, however often attempt-row-written", "crash-loops"),
  },
  {
    name: "claims that were held are forgotten at the start",
    changes: [{ file: "plan/plan-on-board.js", from: `places.claims.restore(node);`, to: `` }],
    kills: kills("held over the engine's death", "crash-loops"),
  },
  {
    name: "what checks failed is told once only",
    changes: [
      { file: "scheduler/attempt-request.js", from: `failedChecks: openChecks(parts, task)`, to: `failedChecks: null` },
    ],
    points: points("repair is asked for once and what lands has passed attempt-row-written:2", "crash-loops"),
  },
  {
    name: "an asker of before is continued only to ask again",
    changes: [
      {
        file: "questions/question-desk.js",
        from: `store.questions.update(id, { isParked: true });\n            }`,
        to: `;\n            }`,
      },
    ],
    points: points("it is asked once question-asked", "crash-questions"),
  },
  {
    name: "an answer counts as heard as soon as a turn has it",
    changes: [
      {
        file: "scheduler/mail.js",
        from: `store.questions.carry(answers.map(({ id }) => id), attemptId);`,
        to: `store.questions.carry(answers.map(({ id }) => id), attemptId); store.questions.markDelivered(attemptId);`,
      },
    ],
    points: points("the answer is heard attempt-row-written", "crash-questions"),
  },
  {
    name: "what the orchestrator role answered is taken after its end is written",
    changes: [
      {
        file: "scheduler/consultant.js",
        from: `this.#carryOut(questions, read);`,
        to: `setTimeout(() => this.#commit(() => this.#carryOut(questions, read)), 500);`,
      },
    ],
    points: points("consultation-answers-written", "crash-questions"),
  },
  {
    name: "the orchestrator role forgets its session when the engine dies",
    changes: [
      { file: "scheduler/recover.js", from: `outcome: "interrupted", message }`, to: `outcome: "failed", message }` },
    ],
    points: points("consultation-pid-written", "crash-questions"),
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
    points: points("follow-up-events-written"),
  },
];
