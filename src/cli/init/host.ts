/** What `init` knows of an agent CLI that can have us as an MCP server: its file, and how our entry gets in and out. */

/** The key under which hosts know us: Goose silently replaces a server named `orchestrator` by a built-in one. */
export const SERVER_KEY = "orchestrator-mcp";

/** How a host starts a server. */
export interface ServerProgram {
  readonly command: string;
  readonly args: readonly string[];
}

export interface Host {
  readonly name: string;
  /** The program that must be on PATH for the host to count as installed. */
  readonly program: string;
  /** Its file for this environment, absolute. */
  file(environment: NodeJS.ProcessEnv, userHome: string): string;
  /**
   * What stands under our key in `text` (empty for a file that is not there); null for nothing. Throws CONFIG_INVALID for
   * a text that is not understood: such a file is left alone.
   */
  find(text: string): Promise<ServerProgram | null>;
  /** `text` with our entry, all else as it is. Throws CONFIG_INVALID where that can't be done. */
  add(text: string, server: ServerProgram): Promise<string>;
  /** `text` without our entry, where somebody changed the file since; `inserted` is what we wrote. Null: not recognised. */
  takeOut(text: string, inserted: string): string | null;
  /** How a person takes the entry out. */
  readonly removal: string;
}

export function isSameServer(one: ServerProgram, other: ServerProgram): boolean {
  return one.command === other.command && JSON.stringify(one.args) === JSON.stringify(other.args);
}

/** What an entry says of its program; an entry of another kind (an address) gives an empty command. */
export function readProgram(command: unknown, args: unknown): ServerProgram {
  const words = Array.isArray(args) ? args.filter((word): word is string => typeof word === "string") : [];
  return { command: typeof command === "string" ? command : "", args: words };
}
