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
const MAX_WAITING = 200;

export class AttemptHistory {
  readonly #parts: Parts;
  readonly #task: TaskRecord;
  readonly #attemptId: string;
  #entries: Entry[] = [];
  #cancelFlush: (() => void) | null = null;

  constructor(parts: Parts, task: TaskRecord, attemptId: string) {
    this.#parts = parts;
    this.#task = task;
    this.#attemptId = attemptId;
  }

  prompt(text: string): void {
    this.#add("prompt", text);
  }

  note(text: string): void {
    this.#add("note", text);
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
    this.#entries.push({ kind, text, atMs: this.#parts.clock.nowMs() });
    if (this.#entries.length >= MAX_WAITING) return this.flush();
    this.#cancelFlush ??= this.#parts.clock.schedule(FLUSH_AFTER_MS, () => {
      try {
        this.flush();
      } catch (thrown) {
        this.#parts.onFatal(thrown);
      }
    });
  }
}
