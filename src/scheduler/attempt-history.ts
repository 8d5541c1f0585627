/** What an agent does, on its way to the bus (at once) and to the store (in batches: a chatty agent must not cost a transaction a line). */
import type { AgentEvent } from "../agents/backend.ts";
import type { TaskRecord } from "../plan/records.ts";
import type { Parts } from "./parts.ts";

type TurnKind = "prompt" | "text" | "tool" | "result" | "note";

interface Entry {
  readonly kind: TurnKind;
  readonly text: string;
  readonly atMs: number;
}

const FLUSH_AFTER_MS = 500;
/** A transaction waits for the disk: in batches of 200, a flood made quiet agents' events wait twice as long. */
const MAX_WAITING = 1_000;

/**
 * What one attempt may put into the store: its beginning and its end. The store never forgets and is written through to
 * the disk; a build log of 200 MB made it grow by more than that. The raw output has its own files, capped too.
 */
const MAX_BEGINNING_CHARACTERS = 512 * 1024;
const MAX_END_CHARACTERS = 128 * 1024;

export class AttemptHistory {
  readonly #parts: Parts;
  readonly #task: TaskRecord;
  readonly #attemptId: string;
  #entries: Entry[] = [];
  #beginningCharacters = 0;
  /** The latest of what came after the beginning was full; written when the attempt ends. */
  #end: Entry[] = [];
  #endFrom = 0;
  #dropped = 0;
  #endCharacters = 0;
  #cancelFlush: (() => void) | null = null;

  constructor(parts: Parts, task: TaskRecord, attemptId: string) {
    this.#parts = parts;
    this.#task = task;
    this.#attemptId = attemptId;
  }

  prompt(text: string): void {
    this.#add("prompt", text);
  }

  /** The last entry. Writes with it what was held back. Joins an open transaction. */
  note(text: string): void {
    const left = this.#dropped + this.#endFrom;
    if (left > 0) this.#entries.push(this.#entry("note", `… ${left} lines left out; attempts/ has more`));
    this.#entries.push(...this.#end.slice(this.#endFrom), this.#entry("note", text));
    this.#end = [];
    this.flush();
  }

  event(event: AgentEvent): void {
    const { planId, id: taskId } = this.#task;
    this.#parts.bus.publishOutput({ attemptId: this.#attemptId, planId, taskId, event });
    switch (event.type) {
      case "text":
        return this.#add("text", event.text);
      case "tool-start":
        return this.#add("tool", `${event.name} ${event.summary}`.trim());
      case "tool-end":
        return this.#add("result", event.isError ? `error: ${event.summary}` : event.summary);
      case "warning":
        return this.#add("note", event.message);
      case "retrying":
        return this.#add("note", `the CLI retries: ${event.message}`);
      case "session":
      case "thinking":
      // What was said is noted with its words by who said it.
      case "heard":
      case "turn-over":
        return;
    }
  }

  /** Writes what waits. Joins an open transaction. */
  flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = null;
    const entries = this.#entries;
    if (entries.length === 0) return;
    this.#entries = [];
    const { store } = this.#parts;
    store.transaction(() => {
      for (const { kind, text, atMs } of entries) {
        store.turns.append({
          attemptId: this.#attemptId,
          planId: this.#task.planId,
          taskId: this.#task.id,
          atMs,
          kind,
          text,
        });
      }
    });
  }

  #add(kind: TurnKind, text: string): void {
    const entry = this.#entry(kind, text);
    this.#beginningCharacters += text.length;
    if (kind !== "prompt" && this.#beginningCharacters > MAX_BEGINNING_CHARACTERS) return this.#holdBack(entry);
    this.#entries.push(entry);
    if (this.#entries.length >= MAX_WAITING) return this.flush();
    this.#cancelFlush ??= this.#parts.clock.schedule(FLUSH_AFTER_MS, () => {
      try {
        this.flush();
      } catch (thrown) {
        this.#parts.onFatal(thrown);
      }
    });
  }

  #entry(kind: TurnKind, text: string): Entry {
    return { kind, text, atMs: this.#parts.clock.nowMs() };
  }

  #holdBack(entry: Entry): void {
    this.#end.push(entry);
    this.#endCharacters += entry.text.length + 1;
    while (this.#endCharacters > MAX_END_CHARACTERS) {
      this.#endCharacters -= (this.#end[this.#endFrom]?.text.length ?? 0) + 1;
      this.#endFrom += 1;
    }
    // In batches: taking the first off a long list one by one would move all others each time.
    if (this.#endFrom < 1024) return;
    this.#end.splice(0, this.#endFrom);
    this.#dropped += this.#endFrom;
    this.#endFrom = 0;
  }
}
