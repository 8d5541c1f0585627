import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BACKEND_KINDS } from "../../src/agents/backend.ts";
import {
  defaultConfig,
  loadConfig,
  orchestratorHome,
  PROVIDER_KINDS,
  resolveProviders,
  resolveAutoProvider,
  roleNamed,
  worktreesRoot,
} from "../../src/config/index.ts";
import { errorOf, makeScene } from "./scene.ts";

describe("without any file", () => {
  test("A2: the roles orchestrator, coder, reviewer, tester and command are there", () => {
    const { config, projectFile, warnings } = makeScene().load();
    expect(Object.keys(config.roles)).toEqual(["orchestrator", "coder", "reviewer", "tester", "command"]);
    expect(config.roles["reviewer"]).toMatchObject({ provider: null, permissions: "read", model: null, tools: null });
    expect(config.roles["coder"]).toMatchObject({ provider: null, permissions: "edit" });
    expect(config.roles["command"]).toMatchObject({ provider: "command", systemPrompt: null });
    for (const name of ["orchestrator", "coder", "reviewer", "tester"]) {
      expect(config.roles[name]?.systemPrompt?.length).toBeGreaterThan(100);
    }
    expect(projectFile.state).toBe("none");
    expect(warnings).toEqual([]);
  });

  test("A1: providers claude, codex, goose and command are there, of kinds that backends have", () => {
    const { providers } = defaultConfig();
    expect(providers["claude"]).toEqual({
      kind: "claude",
      command: "claude",
      args: [],
      env: {},
      passEnv: [],
      limit: null,
      prices: {},
    });
    expect(providers["command"]).toMatchObject({ kind: "command", command: "/bin/sh" });
    expect([...PROVIDER_KINDS]).toEqual([...BACKEND_KINDS]);
  });

  test("numbers are those that the design fixes", () => {
    const config = defaultConfig();
    expect(config.limits.agents).toBe(4);
    expect(config.agents).toMatchObject({ killGraceSeconds: 10, maxContinuations: 5 });
    expect(config.retry).toMatchObject({ retries: 3, circuit: { failures: 5, openSeconds: 60 } });
    expect(config.retry.usageProbeMinutes).toEqual([5, 15, 30, 60]);
    expect(config.engine).toEqual({ onLastClientExit: "continue", idleExitSeconds: 300, minFreeMegabytes: 64 });
    expect(config.questions).toMatchObject({ holdSeconds: 50, route: ["memory", "parent", "orchestrator", "human"] });
    expect(config.merge).toMatchObject({ strategy: "merge", conflicts: "resolve", maxRepairs: 2 });
    expect(config.writes.undeclared).toBe("warn");
    expect(config.workflows["standard"]).toEqual({
      steps: ["coder", "reviewer", "tester"].map((agent) => ({ agent, prompt: null })),
      maxRounds: 2,
    });
  });

  test("a role without a provider gets the first of claude, codex, goose that is found", () => {
    const config = defaultConfig();
    expect(resolveAutoProvider(config, { claude: true, codex: true, goose: true })).toBe("claude");
    expect(resolveAutoProvider(config, { claude: false, codex: true, goose: true })).toBe("codex");
    expect(resolveAutoProvider(config, { claude: false, codex: false, goose: true })).toBe("goose");
    expect(resolveAutoProvider(config, { claude: false, codex: false, goose: false })).toBeNull();
  });
});

describe("layers", () => {
  test("A4: the project's file wins over the global one, key by key; lists are replaced", async () => {
    const scene = makeScene();
    scene.writeGlobal({
      limits: { agents: 8 },
      verify: ["npm test", "npm run lint"],
      agents: { coder: { provider: "codex", model: "big" }, killGraceSeconds: 3 },
      retry: { circuit: { failures: 9 } },
    });
    scene.writeProject({
      verify: ["make"],
      agents: { coder: { model: "small" } },
      retry: { circuit: { openSeconds: 5 } },
    });
    await scene.trust();
    const { config, origins } = scene.load();
    expect(config.verify).toEqual(["make"]);
    expect(config.roles["coder"]).toMatchObject({ provider: "codex", model: "small", permissions: "edit" });
    expect(config.retry.circuit).toEqual({ failures: 9, openSeconds: 5 });
    expect(config.limits.agents).toBe(8);
    expect(config.agents.killGraceSeconds).toBe(3);

    expect(origins.origin("limits.agents")).toEqual({ layer: "global", file: scene.globalFile });
    expect(origins.origin("verify")).toEqual({ layer: "project", file: scene.projectFile });
    expect(origins.origin("verify[0]")).toEqual({ layer: "project", file: scene.projectFile });
    expect(origins.origin("agents.coder.provider").layer).toBe("global");
    expect(origins.origin("agents.coder.model").layer).toBe("project");
    expect(origins.origin("agents.coder.permissions")).toEqual({ layer: "default", file: null });
    expect(origins.origin("retry.circuit").layer).toBe("project");
    expect(origins.origin("retry.circuit.failures").layer).toBe("global");
    expect(origins.origin("merge.strategy").layer).toBe("default");
  });

  test("A3: roles of one config can have different providers and models", () => {
    const scene = makeScene();
    scene.writeGlobal({
      providers: { local: { kind: "goose", env: { OLLAMA_HOST: "http://127.0.0.1:11434" }, limit: 1 } },
      agents: {
        coder: { provider: "codex", model: "m1" },
        reviewer: { provider: ["claude", "local"], model: "m2" },
        scribe: { provider: "local", tools: ["developer"] },
      },
    });
    const { config } = scene.load();
    expect(config.providers["local"]).toMatchObject({ kind: "goose", command: "goose", limit: 1, passEnv: [] });
    const chosen = (role: string, ...installed: readonly string[]): readonly string[] =>
      resolveProviders(roleNamed(config, role), "goose", (name) => installed.includes(name));
    expect(chosen("coder", "claude")).toEqual(["codex"]);
    expect(chosen("reviewer", "claude", "local")).toEqual(["claude", "local"]);
    expect(chosen("reviewer", "codex", "local")).toEqual(["local"]);
    expect(chosen("reviewer", "codex")).toEqual(["claude", "local"]);
    expect(chosen("tester")).toEqual(["goose"]);
    expect(roleNamed(config, "scribe")).toEqual({
      provider: "local",
      model: null,
      systemPrompt: null,
      tools: ["developer"],
      permissions: "edit",
      push: false,
    });
  });

  test("null takes a value of a lower layer away", async () => {
    const scene = makeScene();
    scene.writeGlobal({ agents: { coder: { model: "m1", systemPrompt: "x" } } });
    scene.writeProject({ agents: { coder: { model: null } } });
    await scene.trust();
    expect(scene.load().config.roles["coder"]).toMatchObject({ model: null, systemPrompt: "x" });
  });

  test("a provider's program follows its kind unless it is named", () => {
    const scene = makeScene();
    scene.writeGlobal({ providers: { claude: { kind: "codex" }, mine: { kind: "claude", command: "/opt/claude" } } });
    const { providers } = scene.load().config;
    expect(providers["claude"]).toMatchObject({ kind: "codex", command: "codex" });
    expect(providers["mine"]?.command).toBe("/opt/claude");
  });

  test("comments, trailing commas, a byte order mark, CRLF and $schema are fine; so is an empty file", () => {
    const scene = makeScene();
    scene.writeGlobal('\uFEFF{\r\n  "$schema": "x.json", // why\r\n  /* more */ "limits": { "agents": 2, },\r\n}\r\n');
    expect(scene.load().config.limits.agents).toBe(2);
    scene.writeGlobal("");
    expect(scene.load().config.limits.agents).toBe(4);
    scene.writeGlobal("// nothing yet\n");
    expect(scene.load().config.limits.agents).toBe(4);
  });

  test("a config can't be changed by who reads it, and inherited names are no roles", async () => {
    const { config } = makeScene().load();
    expect(() => Object.assign(config.limits, { agents: 99 })).toThrow(TypeError);
    expect(() => Object.assign(config.workflows["standard"]?.steps ?? [], { 0: {} })).toThrow(TypeError);
    for (const name of ["constructor", "__proto__", "toString"]) {
      expect(config.roles[name]).toBeUndefined();
      expect(config.providers[name]).toBeUndefined();
      expect(config.workflows[name]).toBeUndefined();
    }
    expect((await errorOf(() => roleNamed(config, "codre"))).message).toContain('Did you mean "coder"?');
  });
});

describe("a wrong file is refused with file, line and column", () => {
  const cases: readonly (readonly [what: string, text: string, expected: string, code?: string])[] = [
    [
      "an unknown key",
      '{\n  "limits": { "agnets": 3 }\n}',
      ':2:15: limits.agnets: unknown key; did you mean "agents"?',
    ],
    ["an unknown section", '{ "limit": {} }', ':1:3: limit: unknown key; did you mean "limits"?'],
    ["a key of a provider", '{"providers":{"claude":{"comand":"x"}}}', 'unknown key; did you mean "command"?'],
    ["a key of a role", '{"agents":{"coder":{"modle":"x"}}}', 'agents.coder.modle: unknown key; did you mean "model"?'],
    ["a misspelt setting beside roles", '{"agents":{"stalMinutes":5}}', 'did you mean "stallMinutes"?'],
    ["a setting in another case", '{"agents":{"stallminutes":{}}}', 'did you mean "stallMinutes"?'],
    ["a wrong type", '{"limits":{"agents":"four"}}', 'limits.agents: expected a number, found "four"'],
    ["zero agents", '{"limits":{"agents":0}}', "limits.agents: expected 1 or more, found 0"],
    ["part of an agent", '{"limits":{"agents":1.5}}', "limits.agents: expected a whole number, found 1.5"],
    ["a number beyond all", '{"limits":{"agents":1e999}}', "limits.agents: expected"],
    ["a wrong word", '{"merge":{"strategy":"sqash"}}', 'did you mean "squash"?'],
    ["a list for an object", '{"limits":[]}', "limits: expected an object, found an empty list"],
    ["not an object", "[1]", "the config: expected an object, found a list of 1"],
    ["an empty command", '{"verify":[" "]}', "verify[0]: must not be empty"],
    ["a NUL character", '{"verify":["a\\u0000b"]}', "verify[0]: must not hold a NUL character"],
    [
      "a model that is an option",
      '{"agents":{"coder":{"model":"--yolo"}}}',
      "agents.coder.model: must not begin with `-`",
    ],
    ["a path outside", '{"worktree":{"copy":["../x"]}}', "worktree.copy[0]: must not leave the repository"],
    ["an absolute path", '{"worktree":{"link":["/etc"]}}', "worktree.link[0]: expected a path relative"],
    ["a relative root", '{"worktree":{"root":"trees"}}', "worktree.root: expected an absolute path"],
    [
      "a name with a space",
      '{"providers":{"my llm":{"kind":"goose"}}}',
      'providers["my llm"]: not a name that can be used',
    ],
    ["a role with a dot", '{"agents":{"a.b":{}}}', 'agents["a.b"]: a role\'s name begins with a letter'],
    ["git's variables", '{"providers":{"claude":{"env":{"GIT_DIR":"x"}}}}', "GIT_* and ORCHESTRATOR_* are set by"],
    [
      "a pass for everything",
      '{"providers":{"claude":{"passEnv":["*"]}}}',
      "expected the name of an environment variable, or PREFIX_*",
    ],
    [
      "a step twice in the route",
      '{"questions":{"route":["human","human"]}}',
      "questions.route: each may stand in the route only once",
    ],
    ["a key twice", '{\n "verify": [],\n "verify": ["x"]\n}', ":3:2: this key stands twice in one object"],
    ["__proto__", '{"__proto__":{"limits":{"agents":1}}}', "unknown key"],
    ["a missing comma", '{\n  "verify": []\n  "merge": {}\n}', ":3:3: expected a comma"],
    ["an open brace", '{"limits": {"agents": 3}', ":1:25: an object is not closed"],
    ["a bare word", '{"verify": [npm]}', ":1:13: not JSON"],
    ["more after the end", "{} {}", ":1:4: expected the end of the file"],
    [
      "back-off the wrong way",
      '{"retry":{"baseMs":9000,"maxMs":10}}',
      "retry.maxMs: expected at least retry.baseMs (9000), found 10",
    ],
    [
      "an unknown role in a workflow",
      '{"workflows":{"w":{"steps":[{"agent":"codr"}]}}}',
      'workflows.w.steps[0].agent: there is no role "codr"; did you mean "coder"?',
    ],
    ["a workflow without steps", '{"workflows":{"w":{}}}', 'workflows.w: missing "steps"'],
    [
      "a follow-up's workflow",
      '{"followUps":[{"on":"merge","prompt":"x","workflow":"standart"}]}',
      'there is no workflow "standart"; did you mean "standard"?',
    ],
    [
      "a follow-up without a prompt",
      '{"followUps":[{"on":"merge"}]}',
      "followUps[0].prompt: missing; expected a string",
    ],
    [
      "a provider without a kind",
      '{"providers":{"cluade":{"limit":1}}}',
      'providers.cluade: missing "kind": how the program is driven (claude, codex, goose, command); or is "claude" meant?',
    ],
    [
      "an unknown provider",
      '{\n "agents": {\n  "coder": { "provider": "claud" } } }',
      ':3:14: agents.coder.provider: there is no provider "claud"; did you mean "claude"?',
      "PROVIDER_NOT_FOUND",
    ],
    [
      "an unknown provider in a chain",
      '{"agents":{"coder":{"provider":["claude","gose"]}}}',
      'agents.coder.provider[1]: there is no provider "gose"',
      "PROVIDER_NOT_FOUND",
    ],
    [
      "B1: an unknown kind",
      '{"providers":{"x":{"kind":"claud"}}}',
      'providers.x.kind: expected "claude", "codex", "goose" or "command", found "claud"; did you mean "claude"?',
      "BACKEND_NOT_FOUND",
    ],
    [
      "B1: a kind to come",
      '{"providers":{"x":{"kind":"acp"}}}',
      '"acp" agents are not in this version',
      "BACKEND_NOT_FOUND",
    ],
  ];
  for (const [what, text, expected, code = "CONFIG_INVALID"] of cases) {
    test(what, async () => {
      const scene = makeScene();
      scene.writeGlobal(text);
      const error = await errorOf(() => scene.load());
      expect(error.message).toContain(expected);
      expect(error.message.startsWith(`${scene.globalFile}:`)).toBe(true);
      expect(error.code).toBe(code);
      expect(error.details).toMatchObject({
        file: scene.globalFile,
        line: expect.any(Number),
        column: expect.any(Number),
      });
    });
  }

  test("every problem is told, not only the first", async () => {
    const scene = makeScene();
    scene.writeGlobal({ limits: { agents: 0 }, merge: { strategy: 1 }, nope: 1 });
    const { message, details } = await errorOf(() => scene.load());
    expect(message.split("\n")).toHaveLength(3);
    expect(details["problems"]).toHaveLength(3);
  });

  test("a problem that comes from two files names the one that has the value", async () => {
    const scene = makeScene();
    scene.writeGlobal({ agents: { coder: { provider: "local" } }, providers: { local: { kind: "goose" } } });
    scene.writeProject('{\n  "agents": { "tester": { "provider": "lokal" } }\n}');
    await scene.trust();
    const error = await errorOf(() => scene.load());
    expect(error.message).toContain(`${scene.projectFile}:2:27: agents.tester.provider`);
    expect(error.message).toContain('did you mean "local"?');
  });

  test("a secret in the wrong place is not repeated", async () => {
    const scene = makeScene();
    scene.writeGlobal({
      providers: { claude: { env: { ANTHROPIC_API_KEY: 123456789, "B AD": "sk-secret" }, args: [987654321] } },
    });
    const error = await errorOf(() => scene.load());
    expect(error.message).toContain("providers.claude.env.ANTHROPIC_API_KEY: expected a string");
    expect(error.message + JSON.stringify(error.details)).not.toMatch(/123456789|987654321|sk-secret/);
    scene.writeGlobal({ providers: { claude: { env: "sk-secret" } } });
    expect((await errorOf(() => scene.load())).message).not.toContain("sk-secret");
  });
});

describe("a file that is no file", () => {
  test("a folder, a pipe, one without permission, one of 50 MB, not UTF-8, UTF-16, endless nesting", async () => {
    const scene = makeScene();
    const refused = async (): Promise<string> => {
      const error = await errorOf(() => scene.load());
      expect(error.code).toBe("CONFIG_INVALID");
      expect(error.message).toContain(scene.globalFile);
      rmSync(scene.globalFile, { recursive: true, force: true });
      return error.message;
    };
    mkdirSync(scene.globalFile, { recursive: true });
    expect(await refused()).toContain("is a folder");
    execFileSync("mkfifo", [scene.globalFile]);
    expect(await refused()).toContain("is not a regular file");
    symlinkSync("/dev/zero", scene.globalFile);
    expect(await refused()).toContain("is not a regular file");
    writeFileSync(scene.globalFile, `{"verify":["${"x".repeat(50_000_000)}"]}`);
    expect(await refused()).toContain("at most 1048576 are read");
    writeFileSync(scene.globalFile, Buffer.from([0x7b, 0xff, 0x7d]));
    expect(await refused()).toContain("is not UTF-8 text");
    writeFileSync(scene.globalFile, Buffer.from('{"verify":[]}', "utf16le"));
    expect(await refused()).toContain("has a NUL character in line 1");
    scene.writeGlobal("[".repeat(900_000));
    expect(await refused()).toContain(":1:65: nested more than 64 levels deep");
    symlinkSync(scene.globalFile, scene.globalFile);
    expect(await refused()).toContain("can't be read");
  });

  test.skipIf(process.getuid?.() === 0)("a file that may not be read says so", async () => {
    const scene = makeScene();
    scene.writeGlobal({});
    chmodSync(scene.globalFile, 0);
    expect((await errorOf(() => scene.load())).message).toContain("permission denied");
  });

  test("a project's config that points out of the repository is refused", async () => {
    const scene = makeScene();
    scene.writeGlobal({});
    symlinkSync(scene.globalFile, scene.projectFile);
    expect((await errorOf(() => scene.load())).message).toContain("symbolic link to outside of the repository");
    rmSync(scene.projectFile);
    writeFileSync(join(scene.mainWorktree, "shared.json"), '{"verify":["x"]}');
    symlinkSync("../shared.json", scene.projectFile);
    await scene.trust();
    expect(scene.load().config.verify).toEqual(["x"]);
  });
});

describe("warnings", () => {
  test("A1: a value that this version does not do is told with its place; one that it does is not", () => {
    const scene = makeScene();
    scene.writeGlobal({ agents: { isolation: "none" }, merge: { strategy: "merge", conflicts: "manual" } });
    expect(scene.load().warnings).toEqual([]);
    scene.writeGlobal({
      agents: { isolation: "pid-namespace" },
      merge: { strategy: "squash", conflicts: "ours" },
      notify: {},
    });
    const { warnings } = scene.load();
    for (const key of ["agents.isolation", "merge.strategy", "merge.conflicts", "notify"]) {
      expect(warnings).toContainEqual(expect.stringMatching(`:\\d+:\\d+: ${key}: has no effect`));
    }
  });

  test("a model and a provider from different files, a secret in args, keys without meaning", async () => {
    const scene = makeScene();
    scene.writeGlobal({
      providers: { codex: { args: ["--api-key", "sk-abcdefghijkl"] } },
      agents: { coder: { provider: "claude", model: "opus" }, command: { model: "m" } },
    });
    scene.writeProject({ agents: { coder: { provider: "codex" } } });
    await scene.trust();
    const { warnings } = scene.load();
    expect(warnings).toHaveLength(3);
    expect(warnings.join("\n")).toContain('the model "opus" from');
    expect(warnings.join("\n")).toContain("agents.command.model: has no meaning for a provider of kind command");
    expect(warnings.join("\n")).toContain("looks like a secret on a command line");
    expect(warnings.join("\n")).not.toContain("sk-abc");
    expect(warnings[0]?.startsWith(`${scene.globalFile}:`)).toBe(true);
  });
});

test("the home is ORCHESTRATOR_HOME or in the user's, and worktrees lie there unless told otherwise", async () => {
  expect(orchestratorHome({}, "/home/me")).toBe("/home/me/.orchestrator");
  expect(orchestratorHome({ ORCHESTRATOR_HOME: "/srv/o" }, "/home/me")).toBe("/srv/o");
  expect((await errorOf(() => orchestratorHome({ ORCHESTRATOR_HOME: "rel" }))).code).toBe("USAGE");
  const scene = makeScene();
  expect(worktreesRoot(scene.load().config, scene.home, "/home/me")).toBe(join(scene.home, "worktrees"));
  scene.writeGlobal({ worktree: { root: "~/trees" } });
  expect(worktreesRoot(scene.load().config, scene.home, "/home/me")).toBe("/home/me/trees");
});

test("outside of a repository only the global file counts", () => {
  const scene = makeScene();
  scene.writeGlobal({ limits: { agents: 2 } });
  const loaded = loadConfig({ home: scene.home, mainWorktree: null });
  expect(loaded.config.limits.agents).toBe(2);
  expect(loaded.projectFile).toEqual({ path: null, state: "none" });
});
