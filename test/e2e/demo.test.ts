/** `npm run demo`: what it promises, it looks at itself; here that it keeps it, quickly, and leaves nothing behind. */
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { jsonLines, openCliScene } from "../cli/cli-scene.ts";

const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("orchestrator-demo-"));

describe("the demo", () => {
  test("keeps every promise, shows graph and history, and cleans up; the user's own home is not touched", async () => {
    const scene = openCliScene({ repository: "none" });
    try {
      const before = leftovers();
      const { code, stdout, stderr } = await scene.run(["demo"]);
      expect(stderr).toBe("");
      expect(stdout).not.toContain("✗ ");
      expect(stdout.match(/^✓ /gm)?.length).toBeGreaterThanOrEqual(8);
      expect(stdout).toContain("└─ ");
      expect(stdout).toMatch(/^\*.* Merge build/m);
      expect(stdout).toMatch(/waiting \(lock\)/);
      expect(stdout).toContain("attempt 1 failed");
      expect(code).toBe(0);
      expect(leftovers()).toEqual(before);
      expect(existsSync(`${scene.folder}/home`)).toBe(false);
    } finally {
      await scene.leave();
    }
  });

  test("Ctrl-C ends it in order: 130, and nothing is left", async () => {
    const scene = openCliScene({ repository: "none" });
    try {
      const before = leftovers();
      const { child, result, says } = scene.start(["demo"]);
      await says("layout running");
      child.kill("SIGINT");
      expect((await result).code).toBe(130);
      expect(leftovers()).toEqual(before);
    } finally {
      await scene.leave();
    }
  });

  test("--json ends with a summary that has the promises", async () => {
    const scene = openCliScene({ repository: "none" });
    try {
      const { code, stdout } = await scene.run(["demo", "--json"]);
      const last = jsonLines(stdout).at(-1) as { promises: { problem: string | null }[] };
      expect(last.promises.map(({ problem }) => problem)).toEqual(last.promises.map(() => null));
      expect(code).toBe(0);
    } finally {
      await scene.leave();
    }
  });
});
