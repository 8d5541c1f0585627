/** What a config and a client's variables do to plans, and that a secret is nowhere but where it belongs. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { BUILD, Ground, quoted, type Fields, type Repo } from "./engine-support.ts";
import { commandLine, everyPid } from "../support/processes.js";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
beforeEach(() => {
  ground = new Ground();
  repo = ground.main;
});
afterEach(async () => {
  await ground.leave();
});

const SECRET = `s3cret-${process.pid}-${Math.random().toString(36).slice(2)}`;

/** Every file below `folder` that holds `text`. */
function filesWith(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text));
}

const WITH_TOKEN = {
  providers: { private: { kind: "command", passEnv: ["MY_TOKEN"] } },
  agents: { private: { provider: "private" } },
};

test("a variable that a provider needs and nobody brought makes its task wait by name; brought, it goes on, and is nowhere else", async () => {
  ground.configure(WITH_TOKEN);
  const seen = quoted(join(ground.traces, "seen"));
  const gate = quoted(join(ground.traces, "gate"));
  await repo.submit("token", [
    {
      id: "private",
      agent: "private",
      prompt: `test -n "$MY_TOKEN" && printf '%s' "$MY_TOKEN" | wc -c > ${seen}; while [ ! -e ${gate} ]; do sleep 0.05; done; echo x > x.txt`,
    },
    { id: "plain", prompt: `echo "[$MY_TOKEN]" > ${quoted(join(ground.traces, "plain"))}`, dependsOn: ["private"] },
  ]);
  expect(await repo.settled("token")).toBe("needs-person");
  expect(await repo.states("token")).toEqual({ private: "waiting:auth", plain: "pending" });
  const { why, attempts } = await repo.task("token/private");
  expect(why?.message).toContain("MY_TOKEN");
  expect(why?.command).toContain("retry token/private");
  expect(attempts).toEqual([]);

  const bringing = await repo.client({ environment: { ...ground.environment, MY_TOKEN: SECRET, OTHER: `x${SECRET}` } });
  const result = await bringing.call("control", { action: "retry", task: "token/private" });
  expect(result).toMatchObject({ ok: true });
  await until("the agent has it", () => ground.trace("seen").length === 1);
  expect(ground.trace("seen")[0]?.trim()).toBe(String(SECRET.length));
  // While it runs: in no argument of any process, in nothing that is told.
  expect(everyPid().filter((pid) => commandLine(pid).includes(SECRET))).toEqual([]);
  const told = [
    await repo.call("engine_info", {}),
    await repo.call("read_log", { limit: 1000 }),
    await repo.status({ task: "token/private", include: ["output", "diff", "history", "why"] }),
  ];
  expect(JSON.stringify(told)).not.toContain(SECRET);
  expect(JSON.stringify(told[0])).toContain("MY_TOKEN");
  repo.write("../traces/gate", "");
  expect(await repo.settled("token")).toBe("succeeded");
  expect(ground.trace("plain")).toEqual(["[]"]);
  expect(filesWith(repo.commonDir, SECRET)).toEqual([]);
  expect(filesWith(ground.home, SECRET)).toEqual([]);
  // Held in memory only: after a restart it is asked for again.
  repo.closeClients();
  await repo.killEngine();
  expect(((await repo.call("engine_info", {}))["variables"] as string[]).includes("MY_TOKEN")).toBe(false);
});

async function trust(): Promise<void> {
  const module = (await import(pathToFileURL(join(BUILD, "config", "index.js")).href)) as {
    trustProject: typeof import("../../src/config/index.ts").trustProject;
  };
  await module.trustProject({ home: join(ground.home, ".orchestrator"), mainWorktree: repo.path });
}

test("a project's config starts nothing before it is trusted, counts from then on, and is asked about again when it changes", async () => {
  const config = (text: string): void => repo.write(".orchestrator/config.json", text);
  const tasks = [{ id: "a", agent: "command", prompt: "echo a > a.txt" }];
  config('{ "verify": ["touch verified-by-project"], "agents": { "mine": { "provider": "command" } } }');
  const refused = await repo.refusal("create_plan", { tasks });
  expect(refused).toMatchObject({ code: "CONFIG_UNTRUSTED", message: expect.stringContaining("orchestrator trust") });
  expect((await repo.refusal("spawn_agent", { agent: "command", prompt: "true" })).code).toBe("CONFIG_UNTRUSTED");
  expect((await repo.status({})).plans).toEqual([]);
  expect(repo.git("for-each-ref", "refs/orchestrator", "refs/heads/orchestrator")).toBe("");

  await trust();
  const dry = await repo.call("create_plan", { tasks, dryRun: true });
  expect(dry["verify"]).toEqual(["touch verified-by-project"]);
  const { plan } = await repo.call("create_plan", { name: "trusted", tasks: [{ ...tasks[0], agent: "mine" }] });
  expect(await repo.settled(String(plan))).toBe("succeeded");

  config('{ "verify": [] }');
  const changed = await repo.refusal("create_plan", { tasks });
  expect(changed).toMatchObject({ code: "CONFIG_UNTRUSTED", message: expect.stringContaining("changed") });
  expect((await repo.status({ since: 0 })).plans.map((status) => status.plan)).toEqual(["trusted"]);
});

test.each<[string, string, RegExp]>([
  ["an unknown key", '{\n  "limits": { "agent": 3 }\n}', /config\.json:2:\d+.*agents/s],
  ["a wrong value", '{\n\n  "limits": { "agents": 0 }\n}', /config\.json:3:\d+/],
  ["no JSON", '{ "limits": \n', /config\.json:\d+:\d+/],
])("a config with %s is refused with file, line and column, and nothing starts", async (_, text, message) => {
  repo.write("../home/.orchestrator/config.json", text);
  const refused = await repo.refusal("create_plan", { tasks: [{ id: "a", agent: "command", prompt: "true" }] });
  expect(refused.code).toBe("CONFIG_INVALID");
  expect(refused.message).toMatch(message);
  expect((await repo.status({})).plans).toEqual([]);
});

test("a plan keeps the config it was made with; a config that breaks while it runs stops nothing", async () => {
  ground.configure({ verify: ["test -f a.txt"] });
  const gate = quoted(join(ground.traces, "gate"));
  await repo.submit("pinned", [
    { id: "a", prompt: `while [ ! -e ${gate} ]; do sleep 0.05; done; echo a > a.txt` },
    { id: "b", prompt: "echo b > b.txt", dependsOn: ["a"] },
  ]);
  await repo.untilState("pinned/a", "running");
  repo.write("../home/.orchestrator/config.json", "{ broken");
  repo.write("../traces/gate", "");
  expect(await repo.settled("pinned")).toBe("succeeded");
  repo.closeClients();
  await repo.killEngine();
  // Nor does it keep the engine from starting.
  expect((await repo.plan("pinned")).state).toBe("succeeded");
  expect((await repo.refusal("create_plan", { tasks: [{ id: "c", agent: "command", prompt: "true" }] })).code).toBe(
    "CONFIG_INVALID",
  );
});

test("A1: how failures are followed counts as soon as it is changed, while the engine runs", async () => {
  const providers = StandInClaude.providers;
  ground.configure({ providers, retry: { baseMs: 600_000, maxMs: 600_000 } });
  new StandInClaude(ground.home).end(1, { result: "API Error: 500 Internal server error", api_error_status: 500 });
  await repo.submit("before", [{ id: "a", prompt: "true" }]);
  expect(await repo.settled("before")).toBe("succeeded");
  ground.configure({ providers, retry: { baseMs: 1, maxMs: 1 } });
  await repo.submit("p", [{ id: "a", agent: "coder", prompt: "x", writes: [] }]);
  expect(await repo.settled("p")).toBe("succeeded");
  expect((await repo.task("p/a")).attempts).toMatchObject([{ cause: "transient" }, { outcome: "succeeded" }]);
});

test("what no plan may be is refused before anything has happened", async () => {
  const task = (more: Fields): Fields => ({ id: "a", agent: "command", prompt: "true", ...more });
  const cases: [Fields, string, RegExp][] = [
    [{ tasks: [task({ dependsOn: ["b"] }), task({ id: "b", dependsOn: ["a"] })] }, "PLAN_CYCLE", /a.*b/],
    [{ tasks: [task({ dependsOn: ["a"] })] }, "PLAN_CYCLE", /a/],
    [{ tasks: [task({}), task({})] }, "PLAN_DUPLICATE_TASK", /"a"/],
    [{ tasks: [task({ dependsOn: ["c"] })] }, "PLAN_UNKNOWN_DEPENDENCY", /"c"/],
    [{ tasks: [task({ agent: "comand" })] }, "PLAN_UNKNOWN_AGENT", /command/],
    [{ tasks: [task({ id: "../x" })] }, "PLAN_INVALID", /id/],
    [{ tasks: [task({ writes: ["../x"] })] }, "PLAN_INVALID", /writes/],
    [{ tasks: [] }, "PLAN_INVALID", /task/],
    [{}, "PLAN_INVALID", /tasks/],
    [{ tasks: [task({})], target: "nowhere" }, "TARGET_NOT_FOUND", /nowhere/],
    [{ tasks: [task({})], target: "orchestrator/x" }, "TARGET_NOT_FOUND", /orchestrator/],
  ];
  for (const [plan, code, words] of cases) {
    const refused = await repo.refusal("create_plan", plan);
    expect([refused.code, plan]).toEqual([code, plan]);
    expect(refused.message).toMatch(words);
  }
  repo.git("checkout", "-q", "--detach");
  expect((await repo.refusal("create_plan", { tasks: [task({})] })).code).toBe("TARGET_DETACHED");
  expect((await repo.status({})).plans).toEqual([]);
  expect(repo.git("for-each-ref", "refs/orchestrator", "refs/heads/orchestrator")).toBe("");
  expect(existsSync(join(ground.home, ".orchestrator", "worktrees"))).toBe(false);
});

test("P6: the log tells of each start, end, error and of the shutdown", async () => {
  await repo.submit("logged", [
    { id: "good", prompt: "true" },
    { id: "bad", prompt: "exit 7" },
    { id: "gone", agent: "command", prompt: "kill -KILL $$", retries: 0 },
  ]);
  await repo.settled("logged");
  await repo.call("stop_engine", {});
  await until("the engine has ended", () => repo.log().includes("The engine has ended"));
  const lines = repo.log();
  for (const line of [
    /spawn .*logged\/good.*started/,
    /exit .*logged\/good.*code 0/,
    /exit .*logged\/bad.*code 7/,
    /exit .*logged\/gone.*SIGKILL/,
    /stopping: asked by a client/,
    /shutdown/,
  ]) {
    expect(lines).toMatch(line);
  }
});
