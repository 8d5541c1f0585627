import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join, resolve } from "node:path";

/**
 * The absolute path of the program `name` on `path` (a PATH value), or null when there is none that can be executed.
 * A name with a slash is not looked up but checked where it is (relative to `cwd`). Relative and empty entries of
 * `path` are passed over: they would start whatever lies in the folder the engine happens to be in. Never throws.
 */
export async function findProgram(name: string, path: string, cwd: string = process.cwd()): Promise<string | null> {
  if (name === "" || name.includes("\0")) return null;
  if (name.includes("/")) {
    const file = resolve(cwd, name);
    return (await isExecutableFile(file)) ? file : null;
  }
  for (const folder of path.split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const file = join(folder, name);
    if (await isExecutableFile(file)) return file;
  }
  return null;
}

/** Folders can be "executable" too, so the kind of file is looked at as well. */
async function isExecutableFile(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
