/** Every provider's health, how many of its agents run, and which of them is its probe. */
import { describeSwitch, switchTo } from "./provider-choice.ts";
import { gateOf, type Gate } from "./provider-gate.ts";
import { healthyProvider, type ProviderHealth } from "./records.ts";
import type { TaskNode } from "./node.ts";

export class ProviderTable {
  readonly #health = new Map<string, ProviderHealth>();
  /** Whose slot a task has: the next step of its workflow may be another provider's. */
  readonly #slots = new Map<TaskNode, string>();
  readonly #running = new Map<string, number>();
  readonly #probes = new Map<string, TaskNode>();

  health(name: string): ProviderHealth {
    let health = this.#health.get(name);
    if (health === undefined) {
      health = healthyProvider(name);
      this.#health.set(name, health);
    }
    return health;
  }

  restore(health: ProviderHealth): void {
    this.#health.set(health.name, health);
  }

  all(): IterableIterator<ProviderHealth> {
    return this.#health.values();
  }

  gate(name: string, nowMs: number): Gate {
    const health = this.#health.get(name);
    return health === undefined ? { state: "open-to-all" } : gateOf(health, nowMs);
  }

  runningOf(name: string): number {
    return this.#running.get(name) ?? 0;
  }

  takeSlot(node: TaskNode): void {
    const { provider } = node.record;
    this.#slots.set(node, provider);
    this.#running.set(provider, this.runningOf(provider) + 1);
  }

  freeSlot(node: TaskNode): void {
    const provider = this.#slots.get(node);
    if (provider === undefined) return;
    this.#slots.delete(node);
    this.#running.set(provider, this.runningOf(provider) - 1);
  }

  /** The task that probes a provider whose gate lets one through. */
  probeOf(name: string): TaskNode | null {
    return this.#probes.get(name) ?? null;
  }

  /**
   * A task starts with one of its providers, as the probe where only one is let through. Answers why it goes elsewhere
   * than it was; null when it does not.
   */
  startWith(node: TaskNode, provider: string, nowMs: number): string | null {
    const { record } = node;
    const from = record.provider;
    const words =
      provider === from ? null : describeSwitch(record, this.health(from), this.gate(from, nowMs), provider);
    if (provider !== from) switchTo(record, provider);
    if (this.gate(provider, nowMs).state === "one-probe") this.#probes.set(provider, node);
    return words;
  }

  endProbe(node: TaskNode): void {
    const { provider } = node.record;
    if (this.#probes.get(provider) === node) this.#probes.delete(provider);
  }
}
