/** Provider chains with the real CLIs: Claude's account is used up in the middle, and Codex goes on in its worktree. */
import { afterEach, expect, test } from "vitest";
import { acts } from "./support/models.ts";
import { PROGRAMS, World } from "./support/world.ts";

let world: World;

afterEach(async () => {
  await world.leave();
});

const RESET_S = Math.floor(Date.now() / 1000) + 4 * 3600;

/** What the API answers a signed-in Claude whose five hours are used up. */
const USED_UP = {
  status: 429,
  message: "This request would exceed your account's rate limit. Please try again later.",
  headers: {
    "anthropic-ratelimit-unified-status": "rejected",
    "anthropic-ratelimit-unified-reset": String(RESET_S),
    "anthropic-ratelimit-unified-representative-claim": "five_hour",
  },
};

test("R1, R2: a task whose Claude is used up goes on with Codex in the same worktree, keeps what was not committed, and merges once", async () => {
  world = await World.open({
    clis: ["claude", "codex"],
    config: {
      // Only who is signed in has an allowance that can be used up.
      providers: {
        claude: {
          kind: "claude",
          command: PROGRAMS.claude,
          env: { CLAUDE_CODE_MAX_RETRIES: "0", CLAUDE_CODE_OAUTH_TOKEN: "dummy-token-for-loopback" },
        },
      },
      agents: { coder: { provider: ["claude", "codex"] } },
    },
  });
  const [claude, codex] = [world.model("claude"), world.model("codex")];
  const goneAfter = acts({ write: "half.txt", content: "BY-CLAUDE\n" }, USED_UP);
  claude.setScript(goneAfter);
  codex.setScript((turn) =>
    turn.prompt.includes("SECOND-TASK")
      ? acts({ write: "second.txt", content: "BY-CODEX\n" }, { say: "done" })(turn)
      : acts({ shell: "cat half.txt > whole.txt && echo BY-CODEX >> whole.txt" }, { say: "FINISHED-BY-CODEX" })(turn),
  );
  const signedIn = world.environment(["ANTHROPIC_API_KEY"]);
  const { plan: id } = await world.call<{ plan: string }>(
    "create_plan",
    {
      name: "chain",
      tasks: [
        { id: "first", prompt: "PROMPT-OF-THE-TASK" },
        { id: "second", prompt: "SECOND-TASK", dependsOn: ["first"] },
      ],
    },
    signedIn,
  );
  const settled = await world.untilSettled(id);
  expect(settled.state, JSON.stringify(settled)).toBe("succeeded");
  for (const model of [claude, codex]) expect(model.errors).toEqual([]);

  const first = await world.task(`${id}/first`);
  expect(first.attempts).toMatchObject([
    { provider: "claude", outcome: "failed", cause: "usage-limit" },
    { provider: "codex", outcome: "succeeded" },
  ]);
  expect(first.spent).toMatchObject({ attempts: 2, retries: 0, waits: 1 });
  // The hand-over: a conversation of its own that knows the task, why the other ended, and where its work is.
  const [handOver] = codex.turns;
  expect(handOver?.prompt).toContain("PROMPT-OF-THE-TASK");
  expect(handOver?.prompt).toContain("An earlier session worked on this task already");
  expect(world.git("show", "main:half.txt")).toBe("BY-CLAUDE");
  expect(world.git("show", "main:whole.txt")).toBe("BY-CLAUDE\nBY-CODEX");
  expect(world.git("log", "--merges", "--format=%s", "main").split("\n")).toHaveLength(2);

  // The next task asks Claude nothing: its reset is hours ahead, and everybody is told.
  expect((await world.task(`${id}/second`)).attempts).toMatchObject([{ provider: "codex", outcome: "succeeded" }]);
  expect(new Set(claude.turns.map((turn) => turn.conversation)).size).toBe(1);
  const untilText = new Date(RESET_S * 1000).toISOString();
  const told = await world.orchestrator(["logs", `${id}/second`], signedIn);
  expect(told.stdout + told.stderr).toContain(
    `goes to codex: claude has used up its account's limit (until ${untilText})`,
  );
  const processes = await world.orchestrator(["ps"], signedIn);
  expect(processes.stdout).toContain(`provider claude: usage-limit until ${untilText}`);
});
