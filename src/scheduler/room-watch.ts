/**
 * Meets a full disk before it is met by a commit: while room is short nothing new is started or merged (`Board.hold`),
 * and agents are stopped, to go on later, while their ends can still be written down. All goes on by itself once there
 * is room again.
 */
import { messageOf } from "../errors.ts";
import type { Commit, Parts } from "./parts.ts";

/** A disk that fills at 100 MB a second is met with some of `engine.minFreeMegabytes` left. */
const LOOK_EVERY_MS = 500;

export class RoomWatch {
  readonly #parts: Parts;
  readonly #commit: Commit;
  readonly #stopAgents: () => void;
  #cancelTimer: () => void = () => {};
  #hasStopped = false;

  /** `stopAgents` ends all, so that their tasks go on later. */
  constructor(parts: Parts, commit: Commit, stopAgents: () => void) {
    this.#parts = parts;
    this.#commit = commit;
    this.#stopAgents = stopAgents;
  }

  start(): void {
    this.#look();
    this.#cancelTimer = this.#parts.clock.schedule(LOOK_EVERY_MS, () => this.start());
  }

  stop(): void {
    this.#cancelTimer();
    this.#cancelTimer = () => {};
  }

  #look(): void {
    const { room, board } = this.#parts;
    if (room === undefined) return;
    room.look();
    const { shortage, isCritical } = room.room;
    const before = board.hold;
    // Also while it lasts: how much is left changes.
    board.hold = shortage;
    // Before the telling, which is a commit that may fail.
    if (isCritical && !this.#hasStopped) this.#stopAgents();
    this.#hasStopped = isCritical;
    if (shortage !== null && before === null) this.#tell("warning", `nothing new is started: ${shortage}`);
    if (shortage === null && before !== null) this.#tell("info", "there is room on the disks again: all goes on");
  }

  /** Whatever came of the telling, the scheduler looks: a commit does that. */
  #tell(level: "warning" | "info", message: string): void {
    this.#parts.log(level, message, {});
    try {
      const body = { type: "warning", message } as const;
      this.#commit(() => this.#parts.store.events.append({ planId: null, taskId: null, attemptId: null, body }));
    } catch (thrown) {
      this.#parts.log("warning", `that could not be written down: ${messageOf(thrown)}`, {});
    }
  }
}
