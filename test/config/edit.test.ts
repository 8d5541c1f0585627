import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Changed, changeSetting, getSetting, trustState } from "../../src/config/index.ts";
import { errorOf, makeScene, readText, type Scene } from "./scene.ts";

function change(
  scene: Scene,
  key: string,
  value: string | null,
  scope: "global" | "project" = "global",
): Promise<Changed> {
  return changeSetting({ home: scene.home, mainWorktree: scene.mainWorktree, scope, key, value });
}

describe("config get", () => {
  test("gives the value that is used and where it comes from", () => {
    const scene = makeScene();
    scene.writeGlobal({ limits: { agents: 6 }, agents: { coder: { model: "m" } } });
    const loaded = scene.load();
    expect(getSetting(loaded, "limits.agents")).toEqual({
      key: "limits.agents",
      value: 6,
      origin: { layer: "global", file: scene.globalFile },
    });
    expect(getSetting(loaded, "agents.coder.model").value).toBe("m");
    expect(getSetting(loaded, "agents.killGraceSeconds")).toMatchObject({ value: 10, origin: { layer: "default" } });
    expect(getSetting(loaded, "workflows.standard.steps[2].agent").value).toBe("tester");
    expect(getSetting(loaded, 'providers["claude"].command').value).toBe("claude");
    expect(Object.keys(getSetting(loaded).value as object)).toContain("agents");
  });

  test("an unknown key names the nearest, and what is no key is refused", async () => {
    const loaded = makeScene().load();
    const error = await errorOf(() => getSetting(loaded, "limits.agnets"));
    expect(error.code).toBe("USAGE");
    expect(error.message).toBe('limits.agnets: there is no such key in limits. Did you mean "agents"?');
    expect((await errorOf(() => getSetting(loaded, "constructor.name"))).message).toContain(
      "no such key in the config",
    );
    for (const key of ["", ".", "a..b", "a.", "[x]", "a b", "verify[", "a".repeat(100_000) + "!"]) {
      const { code, message } = await errorOf(() => getSetting(loaded, key));
      expect(code).toBe("USAGE");
      expect(message.length).toBeLessThan(400);
    }
  });

  test("never shows a secret", () => {
    const scene = makeScene();
    const env = { ANTHROPIC_API_KEY: "sk-ant-1234567890", PLAIN: "hunter2" };
    scene.writeGlobal({
      providers: { claude: { env, args: ["--token", "abc123", "--api-key=zzz999", "sk-live-abcdefgh12"] } },
    });
    const loaded = scene.load();
    const shown = JSON.stringify([getSetting(loaded), getSetting(loaded, "providers.claude")]);
    expect(shown).not.toMatch(/sk-ant|hunter2|abc123|zzz999|sk-live/);
    expect(getSetting(loaded, "providers.claude.env").value).toEqual({
      ANTHROPIC_API_KEY: "(hidden)",
      PLAIN: "(hidden)",
    });
    expect(getSetting(loaded, "providers.claude.args").value).toEqual([
      "--token",
      "(hidden)",
      "--api-key=(hidden)",
      "(hidden)",
    ]);
    expect(loaded.config.providers["claude"]?.env).toEqual(env);
  });
});

describe("config set", () => {
  test("keeps comments, order and indentation, and changes nothing else", async () => {
    const scene = makeScene();
    scene.writeGlobal('{\n\t// how many\n\t"limits": {\n\t\t"agents": 3, // not more\n\t},\n\t"verify": ["a"],\n}\n');
    await change(scene, "limits.agents", "5");
    expect(readText(scene.globalFile)).toBe(
      '{\n\t// how many\n\t"limits": {\n\t\t"agents": 5, // not more\n\t},\n\t"verify": ["a"],\n}\n',
    );
    await change(scene, "merge.strategy", "squash");
    expect(readText(scene.globalFile)).toContain("// not more");
    expect(scene.load().config.merge.strategy).toBe("squash");
  });

  test("makes the file and its folder, the global one for the user alone", async () => {
    const scene = makeScene();
    rmSync(join(scene.mainWorktree, ".orchestrator"), { recursive: true });
    const changed = await change(scene, "limits.agents", "2");
    expect(changed).toEqual({ file: scene.globalFile, key: "limits.agents", value: 2, isTrusted: null });
    expect(readText(scene.globalFile)).toBe('{\n  "limits": {\n    "agents": 2\n  }\n}\n');
    expect(statSync(scene.globalFile).mode & 0o777).toBe(0o600);
    await change(scene, "verify", '["npm test"]', "project");
    expect(statSync(scene.projectFile).mode & 0o777).toBe(0o644);
    expect(scene.load().config).toMatchObject({ verify: ["npm test"], limits: { agents: 2 } });
    expect(readdirSync(scene.home).toSorted()).toEqual(["config.json", "trust.json"]);
    expect(readdirSync(join(scene.mainWorktree, ".orchestrator"))).toEqual(["config.json"]);
  });

  test("takes JSON as JSON where it fits, and as text where only text fits", async () => {
    const scene = makeScene();
    await change(scene, "agents.coder.model", "4");
    await change(scene, "agents.tester.model", '"5"');
    await change(scene, "agents.reviewer.model", "null");
    await change(scene, "agents.coder.provider", '["claude", "codex"]');
    await change(scene, "agents.coder.systemPrompt", "Be brief.\nBe kind.");
    await change(scene, "providers.claude.env.SOME_KEY", "true");
    const { config } = scene.load();
    expect(config.roles["coder"]).toMatchObject({
      model: "4",
      provider: ["claude", "codex"],
      systemPrompt: "Be brief.\nBe kind.",
    });
    expect(config.roles["tester"]?.model).toBe("5");
    expect(config.roles["reviewer"]?.model).toBeNull();
    expect(config.providers["claude"]?.env).toEqual({ SOME_KEY: "true" });
  });

  test("refuses what the config would refuse, before anything is written", async () => {
    const scene = makeScene();
    scene.writeGlobal('{ "limits": { "agents": 3 } } // mine\n');
    const cases: readonly (readonly [string, string, string, string])[] = [
      ["limits.agnets", "3", 'did you mean "agents"?', "CONFIG_INVALID"],
      ["limits.agents", "0", "expected 1 or more, found 0", "CONFIG_INVALID"],
      ["limits.agents", "many", 'expected a number, found "many"', "CONFIG_INVALID"],
      ["limits", "3", "limits: expected an object, found 3", "CONFIG_INVALID"],
      ["agents.coder.provider", "claud", 'there is no provider "claud"; did you mean "claude"?', "PROVIDER_NOT_FOUND"],
      ["providers.x.kind", "acp", "not in this version", "BACKEND_NOT_FOUND"],
      ["workflows.standard.steps[0].agent", "coder", "Set the whole list workflows.standard.steps", "USAGE"],
      ["limits..agents", "3", "is not a key of the config", "USAGE"],
      ["__proto__.agents", "3", "unknown key", "CONFIG_INVALID"],
    ];
    for (const [key, value, expected, code] of cases) {
      const error = await errorOf(() => change(scene, key, value));
      expect(error.message).toContain(expected);
      expect(error.message).not.toContain("the changed config");
      expect(error.code).toBe(code);
    }
    expect(readText(scene.globalFile)).toBe('{ "limits": { "agents": 3 } } // mine\n');
    expect(readdirSync(scene.home)).toEqual(["config.json"]);
  });

  test("does not touch a file that is broken already, and says where", async () => {
    const scene = makeScene();
    scene.writeGlobal('{\n "limits": { "agents": }\n}');
    const error = await errorOf(() => change(scene, "limits.agents", "3"));
    expect(error.message).toContain(`${scene.globalFile}:2:24: expected a value`);
    expect(readText(scene.globalFile)).toBe('{\n "limits": { "agents": }\n}');
  });

  test("null as a value takes the key out again", async () => {
    const scene = makeScene();
    await change(scene, "limits.agents", "9");
    await change(scene, "merge.maxRepairs", "1");
    const changed = await change(scene, "limits.agents", null);
    expect(changed.value).toBeUndefined();
    expect(scene.load().config).toMatchObject({ limits: { agents: 4 }, merge: { maxRepairs: 1 } });
    await change(scene, "engine.idleExitSeconds", null);
    expect(existsSync(scene.globalFile)).toBe(true);
  });

  test("an entry of a list that the file has can be changed", async () => {
    const scene = makeScene();
    scene.writeGlobal({ verify: ["a", "b"] });
    await change(scene, "verify[1]", "npm run lint");
    expect(scene.load().config.verify).toEqual(["a", "npm run lint"]);
    expect((await errorOf(() => change(scene, "verify[2]", "x"))).code).toBe("USAGE");
  });

  test("keeps a byte order mark, CRLF, the file's mode and a symbolic link", async () => {
    const scene = makeScene();
    const real = join(scene.home, "..", "dotfiles.json");
    mkdirSync(scene.home, { recursive: true });
    writeFileSync(real, '\uFEFF{\r\n  "verify": []\r\n}\r\n', { mode: 0o640 });
    symlinkSync(real, scene.globalFile);
    await change(scene, "limits.agents", "2");
    expect(lstatSync(scene.globalFile).isSymbolicLink()).toBe(true);
    expect(statSync(real).mode & 0o777).toBe(0o640);
    expect(readText(real)).toBe('\uFEFF{\r\n  "verify": [],\r\n  "limits": {\r\n    "agents": 2\r\n  }\r\n}\r\n');
  });

  test("the user's own change of a trusted project file stays trusted; an untrusted one is not trusted by it", async () => {
    const scene = makeScene();
    expect((await change(scene, "limits.agents", "2", "project")).isTrusted).toBe(true);
    expect(trustState(scene)).toBe("trusted");
    await change(scene, "limits.agents", "3", "project");
    expect(scene.load().config.limits.agents).toBe(3);
    scene.writeProject({ verify: ["evil"] });
    expect((await change(scene, "limits.agents", "5", "project")).isTrusted).toBe(false);
    expect(trustState(scene)).toBe("changed");
    expect(scene.load().config).toMatchObject({ verify: [], limits: { agents: 4 } });
  });

  test("a project's change is checked against the global file below it", async () => {
    const scene = makeScene();
    scene.writeGlobal({ providers: { local: { kind: "goose" } }, agents: { scribe: { provider: "local" } } });
    await change(scene, "workflows.docs.steps", '[{"agent":"scribe"}]', "project");
    expect(scene.load().config.workflows["docs"]).toEqual({
      steps: [{ agent: "scribe", prompt: null }],
      maxRounds: 2,
    });
    expect((await errorOf(() => change(scene, "agents.tester.provider", "lokal", "project"))).message).toContain(
      '"local"',
    );
  });

  test("without a repository there is no project config, and a link out of it is not written through", async () => {
    const scene = makeScene();
    const options = {
      home: scene.home,
      mainWorktree: null,
      scope: "project",
      key: "limits.agents",
      value: "3",
    } as const;
    expect((await errorOf(() => changeSetting(options))).code).toBe("USAGE");
    const outside = join(scene.home, "..", "outside.json");
    symlinkSync(outside, scene.projectFile);
    expect((await errorOf(() => change(scene, "limits.agents", "3", "project"))).message).toContain("outside");
    expect(existsSync(outside)).toBe(false);
  });

  test("changes made at once are all kept", async () => {
    const scene = makeScene();
    const keys = ["limits.agents", "merge.maxRepairs", "retry.retries", "agents.stallMinutes", "questions.holdSeconds"];
    await Promise.all(keys.map((key) => change(scene, key, "7")));
    const loaded = scene.load();
    expect(keys.map((key) => getSetting(loaded, key).value)).toEqual([7, 7, 7, 7, 7]);
  });
});
