/** Starts an engine's process and hears how that went. Loaded only by who starts one. */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, rmSync, statSync } from "node:fs";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { AppError } from "../errors.ts";
import { engineEnvironment } from "./environment.ts";
import { isFields, parseFields, type WireError } from "./protocol.ts";
import { LEAST_DESCRIPTORS, mostDescriptors } from "./descriptors.ts";
import { toStartFailure } from "./start-failure.ts";
import { ensureStateFolder } from "./state-folder.ts";

/** What an engine that was just started tells the one who started it, over descriptor 3: one JSON line, then nothing. */
export type StartReport =
  | { readonly outcome: "ready" }
  /** Another client is starting one: look for it, and ask again. */
  | { readonly outcome: "begun" }
  /** Another engine holds the lock. */
  | { readonly outcome: "held" }
  | { readonly outcome: "failed"; readonly error: WireError }
  /** It ended without a word: engine.log may have more. */
  | { readonly outcome: "died" };

/** Starts an engine process; resolves with what it reports. Never rejects but for a state folder that can't be used. */
export async function startEngine(commonDir: string, environment: NodeJS.ProcessEnv): Promise<StartReport> {
  let logFile: number | null = null;
  let claim: string | null = null;
  try {
    checkDescriptors();
    const folder = ensureStateFolder(commonDir);
    if (!tryClaimStart(folder.startFile)) return { outcome: "begun" };
    claim = folder.startFile;
    logFile = openSync(folder.logFile, "a", 0o600);
    const launcher = spawn(
      process.execPath,
      [fileURLToPath(new URL("./launcher-main.js", import.meta.url)), "--common-dir", commonDir],
      {
        // Not the caller's folder: it may be a worktree that is removed later.
        cwd: commonDir,
        detached: true,
        env: engineEnvironment(environment, folder.hash),
        stdio: ["ignore", logFile, logFile, "pipe"],
      },
    );
    launcher.unref();
    return await hearReport(launcher);
  } catch (thrown) {
    // An engine that had nothing stored took the folder away with it: look again.
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return { outcome: "begun" };
    return { outcome: "failed", error: toStartFailure(thrown) };
  } finally {
    if (logFile !== null) closeSync(logFile);
    if (claim !== null) rmSync(claim, { force: true });
  }
}

export interface OwnEngine {
  readonly report: StartReport;
  readonly child: ChildProcess;
}

/**
 * Starts an engine that ends when this process does, for who runs one in the foreground. In a session of its own: Ctrl-C
 * in a terminal reaches every process of the group, and would end the engine's git in the middle of the user's files.
 * Throws STATE_UNUSABLE.
 */
export async function startOwnEngine(commonDir: string, environment: NodeJS.ProcessEnv): Promise<OwnEngine> {
  checkDescriptors();
  const folder = ensureStateFolder(commonDir);
  const logFile = openSync(folder.logFile, "a", 0o600);
  const program = fileURLToPath(new URL("./engine-main.js", import.meta.url));
  try {
    const child = spawn(
      process.execPath,
      [program, "--report-fd", "3", "--until-end-of", "4", "--common-dir", commonDir],
      {
        cwd: commonDir,
        detached: true,
        env: engineEnvironment(environment, folder.hash),
        stdio: ["ignore", logFile, logFile, "pipe", "pipe"],
      },
    );
    return { report: await hearReport(child), child };
  } finally {
    closeSync(logFile);
  }
}

function hearReport(child: ChildProcess): Promise<StartReport> {
  return new Promise((resolve) => {
    let text = "";
    child.on("error", (error) => resolve({ outcome: "failed", error: toStartFailure(error) }));
    const pipe = child.stdio[3] as Socket;
    pipe.setEncoding("utf8");
    pipe.on("data", (chunk: string) => {
      text += chunk;
      // The engine's own children may hold the other end for a while: its line is enough.
      if (text.includes("\n")) pipe.destroy();
    });
    pipe.on("error", () => undefined);
    pipe.on("close", () => resolve(readStartReport(text)));
  });
}

/** Too few for the engine's own code and files: it would fail somewhere in the middle, in words that nobody can use. */
function checkDescriptors(): void {
  const most = mostDescriptors();
  if (most === null || most >= LEAST_DESCRIPTORS) return;
  throw new AppError(
    "STATE_UNUSABLE",
    `only ${most} files may be open at once (ulimit -n), and the engine needs ${LEAST_DESCRIPTORS}. Raise it (\`ulimit -n 1024\`, or its hard limit where that is refused) and call again`,
    { details: { most, least: LEAST_DESCRIPTORS } },
  );
}

/** Past this a claim is one of a client that was killed. */
const START_CLAIM_MS = 5000;

/**
 * When an engine dies all its clients want a new one at the same moment; one process is enough. Only saves work: that
 * there is one engine is the lock's doing.
 */
function tryClaimStart(path: string): boolean {
  const facts = statSync(path, { throwIfNoEntry: false });
  if (facts !== undefined && Math.abs(Date.now() - facts.mtimeMs) > START_CLAIM_MS) rmSync(path, { force: true });
  try {
    closeSync(openSync(path, "wx", 0o600));
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST") return false;
    throw thrown;
  }
}

function readStartReport(text: string): StartReport {
  const fields = parseFields(text);
  const outcome = fields?.["outcome"];
  if (outcome === "ready" || outcome === "held") return { outcome };
  const error = fields?.["error"];
  if (outcome === "failed" && isFields(error)) {
    const { code, message, details } = error;
    if (typeof code === "string" && typeof message === "string") {
      return { outcome, error: { code, message, details: isFields(details) ? details : {} } };
    }
  }
  return { outcome: "died" };
}
