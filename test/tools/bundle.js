import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { rolldown } from "rolldown";

/**
 * What is run or loaded by its path, below `dist`: programs, what the pipe loads only when it needs it, and the client
 * for programs that are not ours. Everything else is in chunks that these share.
 */
const ENTRIES = [
  "agents/goose-read-server",
  "cli/main",
  "engine/client",
  "engine/engine-log",
  "engine/engine-main",
  "engine/launcher-main",
  "engine/pipe-offline",
  "engine/start",
  "process/guard-main",
];

/**
 * Makes the programs of `dist` of the compiled `modules`, dependencies included: an engine that loads five hundred files
 * is there half a second of processor time later than one that loads a few, and so is each command. Nothing is minified,
 * so a stack trace shows readable lines.
 * @param {string} modules what tsc made of src/
 * @param {string} dist
 */
export async function bundlePrograms(modules, dist) {
  const bundle = await rolldown({
    input: Object.fromEntries(ENTRIES.map((name) => [name, join(modules, `${name}.js`)])),
    platform: "node",
    // A native part, found from its package's own place.
    external: ["better-sqlite3"],
    // Its main file is of a form that can't be bundled.
    resolve: { alias: { "jsonc-parser": "jsonc-parser/lib/esm/main.js" } },
    plugins: [{ name: "own-places", transform: (code, id) => withOwnPlace(code, id, modules) }],
  });
  const { output } = await bundle.write({ dir: dist, format: "esm", chunkFileNames: "chunks/[name].js" });
  await bundle.close();
  const ids = output.flatMap((file) => (file.type === "chunk" ? file.moduleIds : []));
  writeFileSync(join(dist, "third-party-licenses.txt"), licensesOf(ids));
  await bundlePipe(modules, dist);
}

/**
 * Makes `engine/pipe-main.cjs`. Each module that Node loads costs about a millisecond, and an ES module as the entry
 * another four: as one CommonJS file the pipe is ready 1.05 times as late as an empty program, else 1.2 times (`npm run
 * bench`). What the pipe loads only when it needs it stays outside, in files beside it.
 * @param {string} modules
 * @param {string} dist
 */
export async function bundlePipe(modules, dist) {
  const bundle = await rolldown({
    input: join(modules, "engine", "pipe-main.js"),
    platform: "node",
    plugins: [{ name: "keep-lazy", resolveDynamicImport: (specifier) => ({ id: specifier, external: true }) }],
  });
  await bundle.write({ file: join(dist, "engine", "pipe-main.cjs"), format: "cjs", minify: false });
  await bundle.close();
}

/**
 * A module of ours finds files by its own place (`new URL("./guard-main.js", import.meta.url)`); in a chunk it is
 * elsewhere. Entries and chunks are all one folder below `dist`, as `../` says here.
 * @param {string} code
 * @param {string} id
 * @param {string} modules
 */
function withOwnPlace(code, id, modules) {
  if (!id.startsWith(modules + sep) || !code.includes("import.meta.url")) return undefined;
  const place = relative(modules, id).split(sep).join("/");
  return code.replaceAll("import.meta.url", `new URL(${JSON.stringify(`../${place}`)}, import.meta.url).href`);
}

/**
 * The licenses of what is bundled ask to go with it.
 * @param {readonly string[]} ids
 */
function licensesOf(ids) {
  const folders = new Set(ids.map((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? "").filter(Boolean));
  const texts = [...folders].map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} is bundled and has no license file: say its license here`);
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  return texts.sort().join(`\n${"-".repeat(80)}\n\n`);
}
