/** Scripts `fake-claude.mjs` and reads back what it was told. Its home is where it looks for its turns. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface StandInTurn {
  readonly number: number;
  readonly sessionId: string;
  readonly resumed: boolean;
  readonly cwd: string;
  readonly prompt: string;
}

export class StandInClaude {
  static readonly program = fileURLToPath(new URL("fake-claude.mjs", import.meta.url));
  /** The config's `providers` with it. */
  static readonly providers = { claude: { kind: "claude", command: StandInClaude.program } };

  readonly #home: string;

  constructor(home: string) {
    this.#home = home;
  }

  /** Over all its processes, in the order in which they began. */
  turns(): StandInTurn[] {
    return this.#told("turns.ndjson");
  }

  /** Those in which it was asked for an answer in a form. */
  answers(): StandInTurn[] {
    return this.#told("answers.ndjson");
  }

  /** What it answers when it is asked for an answer in a form. */
  structured(answer: unknown): void {
    writeFileSync(join(this.#home, "structured.json"), JSON.stringify(answer));
  }

  /** What it heard in the middle of its turns, as lines of JSON. */
  heardLate(): string {
    const file = join(this.#home, "late.ndjson");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** What it does in its turn of that number, over all its processes. */
  script(number: number, text: string): void {
    writeFileSync(join(this.#home, `turn-${number}.sh`), text);
  }

  /** What each of its turns costs, or one of them. */
  costs(usd: number, tokens = 0, turn: number | null = null): void {
    writeFileSync(join(this.#home, turn === null ? "cost" : `turn-${turn}.cost`), `${usd} ${tokens}`);
  }

  /** Lays fields over the result event of a turn: how it fails. */
  end(number: number, fields: Readonly<Record<string, unknown>>): void {
    writeFileSync(join(this.#home, `turn-${number}.json`), JSON.stringify({ is_error: true, ...fields }));
  }

  /** Holds a turn until `letGo`. */
  hold(number: number, then = "true"): void {
    this.script(
      number,
      `touch "$HOME/begun-${number}"; while ! [ -e "$HOME/go-${number}" ]; do sleep 0.02; done\n${then}`,
    );
  }

  hasBegun(number: number): boolean {
    return existsSync(join(this.#home, `begun-${number}`));
  }

  letGo(number: number): void {
    writeFileSync(join(this.#home, `go-${number}`), "");
  }

  #told(name: string): StandInTurn[] {
    const file = join(this.#home, name);
    if (!existsSync(file)) return [];
    // Whole lines: it may be writing one at this moment.
    const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as StandInTurn);
  }
}
