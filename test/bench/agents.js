// What many agents leave behind in the engine: 1,000 in a row, and 64 at once. Zombies, descriptors and resident memory
// are read in /proc before and after. "Before" is after the first 50 in a row and 64 at once: an engine that has just
// started has neither loaded all its code nor grown V8's heap to what one agent needs. Each reading is the median of some
// seconds in which nothing runs; V8 then gives back what it can, nobody tells it to. `BENCH_AGENTS` names another number.
import { atMost, median } from "./figures.js";
import { descriptorsOf, Ground, mebibytes, memoryOf, pause, processesBelow } from "./ground.js";
import { until } from "../support/until.js";

export const title = "What agents leave behind";

const IN_ROW = Number(process.env["BENCH_AGENTS"] ?? 1000);
const AT_ONCE = 64;
const WARM_UP = 50;
const MOST_GROWTH = 1.2;
/** V8's memory reducer acts some seconds after the last work. */
const QUIET_SECONDS = 15;

export async function measure() {
  const ground = new Ground({ limits: { agents: AT_ONCE } });
  try {
    await ground.connect();
    await inRow(ground, "warm-row", WARM_UP);
    await atOnce(ground, "warm-crowd", AT_ONCE);
    const before = await readAtRest(ground);
    await inRow(ground, "row", IN_ROW);
    const afterRow = await readAtRest(ground);
    await atOnce(ground, "crowd", AT_ONCE);
    const afterCrowd = await readAtRest(ground);
    return [
      { name: "resident before", figure: mebibytes(before.residentBytes) },
      ...rowsOf(`${IN_ROW} in a row`, before, afterRow),
      ...rowsOf(`and ${AT_ONCE} at once`, before, afterCrowd),
    ];
  } finally {
    await ground.leave();
  }
}

function rowsOf(name, before, after) {
  const growth = after.residentBytes / before.residentBytes;
  return [
    atMost(`${name}: resident after ÷ before`, growth, MOST_GROWTH, (ratio) => ratio.toFixed(2)),
    atMost(`${name}: zombies`, after.zombies, 0),
    atMost(`${name}: other processes than the guard`, after.others, 0),
    atMost(`${name}: open descriptors`, after.descriptors, before.descriptors),
  ];
}

/** Plans of a hundred, as people make them: what an engine keeps of a plan that ended counts too. */
async function inRow(ground, name, count) {
  for (let start = 0; start < count; start += 100) {
    const tasks = Array.from({ length: Math.min(100, count - start) }, (_, index) => ({
      id: `t${index}`,
      prompt: work,
    }));
    await ground.run(`${name}-${start}`, tasks, { maxConcurrent: 1 });
  }
}

/** Each of them waits until all have started, so that all live at once. */
async function atOnce(ground, name, count) {
  const mark = `${ground.folder}/${name}`;
  const prompt = `echo . >> ${mark}\nwhile [ $(wc -l < ${mark}) -lt ${count} ]; do sleep 0.5; done\n${work}`;
  const tasks = Array.from({ length: count }, (_, index) => ({ id: `t${index}`, prompt }));
  await ground.run(name, tasks, { maxConcurrent: count });
}

/** An agent with some words and a child of its own. */
const work = 'for line in 1 2 3 4 5 6 7 8; do echo "line $line of an agent"; done; cat /dev/null';

async function readAtRest(ground) {
  const pid = ground.enginePid();
  const below = () => processesBelow(pid);
  // What ended a moment ago may still be on its way out.
  await until("the engine has but its guard", () => below().length <= 1).catch(() => undefined);
  const residents = [];
  for (let second = 0; second < QUIET_SECONDS; second++) {
    await pause(1000);
    residents.push(memoryOf(pid).residentBytes);
  }
  const left = below();
  return {
    residentBytes: median(residents.slice(-5)),
    descriptors: descriptorsOf(pid),
    zombies: left.filter(({ state }) => state === "Z").length,
    others: left.filter(({ state }) => state !== "Z").length - 1,
  };
}
