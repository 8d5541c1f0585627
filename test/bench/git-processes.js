// How many git processes one `command` task costs from its start to the folder's end: each is some milliseconds of a
// core, on every task of every plan. A count, so it is the same on every machine. DESIGN 6.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { atMost } from "./figures.js";
import { Ground } from "./ground.js";

export const title = "git processes a command task";

const TASKS = 10;
const PROMISED = 20;

export async function measure() {
  const ground = new Ground();
  const calls = join(ground.folder, "calls");
  const git = execFileSync("/bin/sh", ["-c", "command -v git"], { encoding: "utf8" }).trim();
  ground.program("git", `#!/bin/sh\necho "$@" >> '${calls}'\nexec ${git} "$@"\n`);
  try {
    await ground.connect();
    // The first task of an engine also finds out what stays known.
    await ground.run("first", [{ id: "only", prompt: "echo first > first" }]);
    const inRow = (name, prompt) =>
      Array.from({ length: TASKS }, (_, index) => ({
        id: `${name}${index}`,
        prompt: prompt(index),
        dependsOn: index === 0 ? [] : [`${name}${index - 1}`],
      }));
    const counted = async (name, prompt) => {
      writeFileSync(calls, "");
      await ground.run(name, inRow(name, prompt));
      return readFileSync(calls, "utf8").trimEnd().split("\n").length / TASKS;
    };
    const written = await counted("write", (index) => `echo ${index} > file-${index}`);
    const idle = await counted("look", () => "true");
    return [
      atMost("one that leaves a file uncommitted", written, PROMISED),
      { name: "one that changes nothing", figure: String(idle) },
    ];
  } finally {
    await ground.leave();
  }
}
