/**
 * The build that can die at its crash points, for the tests of one file; import it before anything that runs a build.
 * ORCHESTRATOR_FAULT_DIST names one that is there already, as `crash-mutations.js` does.
 */
import { afterAll } from "vitest";
import { makeFaultBuild, removeFaultBuild } from "../tools/fault-build.js";

const given = process.env["ORCHESTRATOR_FAULT_DIST"];
const dist = given ?? (await makeFaultBuild());
// `engine-support.ts` reads it when it is loaded.
process.env["ORCHESTRATOR_DIST"] = dist;

afterAll(() => {
  if (given === undefined) removeFaultBuild(dist);
});
