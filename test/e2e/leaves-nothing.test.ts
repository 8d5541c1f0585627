/** What agents leave behind in an engine that lives on, counted from outside. `npm run bench -- agents` has more of them. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted, type Repo } from "./engine-support.ts";
import { childrenOf, commandLine, isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
beforeEach(() => {
  ground = new Ground({ limits: { agents: 16 } });
  repo = ground.main;
});
afterEach(async () => {
  await ground.leave();
});

/** What each open descriptor of the engine is, numbers of pipes and sockets left out, and its clients' sockets. */
function descriptors(): string[] {
  const folder = `/proc/${repo.enginePid()}/fd`;
  return readdirSync(folder)
    .flatMap((name) => {
      try {
        return [readlinkSync(join(folder, name)).replace(/\d+/g, "N")];
      } catch {
        return [];
      }
    })
    .sort();
}

/** Children of the engine that are dead and nobody waited for. */
function zombies(): number[] {
  return childrenOf(repo.enginePid()).filter((pid) => !isAlive(pid));
}

test("B7 S1: of sixty agents in a row and sixteen at once no zombie, no process and no descriptor is left in the engine", async () => {
  const inRow = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ id: `t${index}`, prompt: "echo words; cat /dev/null; true" }));
  await repo.submit("first", inRow(3), { maxConcurrent: 1 });
  expect(await repo.settled("first")).toBe("succeeded");
  const before = descriptors();
  const guards = repo.guardPids();
  await repo.submit("row", inRow(60), { maxConcurrent: 1 });
  expect(await repo.settled("row", 150_000)).toBe("succeeded");
  const mark = quoted(join(ground.traces, "all"));
  const together = Array.from({ length: 16 }, (_, index) => ({
    id: `t${index}`,
    prompt: `echo . >> ${mark}\nwhile [ $(wc -l < ${mark}) -lt 16 ]; do sleep 0.1; done; echo words >&2`,
  }));
  await repo.submit("crowd", together, { maxConcurrent: 16 });
  expect(await repo.settled("crowd", 60_000)).toBe("succeeded");
  await until(
    "the engine has but its guard",
    () => childrenOf(repo.enginePid()).length === guards.length,
    () => childrenOf(repo.enginePid()).map(commandLine).join("\n"),
  );
  expect(zombies()).toEqual([]);
  await until(
    "its descriptors are as before",
    () => descriptors().join("\n") === before.join("\n"),
    () => JSON.stringify({ before, now: descriptors() }),
  );
});

test("a command task costs at most twenty processes of git", async () => {
  const programs = join(ground.folder, "programs");
  const calls = join(ground.traces, "calls");
  const git = execFileSync("/bin/sh", ["-c", "command -v git"], { encoding: "utf8" }).trim();
  mkdirSync(programs);
  writeFileSync(join(programs, "git"), `#!/bin/sh\necho "$*" >> ${quoted(calls)}\nexec ${git} "$@"\n`);
  chmodSync(join(programs, "git"), 0o755);
  const path = [programs, ground.environment["PATH"]].join(delimiter);
  await repo.client({ environment: { ...ground.environment, PATH: path } });
  await repo.submit("first", [{ id: "only", prompt: "echo first > first" }]);
  expect(await repo.settled("first")).toBe("succeeded");
  const before = ground.trace("calls").length;
  const chain = [0, 1, 2, 3, 4].map((index) => ({
    id: `t${index}`,
    prompt: `echo ${index} > file-${index}`,
    dependsOn: index === 0 ? [] : [`t${index - 1}`],
  }));
  await repo.submit("chain", chain);
  expect(await repo.settled("chain")).toBe("succeeded");
  const used = ground.trace("calls").slice(before);
  // Beside the tasks: the plan's own ref, and who the commits are by, read now and then.
  expect(used.length, used.join("\n")).toBeLessThanOrEqual(5 * 20 + 5);
});
