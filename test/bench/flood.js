// One agent that prints as fast as it can beside ten quiet ones. What the flood may cost: memory of the engine, disk, and
// the time from a quiet agent's line to the client that listens. A stand-in for Claude Code prints the lines: each line
// of a quiet one names a new session, which the engine stores and tells its clients, and the session's id is the time.
//
// Memory is the kernel's high-water mark of the engine's resident memory (set back just before) against what it was
// with the ten quiet ones alone, after a small flood that has grown V8's heap to its working size. A flood of each shape
// is a case of its own, in an engine of its own. `BENCH_FLOOD_MEBIBYTES` names another size.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { atMost, percentile } from "./figures.js";
import { diskUse, Ground, MEBIBYTE, mebibytes, memoryOf, pause, resetPeak } from "./ground.js";
import { until } from "../support/until.js";

export const title = "A flood beside ten quiet agents";

const FLOOD_BYTES = Number(process.env["BENCH_FLOOD_MEBIBYTES"] ?? 1024) * MEBIBYTE;
const SHAPES = ["short-lines", "one-line", "json-lines", "huge-json", "stderr", "command"];
const QUIET = 10;
const MOST_GROWTH_BYTES = 64 * MEBIBYTE;
const MOST_DELAY_RATIO = 3;
/** Of both streams of an attempt, and what the store keeps of its words: see output-log.ts and attempt-history.ts. */
const DISK_CAP_BYTES = (8 + 8 + 4) * MEBIBYTE;
/** A line of each quiet agent comes this often: each is a transaction that waits for the disk, so more are no longer quiet. */
const QUIET_EVERY_MS = 300;
const ALONE_MS = 12_000;
/** Below this the difference between two schedulings of the kernel is all that is measured. */
const LEAST_DELAY_MS = 2;

const standIn = fileURLToPath(new URL("flooding-claude.js", import.meta.url));

export async function measure() {
  const rows = [];
  const only = process.env["BENCH_SHAPES"]?.split(",") ?? SHAPES;
  for (const shape of only) rows.push(...(await floodOf(shape)));
  return rows;
}

async function floodOf(shape) {
  const provider = { command: process.execPath, args: [standIn], passEnv: [] };
  const ground = new Ground({ limits: { agents: QUIET + 1 }, providers: { claude: provider } });
  const stop = join(ground.folder, "stop");
  try {
    await ground.connect();
    const delays = [];
    await ground.listen(({ body }) => {
      if (body.type !== "attempt-session") return;
      const [, sentAtMs] = /^at-([\d.]+)$/.exec(body.sessionId) ?? [];
      if (sentAtMs !== undefined) delays.push(Date.now() - Number(sentAtMs));
    });
    const quiet = Array.from({ length: QUIET }, (_, index) => ({
      id: `quiet${index}`,
      agent: "coder",
      merge: "none",
      prompt: JSON.stringify({ quietUntil: stop, everyMs: QUIET_EVERY_MS }),
    }));
    await ground.call("create_plan", { name: "quiet", tasks: quiet, maxConcurrent: QUIET });
    await until("the quiet agents are heard", () => delays.length > 5 * QUIET);
    await ground.run("small", [flood(shape, 64 * MEBIBYTE, "small")]);
    const pid = ground.enginePid();
    await pause(2000);
    const alone = await during(delays, () => pause(ALONE_MS));
    const before = memoryOf(pid).residentBytes;
    const diskBefore = diskUse(ground.stateDir);
    resetPeak(pid);
    const beganMs = performance.now();
    const crowded = await during(delays, () => ground.run("flood", [flood(shape, FLOOD_BYTES, "flood")]));
    const seconds = (performance.now() - beganMs) / 1000;
    const growth = memoryOf(pid).peakBytes - before;
    const disk = diskUse(ground.stateDir) - diskBefore;
    writeFileSync(stop, "");
    await ground.settled("quiet");
    const ratio = Math.max(percentile(crowded, 99), LEAST_DELAY_MS) / Math.max(percentile(alone, 99), LEAST_DELAY_MS);
    const ms = (values, percent) => percentile(values, percent).toFixed(1);
    return [
      { name: `${shape}: ${mebibytes(FLOOD_BYTES)}`, figure: `${seconds.toFixed(1)} s` },
      {
        name: `${shape}: delays alone, median, 99th (${alone.length})`,
        figure: `${ms(alone, 50)}, ${ms(alone, 99)} ms`,
      },
      { name: `${shape}: delays beside it (${crowded.length})`, figure: `${ms(crowded, 50)}, ${ms(crowded, 99)} ms` },
      atMost(`${shape}: 99th of delays ÷ alone`, ratio, MOST_DELAY_RATIO, (value) => value.toFixed(2)),
      atMost(`${shape}: peak of resident memory above before`, growth, MOST_GROWTH_BYTES, mebibytes),
      atMost(`${shape}: disk`, disk, DISK_CAP_BYTES, mebibytes),
    ];
  } finally {
    writeFileSync(stop, "");
    await ground.leave();
  }
}

function flood(shape, bytes, id) {
  const task = { id, merge: "none" };
  if (shape !== "command") return { ...task, agent: "coder", prompt: JSON.stringify({ shape, bytes }) };
  return {
    ...task,
    prompt: `yes 'a line of a build log, some eighty characters wide, again and again' | head -c ${bytes}`,
  };
}

async function during(delays, work) {
  const from = delays.length;
  await work();
  return delays.slice(from);
}
