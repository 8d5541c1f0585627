/** What a simulated life throws when the board did what it promises not to do. */
export class BrokenPromise extends Error {
  /** The promise's name, so that a smaller life that breaks the same one can be told from another bug. */
  readonly promise: string;

  constructor(promise: string, message: string, history: readonly string[] = []) {
    super(`${promise}: ${message}${history.length === 0 ? "" : `\n  ${history.join("\n  ")}`}`);
    this.promise = promise;
  }
}
