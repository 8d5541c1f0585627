/** The socket that the engine listens on. Only the holder of the engine's lock makes one. */
import { chmodSync, rmSync, statSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";

export class EngineSocket {
  readonly path: string;
  readonly #onConnection: (socket: Socket) => void;
  readonly #onError: (error: Error) => void;
  #server: Server | null = null;
  #inode = 0;

  constructor(path: string, onConnection: (socket: Socket) => void, onError: (error: Error) => void) {
    this.path = path;
    this.#onConnection = onConnection;
    this.#onError = onError;
  }

  /** Rejects when the file can't be made. A file that is there already is nobody's any more: the lock is held. */
  async listen(): Promise<void> {
    rmSync(this.path, { force: true });
    const server = createServer(this.#onConnection);
    // 0600 from the first moment on: the file is made within listen(), so no other file gets this mask.
    const oldMask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen({ path: this.path }, () => {
          server.off("error", reject);
          resolve();
        });
        process.umask(oldMask);
      });
    } finally {
      process.umask(oldMask);
    }
    chmodSync(this.path, 0o600);
    server.on("error", this.#onError);
    this.#inode = statSync(this.path).ino;
    this.#server = server;
  }

  /** Where the file was removed under us: a cleaner of /tmp, a person. Who is connected stays. */
  async listenAgain(): Promise<void> {
    this.#server?.close();
    await this.listen();
  }

  /** Nobody new comes in; who is connected stays. */
  close(): void {
    this.#server?.close();
    // Node removes the file on close by its name; one of a successor is never there while we hold the lock.
    if (this.isInPlace()) rmSync(this.path, { force: true });
  }

  /** False once the file is gone or another one stands in its place: nobody finds us by it. */
  isInPlace(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode;
  }
}
