/**
 * Names the places between two effects at which the engine may be killed. Does nothing and can't be made to do anything:
 * `test/tools/fault-build.js` makes a build of its own in which this one module kills the process instead, and
 * `test/e2e/crash-points.test.ts` dies at every name that stands in the sources. A name is told once in the sources.
 */
export function crashPoint(_name: string): void {}
