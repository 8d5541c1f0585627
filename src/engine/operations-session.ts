/** What a client that speaks `operations` (the CLI, the TUI) asks, and what it hears back; see protocol.ts. */
import type { Caller } from "../operations/operation.ts";
import { BUFFER_LIMIT_BYTES, type LineChannel } from "./line-channel.ts";
import { readOperationsRequest, type OperationsMessage } from "./protocol.ts";
import type { SessionEngine } from "./session.ts";

/** Events read at a time, so that a listener from the beginning does not hold the whole history in memory. */
const EVENT_BATCH = 200;

export function serveOperations(channel: LineChannel, caller: Caller, engine: SessionEngine): void {
  /** What is under way, by the client's id; the function ends it. */
  const underWay = new Map<number, () => void>();
  const send = (message: OperationsMessage): void => channel.send(JSON.stringify(message));
  const endAll = (): void => {
    for (const cancel of underWay.values()) cancel();
    underWay.clear();
  };
  const refuse = (message: string): void => {
    send({ error: { code: "INPUT_INVALID", message, details: {} } });
    channel.end();
    endAll();
  };

  const call = async (id: number, name: string, input: unknown, key: string | null): Promise<void> => {
    const abort = new AbortController();
    underWay.set(id, () => abort.abort());
    const result = await engine.call(name, input, {
      caller,
      requestKey: key,
      signal: abort.signal,
      progress: (message) => {
        // May be dropped: a client that does not read gets its result all the same.
        if (underWay.has(id) && channel.bufferedBytes < BUFFER_LIMIT_BYTES / 8) send({ id, progress: message });
      },
    });
    underWay.delete(id);
    send({ id, result });
  };

  channel.listen({
    onLine: (line) => {
      const request = readOperationsRequest(line);
      if ("problem" in request) return refuse(`Not understood: ${request.problem}.`);
      if ("cancel" in request) {
        underWay.get(request.id)?.();
        return;
      }
      if (underWay.has(request.id)) return refuse(`Request ${request.id} is under way already.`);
      if ("call" in request) {
        void call(request.id, request.call, request.input, request.key).catch((thrown: unknown) => {
          engine.log.error("A result could not be sent", thrown);
          refuse("The result could not be sent.");
        });
        return;
      }
      if (caller.role === "satellite") {
        const message = "A satellite sees its own task only; use task_context.";
        send({ id: request.id, result: { ok: false, code: "NOT_ALLOWED", message, details: {} } });
        return;
      }
      const { id } = request;
      const stop = subscribe(channel, engine, id, request.subscribe.since);
      underWay.set(id, () => {
        stop();
        underWay.delete(id);
      });
    },
    onOversized: () => refuse("The line is too long."),
    onClose: endAll,
  });
}

/** Every event after `since`, in order, at the pace of the client: the store retells what it was too slow for. */
function subscribe(channel: LineChannel, engine: SessionEngine, id: number, since: number | null): () => void {
  let lastSeq = since;
  let isOpen = true;
  let isPumping = false;
  let isMore = false;

  const pump = async (): Promise<void> => {
    isMore = true;
    if (isPumping) return;
    isPumping = true;
    try {
      while (isOpen && isMore && lastSeq !== null) {
        isMore = false;
        const events = engine.host.eventsAfter(lastSeq, EVENT_BATCH);
        for (const event of events) {
          channel.send(JSON.stringify({ id, event }));
          lastSeq = event.seq;
        }
        if (events.length === EVENT_BATCH) isMore = true;
        if (channel.bufferedBytes > BUFFER_LIMIT_BYTES / 8) await channel.whenSent();
        // A long history must not hold up the other clients.
        else if (isMore) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      isPumping = false;
    }
  };
  const start = (): void =>
    void pump().catch((thrown: unknown) => engine.log.error("Events could not be read", thrown));

  const unsubscribe = engine.host.onEvent((event) => {
    lastSeq ??= event.seq - 1;
    start();
  });
  if (lastSeq !== null) start();
  return () => {
    isOpen = false;
    unsubscribe();
  };
}
