/**
 * `<state>/look/`: what the git hooks read and write (hooks/README.md). `now` is touched by a hook, `engine` names the
 * process that looks, `wake` says what to start where none does.
 */
import { mkdirSync, readFileSync, rmSync, statSync, watch, writeFileSync, renameSync, type FSWatcher } from "node:fs";
import { join } from "node:path";

export class LookFolder {
  readonly #path: string;
  #wake: string | null | undefined;
  #watcher: FSWatcher | null = null;

  constructor(stateDir: string) {
    this.#path = join(stateDir, "look");
  }

  /** Says that this process looks, and hears hooks from now on. A watch that can't be had only costs time. */
  open(onSign: () => void, onError: (thrown: unknown) => void): void {
    mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    this.#write("engine", `${process.pid} ${startOfThisProcess()}\n`);
    try {
      this.#watcher = watch(this.#path, { persistent: false }, (_event, name) => {
        if (name === "now" || name === null) onSign();
      });
      this.#watcher.on("error", onError);
    } catch (thrown) {
      onError(thrown);
    }
  }

  /** What hooks start where no engine lives; null: nothing. A path that is not one line can't be told and is not. */
  setWake(program: readonly [node: string, main: string] | null): void {
    const text = program === null || program.some((path) => path.includes("\n")) ? null : `${program.join("\n")}\n`;
    if (text === this.#wake) return;
    this.#wake = text;
    if (text === null) rmSync(join(this.#path, "wake"), { force: true });
    else this.#write("wake", text);
  }

  /** When a hook last gave a sign; 0: never. */
  signedAtMs(): number {
    return statSync(join(this.#path, "now"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** From now on hooks start another engine. */
  close(): void {
    this.#watcher?.close();
    rmSync(join(this.#path, "engine"), { force: true });
  }

  #write(name: string, text: string): void {
    const file = join(this.#path, name);
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
}

/** proc(5), stat: the twenty-second field. Without /proc the number has to do. */
function startOfThisProcess(): string {
  try {
    const stat = readFileSync("/proc/self/stat", "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "-";
  } catch {
    return "-";
  }
}
