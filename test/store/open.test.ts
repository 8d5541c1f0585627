import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { AppError, hasCode } from "../../src/errors.ts";
import { migrate, MIGRATIONS, schemaVersion } from "../../src/store/migrations.ts";
import { openStore } from "../../src/store/store.ts";
import { compileStore, samplePlan, sampleTask, script, settableClock, temporaryFolder, thrownBy } from "./support.ts";

const clock = systemClock;
let compiled = "";
beforeAll(() => {
  compiled = compileStore();
});
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

/** A state with a plan of `tasks` tasks, closed. */
function makeState(folder: string, tasks = 3): string {
  const file = join(folder, "state.db");
  const store = openStore(file, { clock });
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany(
    Array.from({ length: tasks }, (_, index) => sampleTask("p", `t${index}`, index + 1, { prompt: "x".repeat(3000) })),
  );
  store.close();
  return file;
}

/** The error that opening gives. */
function openingError(file: string): AppError {
  const thrown = thrownBy(() => openStore(file, { clock: settableClock(Date.UTC(2026, 0, 2, 3, 4, 5, 678)) }).close());
  if (thrown instanceof AppError) return thrown;
  throw thrown;
}

function overwrite(file: string, position: number, bytes: Buffer): void {
  const descriptor = openSync(file, "r+");
  writeSync(descriptor, bytes, 0, bytes.length, position);
  closeSync(descriptor);
}

interface ChildAnswer {
  readonly code: string | null;
  readonly message: string;
  readonly [key: string]: unknown;
}

/** Opens the state in a process of its own (the compiled store) and answers what came of it. */
function openInChild(
  args: readonly string[],
  options: { readonly wrapper?: readonly string[]; readonly uid?: number; readonly dist?: string } = {},
): ChildAnswer {
  const dist = options.dist ?? join(compiled, "dist");
  const command = [...(options.wrapper ?? []), process.execPath, join(dist, "..", "open-child.mjs"), dist, ...args];
  cpSync(script("open-child.mjs"), join(dist, "..", "open-child.mjs"));
  const done: SpawnSyncReturns<string> = spawnSync(command[0] ?? "", command.slice(1), {
    encoding: "utf8",
    cwd: "/",
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  if (done.status !== 0) throw new Error(`the child failed: ${done.stderr}${String(done.error ?? "")}`);
  return JSON.parse(done.stdout) as ChildAnswer;
}

test("a new state is made with its folder, for this user only, with what SQLite must promise set", () => {
  const file = join(temporaryFolder(), "deep", "orchestrator", "state.db");
  const store = openStore(file, { clock });
  store.meta.set("k", "v");
  const mode = (path: string): number => statSync(path).mode & 0o777;
  expect([mode(dirname(file)), mode(file), mode(`${file}-wal`)]).toEqual([0o700, 0o600, 0o600]);
  store.close();
  expect(readdirSync(dirname(file))).toEqual(["state.db"]);
  const answer = openInChild([file, "pragmas"]);
  expect(answer["pragmas"]).toEqual({ journal_mode: "wal", synchronous: 2, foreign_keys: 1, busy_timeout: 5000 });
});

test("every table is STRICT", () => {
  const database = new Database(makeState(temporaryFolder()));
  const tables = database.prepare("SELECT name, strict FROM pragma_table_list WHERE type = 'table'").all();
  const lax = tables.filter((table) => !Object.is((table as { strict: number }).strict, 1));
  expect(tables.length).toBeGreaterThan(10);
  expect(lax.map((table) => (table as { name: string }).name).filter((name) => !name.startsWith("sqlite_"))).toEqual(
    [],
  );
  database.close();
});

test("migrations run once; opening again changes nothing in the schema", () => {
  const file = makeState(temporaryFolder());
  const before = readFileSync(file);
  openStore(file, { clock }).close();
  expect(readFileSync(file).equals(before)).toBe(true);
  const database = new Database(file);
  expect(schemaVersion(database)).toBe(MIGRATIONS.length);
  migrate(database);
  database.close();
  expect(readFileSync(file).equals(before)).toBe(true);
});

test("a migration that fails leaves nothing of itself, and the ones before it stay", () => {
  const database = new Database(join(temporaryFolder(), "x.db"));
  const steps = [
    "CREATE TABLE one (a TEXT) STRICT",
    "CREATE TABLE two (a TEXT) STRICT; CREATE TABLE one (a TEXT) STRICT",
  ];
  expect(() => migrate(database, steps)).toThrow(/one already exists/);
  const names = (): unknown[] => database.prepare("SELECT name FROM sqlite_schema ORDER BY name").pluck().all();
  expect([names(), schemaVersion(database)]).toEqual([["one"], 1]);
  migrate(database, [steps[0] ?? "", "CREATE TABLE two (a TEXT) STRICT"]);
  expect([names(), schemaVersion(database)]).toEqual([["one", "two"], 2]);
  database.close();
});

test("of two that migrate at once, the later finds the work done", () => {
  const file = join(temporaryFolder(), "x.db");
  const [first, second] = [new Database(file), new Database(file)];
  const steps = ["CREATE TABLE one (a TEXT) STRICT"];
  // The other one comes first just after this one has seen how far the schema is.
  const interrupted = new Proxy(steps, {
    get(target, property) {
      if (property === "length" && schemaVersion(second) === 0) migrate(second, steps);
      return Reflect.get(target, property) as unknown;
    },
  });
  migrate(first, interrupted);
  expect(schemaVersion(first)).toBe(1);
  first.close();
  second.close();
});

test("a state from a newer version is refused with what to do, and is left as it is", () => {
  const folder = temporaryFolder();
  const file = makeState(folder);
  const database = new Database(file);
  database.pragma(`user_version = ${MIGRATIONS.length + 1}`);
  database.close();
  const before = readFileSync(file);
  const error = openingError(file);
  expect(error.code).toBe("STATE_UNUSABLE");
  expect(error.message).toMatch(/newer orchestrator-mcp .*npm install -g orchestrator-mcp@latest/);
  expect([readdirSync(folder), readFileSync(file).equals(before)]).toEqual([["state.db"], true]);
});

test("somebody else's SQLite file is refused and left as it is", () => {
  const folder = temporaryFolder();
  const file = join(folder, "state.db");
  const database = new Database(file);
  database.exec("CREATE TABLE theirs (a TEXT)");
  database.close();
  const before = readFileSync(file);
  expect(openingError(file).message).toContain("another program");
  expect([readdirSync(folder), readFileSync(file).equals(before)]).toEqual([["state.db"], true]);
});

const damages: Record<string, (file: string) => void> = {
  "no SQLite file at all": (file) =>
    writeFileSync(file, "not a database, but long enough to be read as a page. ".repeat(90)),
  "cut short": (file) => truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096),
  "its first page overwritten": (file) => overwrite(file, 100, Buffer.alloc(3000, 0xa5)),
  "shorter than a header": (file) => truncateSync(file, 50),
};

for (const [name, damage] of Object.entries(damages)) {
  test(`a damaged file (${name}) is kept aside and reported; the next start begins anew`, () => {
    const folder = temporaryFolder();
    const file = makeState(folder, 200);
    damage(file);
    const content = readFileSync(file);
    const error = openingError(file);
    const kept = `${file}.damaged-20260102T030405Z`;
    expect(error.code).toBe("STATE_UNUSABLE");
    expect(error.message).toContain(`It is kept as ${kept}. Start again`);
    expect(error.details).toMatchObject({ file, kept });
    expect(existsSync(file)).toBe(false);
    expect(readFileSync(kept).equals(content)).toBe(true);
    const store = openStore(file, { clock });
    expect(store.plans.list()).toEqual([]);
    store.close();
    expect(readFileSync(kept).equals(content)).toBe(true);
  });
}

test("a second damaged file does not overwrite the first that was kept", () => {
  const folder = temporaryFolder();
  const file = join(folder, "state.db");
  for (const content of ["first ".repeat(1000), "second ".repeat(1000)]) {
    writeFileSync(file, content);
    expect(openingError(file).code).toBe("STATE_UNUSABLE");
  }
  const kept = readdirSync(folder).toSorted();
  expect(kept).toEqual(["state.db.damaged-20260102T030405Z", "state.db.damaged-20260102T030405Z-2"]);
  expect(kept.map((name) => readFileSync(join(folder, name), "utf8").slice(0, 6))).toEqual(["first ", "second"]);
});

test("a log whose file is empty or gone is kept too, not silently dropped by SQLite", () => {
  for (const lose of [(file: string) => truncateSync(file, 0), (file: string) => rmSync(file)]) {
    const folder = temporaryFolder();
    const file = makeState(folder);
    writeFileSync(`${file}-wal`, "the last commits");
    lose(file);
    expect(openingError(file).message).toContain("its log");
    const kept = readdirSync(folder).filter((name) => name.endsWith("-wal"));
    expect(kept.map((name) => readFileSync(join(folder, name), "utf8"))).toEqual(["the last commits"]);
    openStore(file, { clock }).close();
  }
});

/** The files of a state whose engine was killed: with a log that holds all that was committed. */
function leaveKilled(folder: string): { readonly file: string; readonly olderIndex: string } {
  const store = openStore(join(folder, "living", "state.db"), { clock });
  store.meta.set("first", "x".repeat(50_000));
  const olderIndex = join(folder, "older-shm");
  cpSync(`${store.file}-shm`, olderIndex);
  // Folds the log in, so that the next commit begins it anew.
  const other = new Database(store.file);
  other.pragma("wal_checkpoint(RESTART)");
  store.meta.set("second", "x".repeat(20_000));
  const file = join(folder, "state.db");
  for (const suffix of ["", "-wal", "-shm"]) cpSync(store.file + suffix, file + suffix);
  other.close();
  store.close();
  return { file, olderIndex };
}

const lostCommits: Record<string, (log: string) => void> = {
  "overwritten with nonsense": (log) => writeFileSync(log, Buffer.alloc(statSync(log).size, "nonsense")),
  "overwritten in one place": (log) => overwrite(log, 32 + 24 + 100, Buffer.alloc(8, 0xff)),
  "cut short": (log) => truncateSync(log, 5000),
  emptied: (log) => truncateSync(log, 0),
  removed: (log) => rmSync(log),
  "exchanged for that of another state": (log) => {
    const other = temporaryFolder();
    cpSync(`${leaveKilled(other).file}-wal`, log);
  },
};

for (const [name, damage] of Object.entries(lostCommits)) {
  test(`a log that lost what was committed to it (${name}) is kept aside with its file, not taken as far as it goes`, () => {
    const folder = temporaryFolder();
    const { file } = leaveKilled(folder);
    damage(`${file}-wal`);
    const content = readFileSync(file);
    const error = openingError(file);
    expect(error.code).toBe("STATE_UNUSABLE");
    expect(error.message).toMatch(/was damaged: \d+ pages were committed to its log, which .*It is kept as/);
    expect(readFileSync(String(error.details["kept"])).equals(content)).toBe(true);
    expect(existsSync(`${file}-wal`)).toBe(false);
  });
}

const harmless: Record<string, (file: string, olderIndex: string) => void> = {
  nothing: () => {},
  "its index removed": (file) => rmSync(`${file}-shm`),
  "an index of an earlier boot, which a power cut left behind": (file, olderIndex) => {
    cpSync(olderIndex, `${file}-shm`);
    utimesSync(`${file}-shm`, 1, 1);
  },
  "an index that is older than the log": (file, olderIndex) => cpSync(olderIndex, `${file}-shm`),
  "an index of nonsense": (file) => writeFileSync(`${file}-shm`, "nonsense ".repeat(4000)),
  "more than was committed": (file) => appendFileSync(`${file}-wal`, Buffer.alloc(5000, 7)),
};

for (const [name, change] of Object.entries(harmless)) {
  test(`S1: a log that is whole is taken whole (${name})`, () => {
    const { file, olderIndex } = leaveKilled(temporaryFolder());
    change(file, olderIndex);
    const store = openStore(file, { clock });
    expect([store.meta.get("first")?.length, store.meta.get("second")?.length]).toEqual([50_000, 20_000]);
    store.close();
  });
}

test("S1: a log that was folded in and removed is not missed", () => {
  const { file } = leaveKilled(temporaryFolder());
  const index = readFileSync(`${file}-shm`);
  const other = new Database(file);
  other.pragma("wal_checkpoint(FULL)");
  other.close();
  expect(existsSync(`${file}-wal`)).toBe(false);
  // Folded in: as many frames are in the file as were committed.
  index.copy(index, 96, 16, 20);
  writeFileSync(`${file}-shm`, index);
  openStore(file, { clock }).close();
});

test("damage within the file that is met at run time is reported, and the next start keeps the file aside", () => {
  const folder = temporaryFolder();
  const file = makeState(folder, 2000);
  const pages = statSync(file).size / 4096;
  overwrite(file, Math.floor(pages / 2) * 4096, Buffer.alloc(4096 * 20, 0xff));
  const store = openStore(file, { clock });
  const met = thrownBy(() => store.tasks.listOpen());
  expect(hasCode(met, "STATE_UNUSABLE") && met.message).toMatch(/is damaged .*start it again/);
  store.close();
  const content = readFileSync(file);
  const error = openingError(file);
  expect(error.message).toContain("It is kept as");
  const kept = error.details["kept"];
  expect(readFileSync(String(kept)).equals(content)).toBe(true);
  expect(readdirSync(folder)).toEqual([basename(String(kept))]);
});

test("a file that was suspect and proves whole is used again, without the mark", () => {
  const folder = temporaryFolder();
  const file = makeState(folder);
  writeFileSync(`${file}.suspect`, "");
  const store = openStore(file, { clock });
  expect(store.tasks.listOpen()).toHaveLength(3);
  store.close();
  expect(readdirSync(folder)).toEqual(["state.db"]);
});

test("damage within a small file is found at the start after a kill", () => {
  const folder = temporaryFolder();
  const file = makeState(folder, 2000);
  // A log that was left behind is what a killed engine looks like.
  writeFileSync(`${file}-wal`, Buffer.alloc(32));
  const pages = statSync(file).size / 4096;
  overwrite(file, Math.floor(pages / 2) * 4096, Buffer.alloc(4096 * 20, 0xff));
  expect(openingError(file).message).toContain("It is kept as");
});

/** Root may write anywhere: who runs the tests as root becomes nobody for these. */
const otherUid = process.getuid?.() === 0 ? { uid: 65534 } : {};

test("a folder that can't be written is STATE_UNUSABLE with what to do, whether the state exists or not", () => {
  const folder = temporaryFolder();
  const file = makeState(join(folder, "a"));
  mkdirSync(join(folder, "b"));
  // A file alone that can't be written: SQLite would open it, and fail at the first write.
  const fileAlone = makeState(join(folder, "c"));
  chmodSync(join(folder, "c"), 0o777);
  for (const path of [file, fileAlone]) chmodSync(path, 0o444);
  chmodSync(folder, 0o755);
  chmodSync(join(folder, "a"), 0o555);
  chmodSync(join(folder, "b"), 0o555);
  onTestFinished(() => {
    for (const name of ["a", "b"]) chmodSync(join(folder, name), 0o755);
  });
  for (const path of [file, fileAlone, join(folder, "b", "state.db"), join(folder, "b", "deeper", "state.db")]) {
    const answer = openInChild([path, "open"], otherUid);
    expect(answer).toMatchObject({ code: "STATE_UNUSABLE" });
    expect(answer.message).toMatch(/can't be (written|used).*writ/);
  }
  expect(readdirSync(join(folder, "a"))).toEqual(["state.db"]);
});

test("a state whose folder is a file is STATE_UNUSABLE", () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "orchestrator"), "");
  expect(openingError(join(folder, "orchestrator", "state.db")).code).toBe("STATE_UNUSABLE");
});

const canMount =
  process.platform === "linux" && spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0;

test.skipIf(!canMount)(
  "a full disk is STATE_UNUSABLE, undoes the transaction whole, and leaves the state as it was",
  () => {
    const folder = temporaryFolder();
    // A disk of its own, seen by this process alone and gone with it.
    const mount = `mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"`;
    const wrapper = ["unshare", "-rm", "sh", "-c", mount, folder];
    const answer = openInChild([join(folder, "state.db"), "fill"], { wrapper });
    expect(answer).toMatchObject({ code: "STATE_UNUSABLE", sqliteCode: "SQLITE_FULL" });
    expect(answer.message).toMatch(/disk is full.*Free some space/);
    const { committed, found } = answer as ChildAnswer & { committed: number; found: number };
    expect(committed).toBeGreaterThan(0);
    expect(found).toBe(committed);
    expect(answer["codeWhenCaughtInside"]).toBe("STATE_UNUSABLE");
    expect(answer["messageWhenCaughtInside"]).toContain("has undone this transaction");
  },
);

test("a missing or unfit compiled part is NATIVE_MODULE_MISSING with the remedy", () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "store-native-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const modules = realpathSync(join(compiled, "node_modules"));
  cpSync(join(compiled, "dist"), join(folder, "dist"), { recursive: true });
  cpSync(join(compiled, "package.json"), join(folder, "package.json"));
  const copy = join(folder, "node_modules", "better-sqlite3");
  for (const part of ["lib", "package.json"]) {
    cpSync(join(modules, "better-sqlite3", part), join(copy, part), { recursive: true });
  }
  for (const name of ["bindings", "file-uri-to-path", "zod"]) {
    symlinkSync(join(modules, name), join(folder, "node_modules", name));
  }
  const state = join(folder, "state", "state.db");
  const missing = openInChild([state, "open"], { dist: join(folder, "dist") });
  expect(missing.code).toBe("NATIVE_MODULE_MISSING");
  expect(missing.message).toContain(`Run \`npm rebuild better-sqlite3\` in ${folder}`);
  expect(missing.message).toMatch(/python3, make and g\+\+/);
  mkdirSync(join(copy, "build", "Release"), { recursive: true });
  writeFileSync(join(copy, "build", "Release", "better_sqlite3.node"), "made for something else");
  const unfit = openInChild([state, "open"], { dist: join(folder, "dist") });
  expect(unfit.code).toBe("NATIVE_MODULE_MISSING");
  expect(unfit.message).toContain("npm rebuild better-sqlite3");
});

test.skipIf(process.platform !== "linux")("S3: opening a state of 10,000 tasks does not read them", () => {
  const file = makeState(temporaryFolder(), 10_000);
  expect(statSync(file).size).toBeGreaterThan(30_000_000);
  const answer = openInChild([file, "count-bytes-read"]) as ChildAnswer & {
    bytesRead: number;
    bytesReadByList: number;
  };
  expect(answer.bytesRead).toBeLessThan(500_000);
  expect(answer.bytesReadByList).toBeGreaterThan(30_000_000);
});
