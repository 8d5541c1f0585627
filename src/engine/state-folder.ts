/**
 * Where one repository's engine keeps its things, and where it listens. `<common dir>/orchestrator/` belongs to the user
 * alone (0700). State on a network file system is refused: SQLite's locks, on which "one engine a repository" rests, do
 * not hold there.
 */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { AppError, messageOf } from "../errors.ts";

export interface StateFolder {
  readonly path: string;
  readonly lockFile: string;
  readonly logFile: string;
  /** There while a client starts an engine. */
  readonly startFile: string;
  /** Information for people and for finding the socket; never a proof that an engine runs. */
  readonly engineFile: string;
  /** Short name of the repository: the mark of its engine, the name of a socket elsewhere. */
  readonly hash: string;
}

export function stateFolderOf(commonDir: string): StateFolder {
  const path = join(commonDir, "orchestrator");
  return {
    path,
    lockFile: join(path, "engine.lock"),
    logFile: join(path, "engine.log"),
    startFile: join(path, "engine.starting"),
    engineFile: join(path, "engine.json"),
    get hash() {
      return hashOf(commonDir);
    },
  };
}

/** node:crypto is loaded only by who needs it: most clients of a running engine do not, and the pipe is in a hurry. */
function hashOf(text: string): string {
  return process.getBuiltinModule("node:crypto").createHash("sha256").update(text).digest("hex").slice(0, 24);
}

/** Magic numbers of statfs(2). A FUSE mount may be anything: the mount table tells. */
const NETWORK_FILE_SYSTEMS = new Map<number, string>([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB"],
  [0x01021997, "9P"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x00c36400, "Ceph"],
  [0x73757245, "Coda"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
]);
const FUSE = 0x65735546;
const NETWORK_FUSE = /^(fuse\.)?(sshfs|s3fs|gcsfuse|rclone|glusterfs|davfs|davfs2|ceph-fuse|juicefs|curlftpfs)$/;

/** How a path's file system is looked up; replaced where a test has no such file system. */
export interface FileSystemFacts {
  /** statfs(2)'s f_type. */
  type(path: string): number;
  /** /proc/self/mountinfo; empty where there is none. */
  mounts(): string;
}

const systemFacts: FileSystemFacts = {
  type: (path) => Number(statfsSync(path, { bigint: true }).type & 0xffff_ffffn),
  mounts: () => {
    try {
      return readFileSync("/proc/self/mountinfo", "utf8");
    } catch {
      return "";
    }
  },
};

/** Changes nothing. Throws STATE_UNUSABLE where the state folder must not lie. */
export function checkFileSystem(commonDir: string, facts: FileSystemFacts = systemFacts): void {
  const network = networkFileSystemOf(commonDir, facts);
  if (network !== null) {
    throw new AppError(
      "STATE_UNUSABLE",
      `${commonDir} is on a network file system (${network}), where file locks do not hold. ` +
        "Clone the repository to a local disk and work there.",
      { details: { path: commonDir, fileSystem: network } },
    );
  }
}

/** Makes the state folder where it is missing. Throws STATE_UNUSABLE with the reason. */
export function ensureStateFolder(commonDir: string, facts: FileSystemFacts = systemFacts): StateFolder {
  const folder = stateFolderOf(commonDir);
  checkFileSystem(commonDir, facts);
  try {
    mkdirSync(folder.path, { mode: 0o700, recursive: true });
  } catch (thrown) {
    throw new AppError(
      "STATE_UNUSABLE",
      `${folder.path} can't be made: ${messageOf(thrown)}. Is the folder writable?`,
      {
        details: { path: folder.path },
        cause: thrown,
      },
    );
  }
  return folder;
}

/** For the holder of the lock alone, who has nothing stored: a repository that was only looked at is left as it was. */
export function removeStateFolder(folder: StateFolder): void {
  rmSync(folder.path, { recursive: true, force: true, maxRetries: 3 });
}

/** The kind of network file system that holds `path`; null for a local one. On macOS only SQLite's own error tells. */
function networkFileSystemOf(path: string, facts: FileSystemFacts): string | null {
  // f_type means something else on macOS; there a lock that the file system can't hold fails when it is taken.
  if (process.platform !== "linux" && facts === systemFacts) return null;
  let type: number;
  try {
    type = facts.type(path);
  } catch {
    return null;
  }
  if (type !== FUSE) return NETWORK_FILE_SYSTEMS.get(type) ?? null;
  const name = mountType(path, facts.mounts());
  return name !== null && NETWORK_FUSE.test(name) ? name : null;
}

/** proc(5), mountinfo: the fifth field is the mount point, the first after ` - ` the type. */
function mountType(path: string, mounts: string): string | null {
  let best: { point: string; type: string } | null = null;
  for (const line of mounts.split("\n")) {
    const [left, right] = line.split(" - ", 2);
    const point = left
      ?.split(" ")[4]
      ?.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
    const type = right?.split(" ", 1)[0];
    if (point === undefined || type === undefined) continue;
    const holds = path === point || path.startsWith(point.endsWith("/") ? point : `${point}/`);
    if (holds && (best === null || point.length >= best.point.length)) best = { point, type };
  }
  return best?.type ?? null;
}

/** Bytes of `sun_path` without its closing NUL: 108 on Linux, 104 on macOS. Longer ones are cut silently by some systems. */
const MAX_SOCKET_PATH_BYTES = process.platform === "darwin" ? 103 : 107;

/** Where an engine with this environment listens. Makes the private folder where one is needed. Throws STATE_UNUSABLE. */
export function socketPathToListen(commonDir: string, environment: NodeJS.ProcessEnv): string {
  const direct = join(commonDir, "orchestrator", "engine.sock");
  if (fits(direct)) return direct;
  const folder = runtimeFolder(environment);
  mkdirSync(folder, { mode: 0o700, recursive: true });
  const problem = problemOfPrivateFolder(folder);
  if (problem !== null) {
    throw new AppError("STATE_UNUSABLE", `${folder}, needed for the engine's socket, ${problem}. Remove or mend it.`, {
      details: { path: folder },
    });
  }
  return join(folder, `${stateFolderOf(commonDir).hash}.sock`);
}

/** Where an engine would listen, and what is wrong with that place (null: nothing). Looks only, and makes nothing. */
export function socketPlace(
  commonDir: string,
  environment: NodeJS.ProcessEnv,
): { readonly path: string; readonly isElsewhere: boolean; readonly problem: string | null } {
  const direct = join(commonDir, "orchestrator", "engine.sock");
  if (fits(direct)) return { path: direct, isElsewhere: false, problem: null };
  const folder = runtimeFolder(environment);
  const problem = existsSync(folder) ? problemOfPrivateFolder(folder) : null;
  return { path: join(folder, `${stateFolderOf(commonDir).hash}.sock`), isElsewhere: true, problem };
}

/**
 * Where a client looks, best first. With a long path the engine may have had another runtime folder than this client
 * (Codex gives its servers no XDG_RUNTIME_DIR), so what the engine wrote down is tried too, if only we can write there.
 */
export function socketPathsToTry(commonDir: string, environment: NodeJS.ProcessEnv): string[] {
  const direct = join(commonDir, "orchestrator", "engine.sock");
  if (fits(direct)) return [direct];
  const { engineFile, hash } = stateFolderOf(commonDir);
  const paths = [join(runtimeFolder(environment), `${hash}.sock`)];
  const written = readEngineFile(engineFile)?.socket;
  if (written !== undefined && fits(written) && !paths.includes(written)) paths.unshift(written);
  return paths.filter((path) => problemOfPrivateFolder(dirname(path)) === null);
}

export interface EngineFile {
  readonly pid: number;
  readonly socket: string;
  readonly version: string;
  /** Null in a file of before this was written. */
  readonly engineId: string | null;
  /** When its process began, as the process table counts it; tells an engine of before the machine's restart. */
  readonly processStart: string | null;
  /** Plans that had not ended. */
  readonly openPlans: readonly string[];
}

/** What the last engine wrote of itself; null when there is nothing that can be read. */
export function readEngineFile(path: string): EngineFile | null {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value !== "object" || value === null) return null;
    const { pid, socket, version, engineId, processStart, openPlans } = value as Record<string, unknown>;
    if (typeof pid !== "number" || typeof socket !== "string" || typeof version !== "string") return null;
    return {
      pid,
      socket,
      version,
      engineId: typeof engineId === "string" ? engineId : null,
      processStart: typeof processStart === "string" ? processStart : null,
      openPlans: Array.isArray(openPlans) ? openPlans.filter((plan) => typeof plan === "string") : [],
    };
  } catch {
    return null;
  }
}

/** State files kept beside the one in use, because they were damaged or removed under an engine, newest first; absolute. */
export function keptStates(stateDir: string): string[] {
  try {
    return readdirSync(stateDir)
      .map((name) => ({ name, time: /^state\.db\.(?:damaged|removed)-([^.]+)$/.exec(name)?.[1] }))
      .filter(({ time }) => time !== undefined && !/-(?:wal|shm)$/.test(time))
      .toSorted((one, other) => ((one.time ?? "") < (other.time ?? "") ? 1 : -1))
      .map(({ name }) => join(stateDir, name));
  } catch {
    return [];
  }
}

/** How a kept state came to be, as an adjective. */
export function whyKept(file: string): "damaged" | "removed" {
  return /\.removed-[^/]*$/.test(file) ? "removed" : "damaged";
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;
}

/** Without node:os, which the pipe's start would pay for. */
function runtimeFolder(environment: NodeJS.ProcessEnv): string {
  const runtime = environment["XDG_RUNTIME_DIR"];
  if (runtime !== undefined && runtime.startsWith("/")) {
    const folder = join(runtime, "orchestrator");
    if (fits(join(folder, "0".repeat(29)))) return folder;
  }
  const name = `orchestrator-${process.getuid?.() ?? "user"}`;
  const temporary = join(environment["TMPDIR"] ?? "/tmp", name);
  return fits(join(temporary, "0".repeat(29))) ? temporary : join("/tmp", name);
}

/** Others must not be able to put a socket there: /tmp is everybody's. */
function problemOfPrivateFolder(folder: string): string | null {
  const facts = lstatSync(folder, { throwIfNoEntry: false });
  if (facts === undefined) return "is missing";
  if (!facts.isDirectory()) return "is not a folder";
  if (facts.uid !== process.getuid?.()) return "belongs to another user";
  if ((facts.mode & 0o077) !== 0) return "is open to other users (it must have mode 0700)";
  return null;
}
