/**
 * What a machine runs out of, told from failures: room on a disk, descriptors, processes, memory, the right to write.
 * Such a failure says nothing of the task that met it, and passes when somebody makes room. Pure.
 */

interface MachineLimit {
  /** Codes of the system, as Node and SQLite hand them on. */
  readonly codes: readonly string[];
  /** The system's words, and git's where it leaves the system's out. */
  readonly words: RegExp;
  /** What is lacking and what to do. */
  readonly told: string;
}

const LIMITS: readonly MachineLimit[] = [
  {
    codes: ["ENOSPC", "EDQUOT", "SQLITE_FULL"],
    // git tells no cause when a file of a checkout could not be written whole.
    words: /No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b|unable to write (?:file|new.index file)/i,
    told: "the disk is full (or has no room for more files: `df -i`): free some space",
  },
  {
    codes: ["EROFS"],
    words: /Read-only file system|\bEROFS\b/i,
    told: "the file system is mounted read-only: mount it for writing",
  },
  {
    codes: ["EMFILE", "ENFILE"],
    words: /Too many open files|\bEMFILE\b|\bENFILE\b/i,
    told: "too many files are open: end what holds them, or stop the engine and start it again with a higher `ulimit -n`",
  },
  {
    codes: ["ENOMEM"],
    words: /Cannot allocate memory|\bENOMEM\b|Out of memory, (?:malloc|calloc|realloc) failed/i,
    told: "the machine has no memory left: end something",
  },
  {
    codes: [],
    words:
      /fork: (?:retry: )?Resource temporarily unavailable|cannot fork\(\)|unable to (?:fork|create thread)|\bspawn\S*(?: .{1,300})? EAGAIN\b/i,
    told: "no more processes may be started: end some, or raise `ulimit -u`",
  },
];

/** What the machine lacked when `thrown` (an error, or words of a program) came about; null: it was something else. */
export function machineLimitOf(thrown: unknown): string | null {
  for (let cause = thrown, depth = 0; cause != null && depth < 5; depth += 1) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    const text = cause instanceof Error ? cause.message : typeof cause === "string" ? cause : "";
    const found = LIMITS.find(({ codes, words }) => codes.includes(code) || words.test(text));
    if (found !== undefined) return found.told;
    cause = cause instanceof Error ? cause.cause : null;
  }
  return null;
}
