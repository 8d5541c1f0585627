/**
 * What a hook file becomes when ours joins it, and back. Pure; text is bytes as latin1, so nothing in it can be lost.
 *
 * Our block goes behind the first line of a hook that is a shell script: its `$0`, its arguments, its standard input and
 * its exit code stay what they were (husky and lefthook look at them), and no further process is started. What is no
 * shell script is moved aside whole, and a script of ours runs it at its end. Everything that is needed to go back
 * stands in the files themselves, so an installation that was cut off can be finished or undone.
 */

const BLOCK_BEGIN = "# orchestrator-mcp begin";
const BLOCK_END = "# orchestrator-mcp end\n";
const SHEBANG = "#!/bin/sh\n";

/** Where a hook goes that ours can't join. */
export const ASIDE = ".before-orchestrator";

export type Joining =
  /** It is as it should be. */
  | { readonly type: "keep" }
  | { readonly type: "write"; readonly text: string }
  /** The file is moved aside, and `text` takes its place. */
  | { readonly type: "replace"; readonly text: string };

export interface HookFile {
  /** Null: a link, or something else that is not a plain file. */
  readonly text: string | null;
  readonly isExecutable: boolean;
}

/** `ours` is the shipped hook, `there` the one that is there. */
export function joinHook(name: string, ours: string, there: HookFile | null): Joining {
  const block = blockOf(ours) ?? "";
  if (there === null) return { type: "write", text: SHEBANG + block };
  const { text, isExecutable } = there;
  if (text !== null) {
    const old = blockOf(text);
    if (old !== null) return old === block ? { type: "keep" } : { type: "write", text: text.replace(old, () => block) };
    const end = text.indexOf("\n") + 1;
    // A hook without the right to be run is switched off; ours must not switch it on. One that is nothing but its first
    // line would look like ours alone when the block is gone, and be deleted.
    if (isExecutable && text !== SHEBANG && SHELL.test(text.slice(0, end))) {
      return { type: "write", text: text.slice(0, end) + block + text.slice(end) };
    }
  }
  return { type: "replace", text: SHEBANG + block + runAside(name) };
}

function runAside(name: string): string {
  const aside = `"\${0%/*}/${name}${ASIDE}"`;
  return `# What was here before.\nif [ -x ${aside} ]; then exec ${aside} "$@"; fi\n`;
}

export type Leaving =
  | { readonly type: "keep" }
  | { readonly type: "delete" }
  | { readonly type: "write"; readonly text: string }
  /** What was moved aside goes back to its place. */
  | { readonly type: "put-back" };

/** What a person wrote into the file since stays, also where ours stands in for another: that one is still run by it. */
export function leaveHook(name: string, there: string, hasAside: boolean): Leaving {
  const block = blockOf(there);
  if (block === null) return { type: "keep" };
  const rest = there.replace(block, () => "");
  const isStandIn = rest === SHEBANG + runAside(name);
  if (isStandIn && hasAside) return { type: "put-back" };
  return rest === SHEBANG || isStandIn ? { type: "delete" } : { type: "write", text: rest };
}

export function hasBlock(text: string): boolean {
  return blockOf(text) !== null;
}

/** Shells in which the block means what it says, with options that do not make it talk or stop. */
const SHELL =
  /^#![ \t]*(?:\/usr)?(?:\/local)?\/bin\/(?:env[ \t]+)?(?:sh|bash|dash|ash|ksh|zsh)(?:[ \t]+-[euf]+)*[ \t]*\n$/;

function blockOf(text: string): string | null {
  const start = text.indexOf(BLOCK_BEGIN);
  if (start === -1 || (start > 0 && text[start - 1] !== "\n")) return null;
  const end = text.indexOf(BLOCK_END, start);
  return end === -1 ? null : text.slice(start, end + BLOCK_END.length);
}
