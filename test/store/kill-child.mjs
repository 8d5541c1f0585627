// Writes transactions that each touch many tables, and tells each that is committed, until it is killed.
// node kill-child.mjs <dist> <file> commit|stop-inside
import { writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dist, file, action] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(dist, name)).href);
const { openStore } = await load("store/store.js");
const { systemClock: clock } = await load("clock.js");

const store = openStore(file, { clock });
const tell = (line) => writeSync(1, `${line}\n`);

function writeOne(count) {
  store.meta.set("count", `${count}`);
  for (const task of store.tasks.listByPlan("p")) {
    task.ledger = { ...task.ledger, attempts: count };
    store.tasks.save(task);
    const of = { planId: "p", taskId: task.id, attemptId: "x" };
    store.events.append({ ...of, body: { type: "warning", message: `${count}` } });
  }
  store.turns.append({ attemptId: "x", planId: "p", taskId: "t0", atMs: 1, kind: "text", text: "x".repeat(2000) });
  store.requestKeys.put({ key: `k${count}`, operation: "o", inputHash: "h", response: count });
}

const start = Number(store.meta.get("count") ?? "0");
for (let count = start + 1; action === "commit" || count <= start + 3; count += 1) {
  store.transaction(() => writeOne(count));
  tell(`committed ${count}`);
}
store.transaction(() => {
  writeOne(start + 4);
  // Beyond SQLite's cache of 16 MB: pages of the open transaction are already in the log.
  for (let index = 0; index < 40; index += 1) store.meta.set(`large${index}`, "x".repeat(1_000_000));
  tell("inside");
  for (;;);
});
