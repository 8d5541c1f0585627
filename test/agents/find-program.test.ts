import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findProgram } from "../../src/agents/find-program.ts";

let folder = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "find-program-"));
  for (const name of ["one", "two"]) await mkdir(join(folder, name));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function program(path: string, mode = 0o755): Promise<string> {
  const file = join(folder, path);
  await writeFile(file, "#!/bin/sh\n");
  await chmod(file, mode);
  return file;
}

test("the first executable file on the path is taken; folders and plain files are passed over", async () => {
  await program("one/plain", 0o644);
  await mkdir(join(folder, "one", "tool"));
  const tool = await program("two/tool");
  const plain = await program("two/plain");
  const path = `${join(folder, "missing")}:${join(folder, "one")}:${join(folder, "two")}`;
  expect(await findProgram("tool", path)).toBe(tool);
  expect(await findProgram("plain", path)).toBe(plain);
  expect(await findProgram("other", path)).toBeNull();
});

test("a link to a program counts, a dangling one does not", async () => {
  await program("two/tool");
  await symlink(join(folder, "two", "tool"), join(folder, "one", "link"));
  await symlink(join(folder, "two", "gone"), join(folder, "one", "dangling"));
  expect(await findProgram("link", join(folder, "one"))).toBe(join(folder, "one", "link"));
  expect(await findProgram("dangling", join(folder, "one"))).toBeNull();
});

test("a name with a slash is checked where it is and never looked up", async () => {
  const tool = await program("two/tool");
  expect(await findProgram(tool, "")).toBe(tool);
  expect(await findProgram("./two/tool", "", folder)).toBe(tool);
  expect(await findProgram("two/other", join(folder, "two"), folder)).toBeNull();
});

test("empty and relative entries of the path are passed over, odd names are not found", async () => {
  await program("two/tool");
  expect(await findProgram("tool", "::two:.", join(folder, "two"))).toBeNull();
  expect(await findProgram("", join(folder, "two"))).toBeNull();
  expect(await findProgram("to\0ol", join(folder, "two"))).toBeNull();
});
