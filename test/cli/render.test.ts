import { describe, expect, test } from "vitest";
import type { EventBody, StoredEvent } from "../../src/events/event.ts";
import type { PlanStatus, TaskDetail, TaskLine } from "../../src/operations/task-status.ts";
import { TASK_STATES } from "../../src/plan/task-state.ts";
import { displayWidth } from "../../src/cli/plain-text.ts";
import { renderDryRun } from "../../src/cli/render-created.ts";
import { renderFindings } from "../../src/cli/render-doctor.ts";
import { renderChange, renderLogLine } from "../../src/cli/render-event.ts";
import { renderGraph } from "../../src/cli/render-graph.ts";
import { renderLive } from "../../src/cli/render-live.ts";
import { renderPlan, renderStatus, renderWhy } from "../../src/cli/render-status.ts";
import { renderSummary, summarize } from "../../src/cli/render-summary.ts";
import { renderCost, renderDuration } from "../../src/cli/render-time.ts";
import { textOf, type Line } from "../../src/cli/styled.ts";

const HOSTILE = "\u001b]0;owned\u0007\u202Etxt\u001b[2J\nnext";

const taskLine = (id: string, state: TaskLine["state"], rest: Partial<TaskLine> = {}): TaskLine => ({
  task: `p/${id}`,
  state,
  note: null,
  ...rest,
});
const planOf = (tasks: TaskLine[], rest: Partial<PlanStatus> = {}): PlanStatus => ({
  plan: "p",
  goal: null,
  target: "main",
  state: "running",
  paused: false,
  counts: {},
  total: tasks.length,
  costUsd: null,
  tasks,
  more: 0,
  ...rest,
});
const why = (code: string, message: string, command: string | null): NonNullable<TaskLine["why"]> => ({
  code,
  message,
  command,
  until: null,
  waitsFor: [],
});
const texts = (lines: readonly Line[]): string[] => lines.map(textOf);
const isSafe = (line: string): boolean => !/[\p{Cc}\u202a-\u202e]/u.test(line);

describe("a plan as a list", () => {
  test("a task that waits names its reason and the command that clears it", () => {
    const lines = texts(
      renderPlan(
        planOf([
          taskLine("a", "waiting", { note: "by hand", why: why("manual-merge", "by hand", "orchestrator merge p/a") }),
        ]),
        { width: Infinity },
      ),
    );
    expect(lines[1]).toContain("by hand → orchestrator merge p/a");
  });

  test("each state has a sign of its own and its name", () => {
    const lines = texts(renderPlan(planOf(TASK_STATES.map((state) => taskLine(state, state))), { width: 80 })).slice(1);
    TASK_STATES.forEach((state, index) => expect(lines[index]).toContain(state));
    expect(new Set(lines.map((line) => line.trim()[0])).size).toBe(TASK_STATES.length);
  });

  test.each([20, 40, 80, 200])("no line is wider than %i columns, whatever the names are", (width) => {
    const tasks = [
      taskLine("a".repeat(64), "running", { note: "n".repeat(300) }),
      taskLine("日本語".repeat(10), "failed", { note: HOSTILE, why: why("x", HOSTILE, "orchestrator retry p/x") }),
    ];
    const lines = texts(renderPlan(planOf(tasks, { plan: "p".repeat(64), more: 7 }), { width }));
    for (const line of lines) {
      expect(displayWidth(line)).toBeLessThanOrEqual(width);
      expect(isSafe(line)).toBe(true);
    }
  });

  test("nothing there says how to begin", () => {
    const empty = { summary: "", next: "", seq: 0, questions: [], plans: [] };
    expect(texts(renderStatus(empty, 80)).join()).toContain("orchestrator run FILE");
  });

  test("hostile text in a task's every field comes out as text", () => {
    const task: TaskDetail = {
      ...taskLine("a", "failed", { title: HOSTILE, note: HOSTILE, why: why("x", HOSTILE, HOSTILE) }),
      plan: "p",
      agent: HOSTILE,
      provider: HOSTILE,
      otherProviders: [HOSTILE],
      spent: { attempts: 3, retries: 1, waits: 2, continuations: 0, freshSessions: 0, repairs: 0, rounds: 0 },
      prompt: HOSTILE,
      dependsOn: [HOSTILE],
      writes: [HOSTILE],
      branch: HOSTILE,
      worktree: HOSTILE,
      mergedSha: null,
      report: { status: HOSTILE, summary: HOSTILE },
      verifyOutput: HOSTILE,
      attempts: [
        {
          step: 1,
          agent: "coder",
          verdict: null,
          number: 1,
          provider: HOSTILE,
          model: null,
          state: "ended",
          outcome: "failed",
          cause: "crashed",
          message: HOSTILE,
          session: null,
          startedAt: "",
          endedAt: null,
          costUsd: 1,
          denied: [HOSTILE],
        },
      ],
      output: HOSTILE,
    };
    const lines = texts(renderStatus({ summary: "", next: "", seq: 0, questions: [], plans: [], task }, Infinity));
    expect(lines.every(isSafe)).toBe(true);
    expect(lines.join("\n")).not.toContain("owned");
  });

  test("why tells what is waited for, until when, and the command", () => {
    const answer = {
      code: "lock",
      message: "p/b holds it",
      command: "orchestrator release p/b",
      until: "2026-01-01",
      waitsFor: ["p/b"],
    };
    const lines = texts(renderWhy({ note: null, why: answer })).join("\n");
    for (const part of ["lock: p/b holds it", "waits for: p/b", "until: 2026-01-01", "orchestrator release p/b"])
      expect(lines).toContain(part);
  });
});

describe("the list that is redrawn in place", () => {
  const many = [
    ...Array.from({ length: 5 }, (_, index) => taskLine(`run${index}`, "running")),
    ...Array.from({ length: 45 }, (_, index) => taskLine(`done${index}`, "succeeded")),
  ];
  const live = (columns: number, rows: number): string[] =>
    texts(
      renderLive(
        {
          plan: planOf(many, { more: 10, total: 60 }),
          questions: [],
          startedAtMs: new Map([["p/run0", 1_000]]),
          beganAtMs: 0,
          nowMs: 66_000,
          hint: "Ctrl-C pauses",
        },
        { columns, rows },
      ),
    );

  test.each([
    [80, 24],
    [20, 6],
    [10, 4],
    [200, 100],
  ])("fits %i columns and %i rows", (columns, rows) => {
    const lines = live(columns, rows);
    expect(lines.length).toBeLessThanOrEqual(rows - 1);
    for (const line of lines) expect(displayWidth(line)).toBeLessThan(columns);
  });

  test("hides what is done before what runs, and says how much", () => {
    const lines = live(80, 12);
    for (const index of [0, 1, 2, 3, 4]) expect(lines.join("\n")).toContain(`run${index} `);
    expect(lines.join("\n")).toMatch(/… 52 more/);
  });

  test("shows how long an agent has run, where that is known", () => expect(live(80, 24)[1]).toContain("1:05"));
});

describe("the summary", () => {
  const facts = { merged: [{ task: "p/a", sha: "0123456789abcdef" }], elapsedMs: 61_000, isInterrupted: false };

  test("tells what was merged, what failed and why, what is blocked, what waits with its command", () => {
    const plan = planOf(
      [
        taskLine("b", "failed", { note: "exit code 3", why: why("x", "exit code 3", "orchestrator retry p/b") }),
        taskLine("c", "blocked", { why: why("blocked", "p/b failed", "orchestrator retry p/b") }),
        taskLine("d", "waiting", { why: why("manual-merge", "by hand", "orchestrator merge p/d") }),
        taskLine("a", "succeeded"),
      ],
      { state: "needs-person", counts: { succeeded: 1, failed: 1, blocked: 1, waiting: 1 }, costUsd: 1.5 },
    );
    const summary = summarize({ plan, ...facts });
    expect(summary.exitCode).toBe(4);
    const lines = texts(renderSummary(summary)).join("\n");
    for (const part of [
      "1 of 4 tasks done, 1:01, $1.50",
      "merged into main: a (0123456789)",
      "failed: b: exit code 3 → orchestrator retry p/b",
      "blocked: c",
      "waits: d (manual-merge): by hand → orchestrator merge p/d",
    ]) {
      expect(lines).toContain(part);
    }
  });

  test("a paused plan says how to go on, once", () => {
    const paused = why("paused", "plan p is paused", "orchestrator resume p");
    const plan = planOf([taskLine("a", "waiting", { why: paused }), taskLine("b", "waiting", { why: paused })], {
      state: "needs-person",
      paused: true,
    });
    const summary = summarize({ plan, merged: [], elapsedMs: 0, isInterrupted: true });
    expect(summary.exitCode).toBe(130);
    const lines = texts(renderSummary(summary));
    expect(lines.filter((line) => line.includes("orchestrator resume p"))).toHaveLength(1);
  });

  test.each([
    ["succeeded", 0],
    ["failed", 1],
    ["needs-person", 4],
  ] as const)("%s ends with %i", (state, code) => {
    expect(summarize({ plan: planOf([], { state }), ...facts }).exitCode).toBe(code);
  });
});

describe("events as lines", () => {
  const event = (body: EventBody, taskId: string | null = "a"): StoredEvent => ({
    seq: 1,
    atMs: 0,
    planId: "p",
    taskId,
    attemptId: null,
    body,
  });
  const bodies: EventBody[] = [
    { type: "engine-started", version: "1", recovered: 2 },
    { type: "engine-stopping", reason: HOSTILE },
    { type: "plan-created", target: HOSTILE, tasks: 3 },
    { type: "plan-changed", added: 1, changed: 2, dropped: 3 },
    { type: "plan-paused" },
    { type: "plan-resumed" },
    { type: "task-added", title: HOSTILE },
    { type: "task-dropped" },
    {
      type: "task-state",
      from: "ready",
      to: "waiting",
      wait: { code: "lock", message: HOSTILE, command: HOSTILE, untilMs: null },
      cause: null,
      message: null,
    },
    { type: "task-state", from: "running", to: "failed", wait: null, cause: "crashed", message: HOSTILE },
    { type: "attempt-started", number: 1, provider: HOSTILE, pid: 7 },
    { type: "attempt-session", sessionId: HOSTILE },
    { type: "attempt-note", message: HOSTILE },
    {
      type: "attempt-ended",
      number: 1,
      outcome: "failed",
      cause: "crashed",
      message: HOSTILE,
      costUsd: 0.5,
      tokens: 10,
    },
    { type: "report", status: HOSTILE, summary: HOSTILE },
    { type: "merge-started", target: HOSTILE, candidate: null },
    { type: "merge-ended", target: "main", outcome: "merged", sha: "0123456789abcdef", message: HOSTILE },
    { type: "provider-changed", provider: HOSTILE, state: HOSTILE, reason: HOSTILE },
    { type: "warning", message: HOSTILE },
  ];

  test.each(bodies.map((body) => [body.type, body] as const))(
    "%s is one safe line that says something",
    (_type, body) => {
      const line = textOf(renderLogLine(event(body)));
      expect(isSafe(line)).toBe(true);
      expect(line).not.toContain("undefined");
      expect(line.length).toBeGreaterThan("00:00:00 p/a ".length);
    },
  );

  test("an event of a newer engine is shown as it is", () => {
    const newer = { type: "sun-rose", where: "east" } as unknown as EventBody;
    expect(textOf(renderLogLine(event(newer)))).toContain('sun-rose {"where":"east"}');
  });

  test("run prints changes of state, and not that a task is ready to start", () => {
    const change = (to: "ready" | "running"): Line | null =>
      renderChange(event({ type: "task-state", from: "pending", to, wait: null, cause: null, message: null }));
    expect(change("ready")).toBeNull();
    expect(textOf(change("running") ?? [])).toBe("a running");
    expect(renderChange(event({ type: "attempt-session", sessionId: "x" }))).toBeNull();
  });
});

describe("the graph as a tree", () => {
  const task = (id: string, ...dependsOn: string[]) => ({ id, dependsOn, state: "succeeded" as const });

  test("each task stands once, below its deepest dependency, and names the others", () => {
    const lines = texts(
      renderGraph([task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c"), task("e", "a", "d")]),
    );
    expect(lines).toEqual([
      "✓ a succeeded",
      "├─ ✓ b succeeded",
      "└─ ✓ c succeeded",
      "   └─ ✓ d succeeded  (also after b)",
      "      └─ ✓ e succeeded  (also after a)",
    ]);
  });

  test("a list that was cut still shows every task it has", () => {
    expect(renderGraph([task("b", "missing"), task("c", "b")])).toHaveLength(2);
    expect(renderGraph([])).toEqual([]);
  });
});

describe("small things", () => {
  test("durations and costs", () => {
    expect([0, 61_000, 3_600_000 * 3 + 5_000, -5].map(renderDuration)).toEqual(["0:00", "1:01", "3:00:05", "0:00"]);
    expect([null, 0, 0.001, 1.239].map(renderCost)).toEqual([null, null, "under $0.01", "$1.24"]);
  });

  test("a dry run tells target, limits, verify or its absence, the longest path and each task", () => {
    const created = {
      summary: "The plan is valid.",
      next: "",
      plan: "p",
      dryRun: true,
      outcome: "checked" as const,
      target: "main",
      total: 2,
      tasks: [{ id: "a", agent: "coder", provider: "claude", model: "opus", permissions: "edit", dependsOn: ["b"] }],
      verify: [],
      maxConcurrent: 4,
      longestPath: ["b", "a"],
      warnings: ["careful"],
    };
    const lines = texts(renderDryRun(created)).join("\n");
    for (const part of [
      "target: main",
      "at once: 4",
      "verify: nothing",
      "b → a",
      "a: coder (claude opus, edit), after b",
      "warning: careful",
      "1 more",
    ]) {
      expect(lines).toContain(part);
    }
  });

  test("the doctor's findings have a sign, a message and the command that mends them", () => {
    const lines = texts(
      renderFindings([{ check: "git", level: "fail", message: `too old${HOSTILE}`, fix: "brew install git" }]),
    );
    expect(lines[0]).toContain("✗ git");
    expect(lines.join("\n")).toContain("→ brew install git");
    expect(lines.every(isSafe)).toBe(true);
  });
});
