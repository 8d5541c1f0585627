/**
 * What the CLI and the TUI talk to the engine with. Like the pipe it outlives engines: what was asked and not answered is
 * asked again of the next one with the same key, and a subscription goes on after the last event that was heard. Loads
 * no library.
 */
import { randomUUID } from "node:crypto";
import { AppError, hasCode, messageOf } from "../errors.ts";
import type { OperationResult } from "../operations/operation.ts";
import { connectEngine, type Connection } from "./launch.ts";
import { isFields, parseFields, readGoodbye, type Fields, type Goodbye, type OperationsRequest } from "./protocol.ts";
import { compareVersions, readPackageVersion } from "./version.ts";

export interface ClientOptions {
  readonly commonDir: string;
  /** Where the user works: see ClientFacts. */
  readonly place: string;
  readonly clientName: string;
  /** False: ENGINE_UNREACHABLE where no engine runs. */
  readonly mayStart: boolean;
  /** Default: this process's. */
  readonly environment?: NodeJS.ProcessEnv;
  readonly version?: string;
  readonly deadlineMs?: number;
}

export interface CallOptions {
  /** Names this call over restarts of the caller too; by default it lasts as long as this client. */
  readonly key?: string;
  /** Cancels it; the call then answers CANCELLED at once. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (message: string) => void;
}

export interface Subscription {
  close(): void;
  /** Rejects when the engine can't be reached again; resolves after `close`, or when the engine was stopped. */
  readonly ended: Promise<void>;
}

export interface EngineClient {
  readonly role: "operator" | "satellite";
  readonly engineId: string;
  readonly engineVersion: string;
  /** The engine is older than this client and will make room when its agents are done. */
  readonly isRestartPending: boolean;
  /** Never rejects: a lost engine is a result too (ENGINE_UNREACHABLE, ENGINE_STOPPING). */
  call(name: string, input: unknown, options?: CallOptions): Promise<OperationResult>;
  /** Each event after `since` (null: from now on) once and in order. */
  subscribe(since: number | null, onEvent: (event: { readonly seq: number } & Fields) => void): Subscription;
  /** Lets go of the engine; calls under way answer ENGINE_UNREACHABLE. */
  close(): void;
}

/** Throws what connectEngine throws. */
export async function connectClient(options: ClientOptions): Promise<EngineClient> {
  const client = new Client(options);
  await client.open(0);
  return client;
}

interface UnderWay {
  /** Sent again to the next engine. */
  readonly request: () => OperationsRequest;
  readonly onMessage: (message: Fields) => void;
  /** Nothing will be heard any more. */
  readonly onLost: (error: AppError) => void;
}

const SUCCESSOR_WAIT_MS = 5000;
/** Losses in a row, with nothing heard between, after which something kills each engine. */
const MAX_LOSSES = 3;

class Client implements EngineClient {
  readonly #options: ClientOptions;
  readonly #version: string;
  readonly #clientId = randomUUID();
  readonly #underWay = new Map<number, UnderWay>();
  #connection: Connection | null = null;
  #opening: Promise<void> | null = null;
  #nextId = 1;
  #losses = 0;
  #isClosed = false;
  #welcome: Connection["welcome"] | null = null;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#version = options.version ?? readPackageVersion();
  }

  get role(): "operator" | "satellite" {
    return this.#welcome?.role ?? "operator";
  }

  get engineId(): string {
    return this.#welcome?.engineId ?? "";
  }

  get engineVersion(): string {
    return this.#welcome?.version ?? "";
  }

  get isRestartPending(): boolean {
    return this.#welcome?.restartPending ?? false;
  }

  open(startAfterMs: number): Promise<void> {
    this.#opening ??= this.#openOnce(startAfterMs).finally(() => (this.#opening = null));
    return this.#opening;
  }

  async #openOnce(startAfterMs: number): Promise<void> {
    const { commonDir, place, clientName, mayStart, deadlineMs } = this.#options;
    const connection = await connectEngine({
      commonDir,
      version: this.#version,
      speaks: "operations",
      cwd: process.cwd(),
      place,
      environment: this.#options.environment ?? process.env,
      clientName,
      mayStart,
      startAfterMs,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    });
    if (this.#isClosed) return connection.channel.destroy();
    this.#attach(connection);
  }

  #attach(connection: Connection): void {
    const { channel } = connection;
    let goodbye: Goodbye | null = null;
    this.#connection = connection;
    this.#welcome = connection.welcome;
    channel.listen({
      onLine: (line) => {
        const message = parseFields(line) ?? {};
        goodbye = readGoodbye(message) ?? goodbye;
        if (typeof message["id"] !== "number") return;
        this.#losses = 0;
        this.#underWay.get(message["id"])?.onMessage(message);
      },
      onOversized: () => channel.destroy(),
      onClose: () => {
        this.#connection = null;
        if (!this.#isClosed) this.#lost(goodbye);
      },
    });
    for (const { request } of this.#underWay.values()) channel.send(JSON.stringify(request()));
  }

  #lost(goodbye: Goodbye | null): void {
    this.#losses += 1;
    if (goodbye?.reason === "stopping") {
      this.#loseAll(new AppError("ENGINE_STOPPING", "The engine was stopped. The next command starts it again."));
    } else if (this.#losses >= MAX_LOSSES) {
      this.#loseAll(new AppError("ENGINE_UNREACHABLE", "The engine ended again and again; engine.log has more."));
    } else if (this.#underWay.size > 0) {
      const isOurs = typeof goodbye?.version === "string" && compareVersions(this.#version, goodbye.version) >= 0;
      this.open(goodbye === null || isOurs ? 0 : SUCCESSOR_WAIT_MS).catch((thrown: unknown) =>
        this.#loseAll(toError(thrown)),
      );
    }
  }

  #loseAll(error: AppError): void {
    const lost = [...this.#underWay.values()];
    this.#underWay.clear();
    for (const { onLost } of lost) onLost(error);
  }

  call(name: string, input: unknown, options: CallOptions = {}): Promise<OperationResult> {
    const { signal, onProgress } = options;
    const id = this.#nextId++;
    const key = options.key ?? `${this.#clientId}:${id}`;
    return new Promise((resolve) => {
      const settle = (result: OperationResult): void => {
        this.#underWay.delete(id);
        signal?.removeEventListener("abort", cancel);
        resolve(result);
      };
      const cancel = (): void => {
        this.#connection?.channel.send(JSON.stringify({ id, cancel: true }));
        settle({ ok: false, code: "CANCELLED", message: `${name} was cancelled.`, details: {} });
      };
      if (signal?.aborted === true) return cancel();
      signal?.addEventListener("abort", cancel);
      this.#begin(id, {
        request: () => ({ id, call: name, input, key }),
        onMessage: (message) => {
          if (typeof message["progress"] === "string") onProgress?.(message["progress"]);
          // The engine is of this package and of no older version (ENGINE_OUTDATED): what it sends is what it says.
          else if (isFields(message["result"])) settle(message["result"] as unknown as OperationResult);
        },
        onLost: ({ code, message, details }) => settle({ ok: false, code, message, details }),
      });
    });
  }

  subscribe(since: number | null, onEvent: (event: { readonly seq: number } & Fields) => void): Subscription {
    const id = this.#nextId++;
    let lastSeq = since;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve, reject) => {
      end = resolve;
      this.#begin(id, {
        request: () => ({ id, subscribe: { since: lastSeq } }),
        onMessage: ({ event, result }) => {
          if (isFields(result)) {
            this.#underWay.delete(id);
            reject(new AppError("NOT_ALLOWED", String(result["message"])));
          }
          if (!isFields(event) || typeof event["seq"] !== "number") return;
          lastSeq = event["seq"];
          onEvent({ ...event, seq: lastSeq });
        },
        onLost: (error) => (hasCode(error, "ENGINE_STOPPING") ? resolve() : reject(error)),
      });
    });
    return {
      ended,
      close: () => {
        if (this.#underWay.delete(id)) this.#connection?.channel.send(JSON.stringify({ id, cancel: true }));
        end();
      },
    };
  }

  #begin(id: number, underWay: UnderWay): void {
    if (this.#isClosed) return underWay.onLost(new AppError("ENGINE_UNREACHABLE", "This client was closed."));
    this.#underWay.set(id, underWay);
    if (this.#connection !== null) this.#connection.channel.send(JSON.stringify(underWay.request()));
    else this.open(0).catch((thrown: unknown) => this.#loseAll(toError(thrown)));
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.channel.destroy();
    this.#loseAll(new AppError("ENGINE_UNREACHABLE", "This client was closed."));
  }
}

function toError(thrown: unknown): AppError {
  return thrown instanceof AppError ? thrown : new AppError("ENGINE_UNREACHABLE", messageOf(thrown));
}
