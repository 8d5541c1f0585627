/** Composition root; see below. */
export interface App {
  readonly repositoryPath: string;
}
