/**
 * Faults of a machine that tests can have: a small file system that fills, one that can be read only, few descriptors.
 * Small file systems need root (`mount -t tmpfs`); where they can't be had, `canMount` says so and those tests are skipped.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DIST, type Fields, type Repo } from "./engine-support.ts";

/** A file system of its own, of a size, at a folder. */
export class SmallDisk {
  readonly folder: string;
  readonly #ballast: string;

  /** `files`: how many it takes at most. */
  constructor(folder: string, kilobytes: number, files = 0) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    mount("-t", "tmpfs", "-o", `size=${kilobytes}k,nr_inodes=${files},mode=700`, "none", folder);
    this.folder = folder;
    this.#ballast = join(folder, "ballast of the test");
  }

  /** Nothing more fits on it, save `leaveKilobytes`. */
  fill(leaveKilobytes = 0): void {
    const file = openSync(this.#ballast, "a");
    try {
      const { bavail, bsize } = statfsSync(this.folder);
      const page = Buffer.alloc(4096, 1);
      for (let left = bavail * bsize - leaveKilobytes * 1024; left > 0; left -= page.length) writeSync(file, page);
      // What others gave back meanwhile.
      if (leaveKilobytes === 0) for (;;) writeSync(file, page);
    } catch (thrown) {
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOSPC")) throw thrown;
    } finally {
      closeSync(file);
    }
  }

  /** No file more can be made on it, though there is room for bytes. */
  fillWithFiles(): void {
    mkdirSync(this.#ballast);
    try {
      for (let count = 0; ; count += 1) closeSync(openSync(join(this.#ballast, `${count}`), "w"));
    } catch (thrown) {
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOSPC")) throw thrown;
    }
  }

  /** Room again. */
  free(): void {
    execFileSync("rm", ["-rf", this.#ballast]);
  }

  setReadOnly(isReadOnly: boolean): void {
    mount("-o", `remount,${isReadOnly ? "ro" : "rw"}`, this.folder);
  }

  remove(): void {
    execFileSync("umount", ["-l", this.folder], { stdio: "pipe" });
  }
}

function mount(...args: string[]): void {
  execFileSync("mount", args, { stdio: "pipe" });
}

export const canMount: boolean = (() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  const folder = mkdtempSync(join(tmpdir(), "orchestrator-mount-"));
  try {
    new SmallDisk(folder, 64).remove();
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(folder);
  }
})();

/** A file system of its own that an error of its disk makes read-only while files on it are open for writing. */
export class FailingDisk {
  readonly folder: string;
  readonly #image: string;

  constructor(folder: string, image: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.folder = folder;
    this.#image = image;
    execFileSync("truncate", ["-s", "32M", image]);
    execFileSync("mkfs.ext4", ["-q", "-F", image], { stdio: "pipe" });
    mount("-o", "loop", image, folder);
    chmodSync(folder, 0o700);
  }

  /** From now on each write is refused (EROFS). */
  fail(): void {
    mount("-o", "remount,abort", this.folder);
  }

  /** A disk that was mended: what was on it is there again. */
  mend(): void {
    execFileSync("umount", [this.folder], { stdio: "pipe" });
    // Exit code 1: errors were corrected.
    spawnSync("fsck.ext4", ["-p", this.#image]);
    mount("-o", "loop", this.#image, this.folder);
  }

  remove(): void {
    execFileSync("umount", ["-l", this.folder], { stdio: "pipe" });
    rmSync(this.#image);
  }
}

export const canFailDisks: boolean =
  canMount &&
  canMake(() => {
    const place = mkdtempSync(join(tmpdir(), "orchestrator-mount-"));
    try {
      new FailingDisk(join(place, "disk"), join(place, "image")).remove();
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  });

/** Sets how many files or processes the living process may have from now on, as `ulimit` would have; as that user. */
export function setLimit(pid: number, what: "nofile" | "nproc", most: number, uid = 0): void {
  const command = ["prlimit", "--pid", String(pid), `--${what}=${most}:`];
  if (uid === 0) execFileSync("prlimit", command.slice(1));
  else execFileSync("setpriv", [...asUser(uid), ...command]);
}

/** Words of `setpriv` that make a program run as that user. */
export function asUser(uid: number): string[] {
  return [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
}

export const canBeOthers: boolean =
  process.platform === "linux" &&
  process.getuid?.() === 0 &&
  canMake(() => execFileSync("setpriv", [...asUser(54_321), "true"], { stdio: "pipe" }));

function canMake(attempt: () => void): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}

/** What a host sees of one tool call over stdio. */
export async function callTool(repo: Repo, name: string, input: Fields): Promise<{ isError: boolean; text: string }> {
  const child = spawn(process.execPath, [join(DIST, "engine", "pipe-main.cjs")], {
    cwd: repo.path,
    env: repo.ground.environment,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const requests = [
    {
      id: 0,
      method: "initialize",
      params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } },
    },
    { id: 1, method: "tools/call", params: { name, arguments: input } },
  ];
  for (const request of requests) child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...request })}\n`);
  let answer = { isError: false, text: "no answer" };
  for await (const line of createInterface({ input: child.stdout })) {
    const message = JSON.parse(line) as { id?: number; result?: { isError?: boolean; content?: { text: string }[] } };
    if (message.id !== 1) continue;
    answer = { isError: message.result?.isError === true, text: message.result?.content?.[0]?.text ?? line };
    child.stdin.end();
  }
  return answer;
}
