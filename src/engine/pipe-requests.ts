/**
 * What the pipe knows of the conversation between its host and whoever answers: the handshake, to be replayed to the next
 * engine; what was asked and not answered, to be asked again. Pure bookkeeping, no sockets.
 */
import { isFields, REQUEST_KEY_META, type Fields } from "./protocol.ts";

export type HostMessage =
  | { readonly kind: "request" | "notification" | "response"; readonly message: Fields }
  /** Nobody needs it any more. */
  | { readonly kind: "nothing" };

const REPLAYED_INITIALIZE_ID = "orchestrator-pipe/initialize";

export class HostRequests {
  /** One a pipe: with a number it makes the keys of its calls. Never the host's own id, which it may use twice. */
  #pipeId: string | null = null;
  #calls = 0;
  #initialize: Fields | null = null;
  #isInitializeAnswered = false;
  #initialized: Fields | null = null;
  /** By id, in the order of asking, as they are sent (with their key). */
  readonly #unanswered = new Map<string, Fields>();
  /** Notifications that came while nobody was there. */
  #held: Fields[] = [];
  /** What the endpoint of now asked the host; an answer to an earlier one's question means nothing to it. */
  readonly #asked = new Set<string>();
  /** False after the host said that its roots changed. */
  areRootsFresh = false;

  get isInitialized(): boolean {
    return this.#initialized !== null;
  }

  /** Whether the client can be asked for its roots. */
  get hasRoots(): boolean {
    const params = this.#initialize?.["params"];
    const capabilities = isFields(params) ? params["capabilities"] : null;
    return this.isInitialized && isFields(capabilities) && isFields(capabilities["roots"]);
  }

  /** Notes what the host sent; the answer is what to pass on. */
  take(message: Fields): HostMessage {
    const { id, method } = message;
    if (typeof method !== "string") {
      return this.#asked.delete(JSON.stringify(id)) ? { kind: "response", message } : { kind: "nothing" };
    }
    if (id !== undefined) {
      if (method === "initialize") {
        this.#initialize = message;
        this.#isInitializeAnswered = false;
      }
      const keyed = method === "tools/call" ? this.#withKey(message) : message;
      this.#unanswered.set(JSON.stringify(id), keyed);
      return { kind: "request", message: keyed };
    }
    if (method === "notifications/initialized") this.#initialized = message;
    if (method === "notifications/roots/list_changed") this.areRootsFresh = false;
    if (method === "notifications/cancelled") this.#forgetCancelled(message);
    return { kind: "notification", message };
  }

  /** Keeps what could not be sent. Requests are kept already, the handshake is replayed. */
  hold(taken: HostMessage): void {
    if (taken.kind !== "notification") return;
    const { method } = taken.message;
    // What it cancels will not be sent.
    if (method === "notifications/cancelled" || method === "notifications/initialized") return;
    this.#held.push(taken.message);
  }

  /** All that an endpoint that just came must hear, in order. */
  forNewEndpoint(): Fields[] {
    this.#asked.clear();
    const messages: Fields[] = [];
    const unanswered = new Map(this.#unanswered);
    if (this.#initialize !== null) {
      const isReplay = this.#isInitializeAnswered;
      messages.push(isReplay ? { ...this.#initialize, id: REPLAYED_INITIALIZE_ID } : this.#initialize);
      unanswered.delete(JSON.stringify(this.#initialize["id"]));
      if (this.#initialized !== null) messages.push(this.#initialized);
    }
    messages.push(...unanswered.values(), ...this.#held);
    this.#held = [];
    return messages;
  }

  /** Whether a message of the endpoint goes to the host: the replay's answer and second answers do not. */
  isForHost(message: Fields): boolean {
    const { id, method } = message;
    if (typeof method === "string") {
      if (id !== undefined) this.#asked.add(JSON.stringify(id));
      return true;
    }
    // An error without an id answers a line that was no message; the pipe sends none.
    if (id === REPLAYED_INITIALIZE_ID || id === undefined || id === null) return false;
    const key = JSON.stringify(id);
    const isAwaited = this.#unanswered.delete(key);
    if (isAwaited && this.#initialize !== null && JSON.stringify(this.#initialize["id"]) === key) {
      this.#isInitializeAnswered = true;
    }
    return isAwaited;
  }

  /** Answers for everything unanswered, which is then forgotten. */
  answerAll(code: string, message: string): object[] {
    const answers = [...this.#unanswered.values()].map(({ id, method }) =>
      method === "tools/call"
        ? { jsonrpc: "2.0", id, result: { content: [{ type: "text", text: `${code}: ${message}` }], isError: true } }
        : { jsonrpc: "2.0", id, error: { code: -32000, message: `${code}: ${message}` } },
    );
    this.#unanswered.clear();
    return answers;
  }

  #withKey(message: Fields): Fields {
    this.#calls += 1;
    const params = isFields(message["params"]) ? message["params"] : {};
    const meta = isFields(params["_meta"]) ? params["_meta"] : {};
    // The global, and late: node:crypto would cost the start more than all of this file.
    this.#pipeId ??= crypto.randomUUID();
    const key = `${this.#pipeId}:${this.#calls}`;
    return { ...message, params: { ...params, _meta: { ...meta, [REQUEST_KEY_META]: key } } };
  }

  #forgetCancelled(message: Fields): void {
    const params = message["params"];
    if (isFields(params)) this.#unanswered.delete(JSON.stringify(params["requestId"]));
  }
}
