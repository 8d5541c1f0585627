import { rmSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";

/**
 * Makes `engine/pipe-main.cjs` of the compiled `engine/pipe-main.js` in `dist` and removes the latter. Each module that
 * Node loads costs about a millisecond, and an ES module as the entry another four: as one CommonJS file the pipe is ready
 * 1.05 times as late as an empty program, else 1.2 times (`npm run bench`). Nothing is minified, so a stack trace shows
 * readable lines. What the pipe loads only when it needs it stays outside, in the files that the engine has too.
 */
export async function bundlePipe(dist) {
  const entry = join(dist, "engine", "pipe-main.js");
  const bundle = await rolldown({
    input: entry,
    platform: "node",
    plugins: [{ name: "keep-lazy", resolveDynamicImport: (specifier) => ({ id: specifier, external: true }) }],
  });
  await bundle.write({ file: join(dist, "engine", "pipe-main.cjs"), format: "cjs", minify: false });
  await bundle.close();
  rmSync(entry);
  rmSync(`${entry}.map`, { force: true });
}
