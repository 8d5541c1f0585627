import fc from "fast-check";
import { expect, test } from "vitest";
import { completeConfig } from "../../src/config/complete.ts";
import { DEFAULT_CONFIG } from "../../src/config/defaults.ts";
import { type Config, defaultConfig, pinConfig, usePinnedConfig } from "../../src/config/index.ts";
import type { JsonObject } from "../../src/config/layers.ts";
import { errorOf, makeScene } from "./scene.ts";

const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/);
const words = fc.string({ minLength: 1, maxLength: 12 }).filter((text) => text.trim() !== "" && !/^-|\0/.test(text));
const some = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(value, { nil: undefined });

/** Config files as people could write them; what refers to a name refers to one that is there. */
const configFile: fc.Arbitrary<JsonObject> = fc
  .record({
    providers: some(
      fc.dictionary(
        name,
        fc.record(
          {
            kind: fc.constantFrom("claude", "codex", "goose", "command"),
            command: words,
            args: fc.array(words, { maxLength: 3 }),
            env: fc.dictionary(fc.stringMatching(/^[A-F]{1,5}$/), words, { maxKeys: 3 }),
            passEnv: fc.array(fc.constantFrom("OPENAI_*", "MY_KEY"), { maxLength: 2 }),
            limit: fc.option(fc.integer({ min: 1, max: 50 })),
          },
          { requiredKeys: ["kind"] },
        ),
        { maxKeys: 3 },
      ),
    ),
    roles: some(
      fc.dictionary(
        name,
        fc
          .record(
            {
              provider: fc.constantFrom(null, "claude", "goose", ["codex", "claude"]),
              model: fc.option(words),
              systemPrompt: fc.option(words),
              tools: fc.option(fc.array(words, { maxLength: 3 })),
              permissions: fc.constantFrom("read", "edit", "full"),
            },
            { requiredKeys: [] },
          )
          // Kinds that differ name their tools otherwise.
          .map((role) => (Array.isArray(role.provider) ? { ...role, tools: null } : role)),
        { maxKeys: 3 },
      ),
    ),
    killGraceSeconds: some(fc.integer({ min: 0, max: 600 })),
    verify: some(fc.array(words, { maxLength: 3 })),
    limits: some(fc.record({ agents: fc.integer({ min: 1, max: 99 }) }, { requiredKeys: [] })),
    merge: some(
      fc.record({ strategy: fc.constantFrom("merge", "squash"), maxRepairs: fc.nat(9) }, { requiredKeys: [] }),
    ),
  })
  .map(({ roles, killGraceSeconds, ...rest }) => {
    const agents = { ...roles, ...(killGraceSeconds === undefined ? {} : { killGraceSeconds }) };
    return JSON.parse(JSON.stringify({ ...rest, agents })) as JsonObject;
  });

function complete(value: JsonObject): Config {
  return completeConfig([
    { name: "default", file: null, value: DEFAULT_CONFIG },
    { name: "global", file: null, value },
  ]).config;
}

test("a pinned config survives being stored as JSON: the plan has the config that it was made with", () => {
  fc.assert(
    fc.property(configFile, (file) => {
      const config = complete(file);
      const stored: unknown = JSON.parse(JSON.stringify(pinConfig(config)));
      expect(stored).toEqual(pinConfig(config));
      expect(usePinnedConfig(stored, config)).toEqual(config);
    }),
    { numRuns: 300 },
  );
});

test("limits, notices and the environment are those of the day, all else is pinned", () => {
  const then = complete({
    limits: { agents: 2 },
    verify: ["old"],
    providers: {
      claude: { env: { TOKEN: "old-secret" }, limit: 1, args: ["--x"] },
      gone: { kind: "goose", env: { A: "b" } },
    },
  });
  const today = complete({
    limits: { agents: 9 },
    verify: ["new"],
    providers: { claude: { env: { TOKEN: "new-secret" }, limit: 7, args: ["--y"] } },
  });
  const used = usePinnedConfig(pinConfig(then), today);
  expect(used).toMatchObject({ limits: { agents: 9 }, verify: ["old"] });
  expect(used.providers["claude"]).toMatchObject({ env: { TOKEN: "new-secret" }, limit: 7, args: ["--x"] });
  expect(used.providers["gone"]).toMatchObject({ kind: "goose", env: {}, limit: null });
});

test("no value of a variable is in what is stored", () => {
  const scene = makeScene();
  scene.writeGlobal({ providers: { claude: { env: { ANTHROPIC_API_KEY: "sk-ant-secret" } } } });
  expect(JSON.stringify(pinConfig(scene.load().config))).not.toContain("sk-ant-secret");
});

test("a config stored by another version is still read", async () => {
  const config = defaultConfig();
  const { merge: _, ...older } = pinConfig(config);
  expect(usePinnedConfig(older, config)).toEqual(config);
  const newer = { ...pinConfig(config), futureThing: 1, writes: { undeclared: "fail", later: true } };
  expect(usePinnedConfig(newer, config).writes).toEqual({ undeclared: "fail" });
  for (const broken of [null, 3, [], "x"]) {
    expect((await errorOf(() => usePinnedConfig(broken, config))).code).toBe("STATE_UNUSABLE");
  }
});
