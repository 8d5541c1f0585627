// Opens a state with the compiled store, does one thing, and prints what came of it as JSON.
// node open-child.mjs <dist> <file> open|pragmas|fill|count-bytes-read
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dist, file, action] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(dist, name)).href);
const { openStore } = await load("store/store.js");
const { systemClock: clock } = await load("clock.js");

const answer = { code: null, message: "" };
try {
  const actions = { open, pragmas, fill, "count-bytes-read": countBytesRead };
  await actions[action]();
} catch (thrown) {
  answer.code = thrown.code ?? "none";
  answer.message = thrown.message;
  answer.sqliteCode = thrown.details?.sqliteCode;
}
process.stdout.write(JSON.stringify(answer));

function open() {
  openStore(file, { clock }).close();
}

/** What the store's own connection was told. */
async function pragmas() {
  const { openDatabase } = await load("store/open-database.js");
  const database = openDatabase(file, clock);
  answer.pragmas = Object.fromEntries(
    ["journal_mode", "synchronous", "foreign_keys", "busy_timeout"].map((name) => [
      name,
      database.pragma(name, { simple: true }),
    ]),
  );
  database.close();
}

/** Commits pairs until the disk is full; then counts what is there. */
function fill() {
  const store = openStore(file, { clock });
  answer.committed = 0;
  try {
    for (;;) {
      store.transaction(() => {
        store.meta.set(`a${answer.committed}`, "x".repeat(20_000));
        store.meta.set(`b${answer.committed}`, "x".repeat(20_000));
      });
      answer.committed += 1;
    }
  } catch (thrown) {
    try {
      store.transaction(() => {
        try {
          // Beyond the cache of 16 MB, so that the disk is met here and not at the commit.
          store.meta.set("caught", "x".repeat(40_000_000));
        } catch {
          // Goes on as if nothing had happened: the store must not let it write outside a transaction.
        }
        store.meta.set("after", "1");
      });
    } catch (inside) {
      answer.codeWhenCaughtInside = inside.code;
      answer.messageWhenCaughtInside = inside.message;
    }
    answer.found = 0;
    while (store.meta.get(`a${answer.found}`) !== null && store.meta.get(`b${answer.found}`) !== null)
      answer.found += 1;
    if (store.meta.get(`a${answer.found}`) !== null || store.meta.get("after") !== null) answer.found = -1;
    throw thrown;
  } finally {
    try {
      store.close();
    } catch {
      // The log can't be folded in on a full disk.
    }
  }
}

function countBytesRead() {
  const read = () => Number(/^rchar: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))[1]);
  // The native part is loaded by the first connection; that is not what is counted.
  openStore(`${file}.other`, { clock }).close();
  const before = read();
  const store = openStore(file, { clock });
  const opened = read();
  store.tasks.listOpen();
  answer.bytesRead = opened - before;
  answer.bytesReadByList = read() - opened;
  store.close();
}
