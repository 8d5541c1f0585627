/** `orchestrator config`: reads and changes the config's files. Needs no engine, and no repository for the user's own. */
import { changeSetting, getSetting } from "../../config/edit.ts";
import { globalConfigPath, loadConfig, orchestratorHome, projectConfigPath } from "../../config/index.ts";
import { configSchemaText } from "../../config/json-schema.ts";
import { AppError, hasCode } from "../../errors.ts";
import { nearestName } from "../../nearest-name.ts";
import { findRepositoryFor } from "../engine-session.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { styled } from "../styled.ts";
import type { Terminal } from "../terminal.ts";
import type { Invocation, VerbRunner } from "../verb.ts";

const ACTIONS = ["get", "set", "unset", "schema", "path"] as const;

export const runConfig: VerbRunner = async (invocation, terminal) => {
  const [action = "", key, value] = invocation.positionals;
  const places = { home: orchestratorHome(), mainWorktree: findMainWorktree(invocation) };
  switch (ACTIONS.find((candidate) => candidate === action)) {
    case "get":
      if (value !== undefined) throw usage("config get takes one KEY");
      return get(places, key, invocation, terminal);
    case "set":
      if (key === undefined || value === undefined) throw usage("config set needs KEY and VALUE");
      return await change(places, key, value, invocation, terminal);
    case "unset":
      if (key === undefined || value !== undefined) throw usage("config unset takes one KEY");
      return await change(places, key, null, invocation, terminal);
    case "schema":
      terminal.writeRaw(`${configSchemaText().trimEnd()}\n`);
      return EXIT.succeeded;
    case "path":
      return paths(places, invocation, terminal);
    case undefined: {
      const near = nearestName(action, ACTIONS);
      throw usage(
        `config has no action ${JSON.stringify(action.slice(0, 40))}${near === null ? "" : `; did you mean "${near}"?`}`,
      );
    }
  }
};

interface Places {
  readonly home: string;
  readonly mainWorktree: string | null;
}

function get(places: Places, key: string | undefined, invocation: Invocation, terminal: Terminal): ExitCode {
  const loaded = loadConfig(places);
  const setting = getSetting(loaded, key);
  if (invocation.json) terminal.printJson(setting);
  else {
    terminal.print(typeof setting.value === "string" ? setting.value : JSON.stringify(setting.value, null, 2));
    if (key !== undefined) terminal.note([styled(`(${setting.origin.file ?? "built-in default"})`, "dim")]);
  }
  for (const warning of loaded.warnings) terminal.note(`warning: ${warning}`);
  const { path, state } = loaded.projectFile;
  if (state === "untrusted" || state === "changed") {
    terminal.note(
      `warning: ${path ?? ""} is ${state === "changed" ? "changed since it was trusted" : "not trusted"} and has no effect: orchestrator trust`,
    );
  }
  return EXIT.succeeded;
}

async function change(
  places: Places,
  key: string,
  value: string | null,
  invocation: Invocation,
  terminal: Terminal,
): Promise<ExitCode> {
  const scope = invocation.has("project") ? "project" : "global";
  const changed = await changeSetting({ ...places, scope, key, value });
  if (invocation.json) terminal.printJson(changed);
  else
    terminal.print(
      value === null
        ? `${changed.key} taken out of ${changed.file}`
        : `${changed.key} = ${JSON.stringify(changed.value)} in ${changed.file}`,
    );
  if (changed.isTrusted === false)
    terminal.note("warning: that file is not trusted and has no effect: orchestrator trust");
  return EXIT.succeeded;
}

function paths({ home, mainWorktree }: Places, invocation: Invocation, terminal: Terminal): ExitCode {
  const global = globalConfigPath(home);
  const project = mainWorktree === null ? null : projectConfigPath(mainWorktree);
  if (invocation.json) terminal.printJson({ global, project });
  else terminal.print(`global:  ${global}`, `project: ${project ?? "(no repository here)"}`);
  return EXIT.succeeded;
}

/** A repository that was named must be there; the current folder may be anywhere. */
function findMainWorktree(invocation: Invocation): string | null {
  try {
    return findRepositoryFor(invocation.repo).mainWorktree;
  } catch (thrown) {
    if (invocation.repo === null && hasCode(thrown, "NOT_A_REPOSITORY")) return null;
    throw thrown;
  }
}

function usage(problem: string): AppError {
  return new AppError(
    "USAGE",
    `${problem}. Usage: orchestrator config get [KEY] | set KEY VALUE | unset KEY | schema | path`,
  );
}
