/** Whether the agent CLIs that are here know us as an MCP server, and whether what they would start is still there. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute } from "node:path";
import { messageOf } from "../../errors.ts";
import { findHosts, type HostHere } from "../init/hosts.ts";
import { SERVER_KEY } from "../init/host.ts";
import { readWhole } from "../init/owned-file.ts";
import type { Finding } from "../render-doctor.ts";

export async function checkRegistrations(home: string): Promise<Finding[]> {
  const here = (await findHosts(home)).filter(({ program }) => program !== null);
  return await Promise.all(here.map(checkHost));
}

async function checkHost({ host }: HostHere): Promise<Finding> {
  const check = "registered";
  const file = host.file(process.env, homedir());
  try {
    const found = await host.find(readWhole(file) ?? "");
    // Nobody needs it who works from the command line; a project's own .mcp.json may have it too.
    if (found === null) {
      const message = `${host.name} has no ${SERVER_KEY} in ${file}`;
      return { check, level: "ok", message, fix: "orchestrator init" };
    }
    const gone = [found.command, ...found.args].filter((word) => isAbsolute(word) && !existsSync(word));
    if (gone.length === 0) return { check, level: "ok", message: `${host.name}, in ${file}`, fix: null };
    const message = `${host.name} would start what is not there: ${gone.join(", ")} (${file})`;
    return { check, level: "warn", message, fix: "orchestrator init" };
  } catch (thrown) {
    return {
      check,
      level: "warn",
      message: `${host.name}, ${file}: ${messageOf(thrown)}`,
      fix: `mend ${file}, then orchestrator init`,
    };
  }
}
