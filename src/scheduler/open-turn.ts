/**
 * A turn under way that can be told more: what is said goes to the CLI's stdin, and counts as heard when the CLI says
 * that it took it up.
 *
 * The CLI waits for more input after its answer, so somebody has to end its stdin: at the end of a turn, unless
 * something was said that it has not taken up yet; then it begins a turn for that by itself. What is said afterwards
 * stays undelivered, and the task's next turn has it.
 */
import type { AgentEvent } from "../agents/backend.ts";
import type { Clock } from "../clock.ts";
import type { ManagedProcess } from "../process/process-manager.ts";
import type { Mail } from "./mail.ts";
import { mailPart } from "./prompt.ts";

/** The next turn begins at once (0.1 s seen). A CLI that passes over what it was told must not be waited for. */
const TAKE_UP_WITHIN_MS = 30_000;

export interface OpenTurnParts {
  readonly clock: Clock;
  readonly child: Pick<ManagedProcess, "write" | "endStdin">;
  /** The line that says something to the CLI, which names it by the id when it takes it up. */
  readonly lineFor: (id: string, text: string) => string;
  readonly newId: () => string;
  /** What the prompt of the turn had. */
  readonly carried: readonly Mail[];
  /** Told what was heard, as the agent read it. */
  readonly onHeard: (text: string) => void;
}

interface Said {
  readonly piece: Mail;
  readonly text: string;
}

export class OpenTurn {
  readonly #parts: OpenTurnParts;
  readonly #known: Set<string>;
  readonly #said = new Map<string, Said>();
  readonly #heard: Mail[] = [];
  #isOver = false;
  #cancelWait: (() => void) | null = null;

  constructor(parts: OpenTurnParts) {
    this.#parts = parts;
    this.#known = new Set(parts.carried.map(nameOf));
  }

  /** What the CLI took up in this turn, besides what its prompt had. */
  get heard(): readonly Mail[] {
    return this.#heard;
  }

  /** Says what was not said yet. An answer to a question is no news in the middle of a turn: who asked waits for it. */
  tell(mail: readonly Mail[]): void {
    for (const piece of mail) {
      if (this.#isOver || piece.kind !== "message" || this.#known.has(nameOf(piece))) continue;
      const id = this.#parts.newId();
      const text = mailPart([piece]) ?? "";
      if (!this.#parts.child.write(this.#parts.lineFor(id, text))) return;
      this.#known.add(nameOf(piece));
      this.#said.set(id, { piece, text });
    }
  }

  take(event: AgentEvent): void {
    if (event.type === "heard") {
      const said = this.#said.get(event.id);
      if (said === undefined) return;
      this.#said.delete(event.id);
      this.#heard.push(said.piece);
      this.#cancelWait?.();
      this.#parts.onHeard(said.text);
    } else if (event.type === "turn-over") {
      if (this.#said.size === 0) return this.end();
      this.#cancelWait?.();
      this.#cancelWait = this.#parts.clock.schedule(TAKE_UP_WITHIN_MS, () => this.end());
    }
  }

  /** The CLI gets no more to read. Idempotent. */
  end(): void {
    this.#cancelWait?.();
    this.#isOver = true;
    this.#parts.child.endStdin();
  }
}

function nameOf({ kind, id }: Mail): string {
  return `${kind} ${id}`;
}
