/** What a person sees in a real terminal: the command runs in a pseudo-terminal, and a small screen shows what it drew. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { commandTask, openCliScene, type CliScene } from "../cli/cli-scene.ts";
import { shownOn } from "./small-screen.ts";

const PROGRAM =
  process.env["ORCHESTRATOR_TEST_PROGRAM"] ?? fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
/** Node has no pseudo-terminals; Python's standard library does. */
const BRIDGE = `
import fcntl, os, pty, select, struct, sys, termios
columns, rows = int(sys.argv[1]), int(sys.argv[2])
pid, terminal = pty.fork()
if pid == 0:
    # The size is there before the program looks.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.execvp(sys.argv[3], sys.argv[3:])
sources = [terminal, 0]
while True:
    for source in select.select(sources, [], [])[0]:
        try:
            data = os.read(source, 65536)
        except OSError:
            data = b""
        if source == 0 and data: os.write(terminal, data)
        elif source == 0: sources.remove(0)
        elif data: os.write(1, data)
        else: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;
import { until } from "../support/until.js";

const hasPython = ((): boolean => {
  try {
    execFileSync("python3", ["-c", "import pty"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

let scene: CliScene | null = null;
afterEach(async () => {
  await scene?.leave();
  scene = null;
});

interface OpenTerminal {
  readonly drawn: () => string;
  readonly says: (text: string) => Promise<void>;
  readonly press: (keys: string) => void;
  /** Closes it, as a window's owner does. */
  readonly hangUp: () => void;
  readonly ended: Promise<number | null>;
}

function openTerminal(words: readonly string[], columns: number, rows: number): OpenTerminal {
  if (scene === null) throw new Error("no scene");
  const env = {
    ...process.env,
    HOME: `${scene.folder}/user`,
    ORCHESTRATOR_HOME: `${scene.folder}/home`,
    TERM: "xterm",
  };
  const args = ["-c", BRIDGE, String(columns), String(rows), process.execPath, PROGRAM, ...words];
  const child = spawn("python3", args, { cwd: scene.repository, env, stdio: ["pipe", "pipe", "inherit"] });
  let drawn = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (drawn += chunk));
  child.stdin.on("error", () => undefined);
  return {
    drawn: () => drawn,
    says: async (text) => {
      await until(
        `the terminal shows ${JSON.stringify(text)}`,
        () => {
          if (!drawn.includes(text) && child.stdout.closed) throw new Error(`It ended without: ${drawn}`);
          return drawn.includes(text);
        },
        () => drawn,
      );
    },
    press: (keys) => void child.stdin.write(keys),
    // Its end hangs up the terminal, which ends the command.
    hangUp: () => void child.kill("SIGKILL"),
    ended: new Promise((resolve) => child.on("close", resolve)),
  };
}

interface Shown {
  readonly code: number | null;
  readonly drawn: string;
}

/** `interruptAt`: Ctrl-C is pressed as soon as this is on the screen. */
async function inTerminal(
  words: readonly string[],
  columns: number,
  rows: number,
  interruptAt?: string,
): Promise<Shown> {
  const shown = openTerminal(words, columns, rows);
  try {
    if (interruptAt !== undefined) {
      await shown.says(interruptAt);
      shown.press("\u0003");
    }
    const code = await shown.ended;
    return { code, drawn: shown.drawn() };
  } finally {
    shown.hangUp();
  }
}

describe.skipIf(!hasPython)("in a terminal", () => {
  test.each([
    [80, 24],
    [20, 8],
  ])(
    "of %i columns and %i rows the list of tasks is drawn in place, and stands there once at the end",
    async (columns, rows) => {
      scene = openCliScene();
      const tasks = Array.from({ length: 12 }, (_, index) =>
        commandTask(`t${index}`, `printf 'a\\033[2Jb\\n'; echo ${index} > t${index}.txt`, {
          title:
            "漢字の長いタイトル \u001b]0;title\u0007 and more of it than fits into a line of eighty columns, surely",
        }),
      );
      const plan = scene.file("plan.json", { name: "live", tasks });
      const { code, drawn } = await inTerminal(["run", plan], columns, rows);
      expect(code).toBe(0);
      const lines = shownOn(drawn, columns, rows);
      for (const { id } of tasks as { id: string }[])
        expect(lines.filter((line) => new RegExp(`^  ✓ ${id}\\b`).test(line))).toHaveLength(1);
      expect(lines.filter((line) => line.startsWith("live → main"))).toHaveLength(1);
      // Redrawn while it ran; the cursor was given back.
      expect(drawn.split("\u001b[?25l")).toHaveLength(2);
      expect(drawn.lastIndexOf("\u001b[?25h")).toBeGreaterThan(drawn.lastIndexOf("\u001b[?25l"));
    },
  );

  test("7: Ctrl-C under serve does not reach the engine's git in the user's checkout; the merge stands, all ends", async () => {
    scene = openCliScene();
    const smudged = `${scene.folder}/smudged`;
    const script = scene.file("smudge.sh", `pwd >> ${smudged}\n[ "$(pwd)" = ${scene.repository} ] && sleep 3\ncat\n`);
    scene.git("config", "filter.slow.smudge", `sh ${script}`);
    writeFileSync(join(scene.repository, ".gitattributes"), "*.slow filter=slow\n");
    scene.git("add", ".gitattributes");
    scene.git("commit", "-qm", "attributes");
    const served = openTerminal(["serve"], 80, 24);
    await served.says("Ctrl-C ends it.");
    const tasks = [commandTask("a", "echo a > a.slow; echo b > b.txt", { writes: ["*"] })];
    const plan = scene.file("plan.json", { name: "slow", tasks });
    expect((await scene.run(["run", plan, "--detach"])).code).toBe(0);
    const inCheckout = (): boolean =>
      existsSync(smudged) && readFileSync(smudged, "utf8").includes(`${scene?.repository}\n`);
    await until("git writes into the checkout", inCheckout);
    served.press("\u0003");
    expect(await served.ended).toBe(130);
    expect(JSON.parse((await scene.run(["ps", "--json"])).stdout)).toMatchObject({ running: false });
    expect(scene.git("status", "--porcelain")).toBe("");
    expect(scene.read("a.slow")).toBe("a\n");
    const status = JSON.parse((await scene.run(["status", "slow/a", "--json"])).stdout) as { task: { state: string } };
    expect(status.task.state).toBe("succeeded");
  });

  test("7: a terminal that closes ends run, not the engine: what it carries out goes on", async () => {
    scene = openCliScene();
    const go = `${scene.folder}/go`;
    const prompt = `while [ ! -e '${go}' ]; do sleep 0.1; done; echo a > a.txt`;
    const plan = scene.file("plan.json", { name: "closed", tasks: [commandTask("a", prompt)] });
    const shown = openTerminal(["run", plan], 80, 24);
    await shown.says("running");
    shown.hangUp();
    await shown.ended;
    scene.file("go", "");
    const end = (await scene.run(["status", "closed", "--watch", "--json"])).stdout;
    expect(end).toContain('"state":"succeeded"');
    expect(scene.read("a.txt")).toBe("a\n");
  });

  test("Ctrl-C pauses, the cursor comes back, and the exit code is 130", async () => {
    scene = openCliScene();
    const plan = scene.file("plan.json", { name: "held", tasks: [commandTask("a", "sleep 60")] });
    const { code, drawn } = await inTerminal(["run", plan], 60, 12, "running");
    expect(code).toBe(130);
    expect(drawn).toContain("orchestrator resume held");
    expect(drawn.lastIndexOf("\u001b[?25h")).toBeGreaterThan(drawn.lastIndexOf("\u001b[?25l"));
  });
});
