import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { OutputCapture } from "../../src/process/output-capture.ts";
import { readOutputLog } from "../../src/process/output-log.ts";
import { openBench, PATH, pidIn, type Bench } from "./support.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let bench: Bench;
beforeEach(() => {
  bench = openBench();
});
afterEach(() => bench.close());

const MIB = 1024 * 1024;

describe("B6: output is read as it comes", () => {
  it("in both streams, while the process runs", async () => {
    const heard: string[] = [];
    const child = bench.manager.start(
      bench.spec("echo out; echo err >&2; read answer; echo $answer", {
        keepStdinOpen: true,
        onStdout: (text) => heard.push(text),
        onStderr: (text) => heard.push(text),
      }),
    );
    await until("both were heard", () => heard.includes("out\n") && heard.includes("err\n"));
    expect(child.state).toBe("running");
    expect(child.lastOutputAtMs).toBeGreaterThan(child.startedAtMs);
    expect(child.write("yes\n")).toBe(true);
    const report = await child.exited;
    expect(report.stdoutTail).toBe("out\nyes\n");
    expect(child.write("late\n")).toBe(false);
  });

  it("far beyond a pipe's buffer, though nobody listens, from both streams at once", async () => {
    const script = "head -c 3000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait; echo end";
    const report = await bench.manager.start(bench.spec(script)).exited;
    expect(report).toMatchObject({ exitCode: 0 });
    expect(report.stdoutTail.endsWith("end\n")).toBe(true);
    expect(Buffer.byteLength(report.stderrTail)).toBe(8 * 1024);
  });

  it("every byte of it: no end is lost when the process ends right after a large write", async () => {
    for (let round = 0; round < 5; round++) {
      let bytes = 0;
      const onStdout = (text: string): void => void (bytes += text.length);
      await bench.manager.start(bench.spec("head -c 1000000 /dev/zero", { onStdout })).exited;
      expect(bytes).toBe(1_000_000);
    }
  });

  it("100 MB from one child neither grows memory nor keeps quiet children from being heard, nor fills the disk", async () => {
    let flooded = 0;
    let pongs = 0;
    let most = 0;
    const before = process.memoryUsage().rss;
    const outputDir = join(bench.folder, "flood");
    const enough = join(bench.folder, "enough");
    // Floods until the quiet one was heard often, which it never is where it has to wait for the flood's end.
    const script = `head -c 100000000 /dev/zero; while [ ! -e ${enough} ]; do head -c 1000000 /dev/zero; done`;
    const flood = bench.manager.start(
      bench.spec(script, {
        outputDir,
        maxLogBytes: 4 * MIB,
        onStdout: (text) => {
          flooded += text.length;
          most = Math.max(most, process.memoryUsage.rss());
        },
      }),
    );
    // A quiet child answers each line; each answer sends the next while the flood goes on.
    const quiet = bench.manager.start(
      bench.spec("", {
        file: "cat",
        args: [],
        keepStdinOpen: true,
        onStdout: () => {
          if (flooded > 0 && ++pongs === 20) writeFileSync(enough, "");
          quiet.write("ping\n");
        },
      }),
    );
    quiet.write("ping\n");
    const report = await flood.exited;
    expect(flooded).toBeGreaterThanOrEqual(100_000_000);
    expect(report).toMatchObject({ exitCode: 0, error: null });
    expect(pongs).toBeGreaterThanOrEqual(20);
    expect(most - before).toBeLessThan(80 * MIB);
    const onDisk = readdirSync(outputDir).reduce((sum, name) => sum + statSync(join(outputDir, name)).size, 0);
    expect(onDisk).toBeLessThanOrEqual(4 * MIB);
    await quiet.stop("cancelled");
  });

  it("a grandchild that holds the pipe after the exit is not waited for, and is ended", async () => {
    const pidFile = join(bench.folder, "holder.pid");
    const child = bench.manager.start(
      bench.spec(
        `setsid sh -c 'echo $$ > ${pidFile}; exec sleep 1000' & while [ ! -s ${pidFile} ]; do sleep 0.01; done; echo last words`,
      ),
    );
    const report = await child.exited;
    expect(report).toMatchObject({ exitCode: 0, stdoutTail: "last words\n", straysKilled: 1 });
    expect(isAlive(await pidIn(pidFile))).toBe(false);
  });

  it("a reader that throws ends neither the child nor the reading, and is told once", async () => {
    const child = bench.manager.start(
      bench.spec("echo one; sleep 0.05; echo two", {
        onStdout: () => {
          throw new Error("parser bug");
        },
      }),
    );
    const report = await child.exited;
    expect(report).toMatchObject({ exitCode: 0, stdoutTail: "one\ntwo\n" });
    expect(report.error).toContain("parser bug");
    expect(bench.entries.filter(({ event }) => event === "error")).toHaveLength(1);
  });
});

describe("characters are never cut", () => {
  it("when a real process writes a character in two pieces", async () => {
    const heard: string[] = [];
    const script = String.raw`printf '\303'; sleep 0.1; printf '\244\342\202'; sleep 0.1; printf '\254\n'`;
    await bench.manager.start(bench.spec(script, { onStdout: (text) => heard.push(text) })).exited;
    expect(heard.join("")).toBe("ä€\n");
    expect(heard.every((text) => !text.includes("\ufffd"))).toBe(true);
  });

  it("whatever the cuts: the text is the same, and so is the tail", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary" }), fc.array(fc.nat(20)), async (text, cuts) => {
        const whole = Buffer.from(text);
        const chunks: Buffer[] = [];
        let from = 0;
        for (const cut of cuts) {
          chunks.push(whole.subarray(from, from + cut));
          from += cut;
        }
        chunks.push(whole.subarray(from));
        let heard = "";
        const capture = new OutputCapture({
          stream: Readable.from(
            chunks.filter(({ length }) => length > 0),
            { objectMode: false },
          ),
          log: null,
          onOutput: () => {},
          onText: (piece) => (heard += piece),
          onReaderError: () => {},
        });
        await capture.ended;
        expect(heard).toBe(whole.toString("utf8"));
        expect(capture.tail()).toBe(heard);
      }),
    );
  });

  it("a tail that begins within a character drops its rest", async () => {
    const report = await bench.manager.start(
      bench.spec("", { file: process.execPath, args: ["-e", "process.stdout.write('€'.repeat(5000) + '!')"] }),
    ).exited;
    expect(report.stdoutTail).toMatch(/^€+!$/);
  });
});

describe("stdin", () => {
  it("takes a megabyte, whole, while the child answers as much", async () => {
    const text = "0123456789abcde\n".repeat(65_536);
    let answer = "";
    const spec = bench.spec("", { file: "cat", args: [], stdin: text, onStdout: (piece) => (answer += piece) });
    const report = await bench.manager.start(spec).exited;
    expect(report.exitCode).toBe(0);
    expect(answer).toBe(text);
  });

  it("that the child closes early, or never reads, is no error", async () => {
    const stdin = "x".repeat(MIB);
    const closing = await bench.manager.start(bench.spec("exec 0<&-; sleep 0.1; echo fine", { stdin })).exited;
    expect(closing).toMatchObject({ outcome: "exited", exitCode: 0, stdoutTail: "fine\n", error: null });
    const ending = await bench.manager.start(bench.spec("exit 5", { stdin })).exited;
    expect(ending).toMatchObject({ outcome: "exited", exitCode: 5, error: null });
  });

  it("is at its end at once when there is nothing for it", async () => {
    const report = await bench.manager.start(bench.spec("cat; echo over")).exited;
    expect(report.stdoutTail).toBe("over\n");
  });

  it("kept open ends when told to, and takes nothing that was not announced", async () => {
    const open = bench.manager.start(bench.spec("", { file: "cat", args: [], stdin: "a", keepStdinOpen: true }));
    expect(open.write("b")).toBe(true);
    open.endStdin();
    expect(open.write("c")).toBe(false);
    expect((await open.exited).stdoutTail).toBe("ab");
    const closed = bench.manager.start(bench.spec("sleep 1000", { stdin: "a" }));
    expect(closed.write("b")).toBe(false);
  });
});

describe("raw output on disk", () => {
  it("is whole while it fits, for its owner only", async () => {
    const outputDir = join(bench.folder, "attempts", "one");
    await bench.manager.start(bench.spec("echo out; echo err >&2", { outputDir })).exited;
    expect(readFileSync(join(outputDir, "stdout.log"), "utf8")).toBe("out\n");
    expect(await readOutputLog(outputDir, "stderr")).toBe("err\n");
    expect(statSync(outputDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(outputDir, "stdout.log")).mode & 0o777).toBe(0o600);
  });

  it("keeps head and tail and says how much is missing between them", async () => {
    const outputDir = join(bench.folder, "cut");
    const script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
    await bench.manager.start(bench.spec(script, { outputDir, maxLogBytes: 4096 })).exited;
    const text = await readOutputLog(outputDir, "stdout");
    const [head, missing, tail] = text.split(/\n\[… (\d+) bytes were left out here …\]\n/);
    const whole = Array.from({ length: 2000 }, (_, index) => `line ${index}\n`).join("");
    expect(head).toBe(whole.slice(0, 2048));
    expect(whole.endsWith(tail ?? "?")).toBe(true);
    expect((head?.length ?? 0) + Number(missing) + (tail?.length ?? 0)).toBe(whole.length);
    expect(tail?.length).toBeGreaterThan(1000);
    const files = readdirSync(outputDir).map((name) => statSync(join(outputDir, name)).size);
    expect(files.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(4096);
  });

  it("of an earlier run in the same folder is kept aside, once", async () => {
    const outputDir = join(bench.folder, "again");
    for (const word of ["one", "two", "three"]) {
      await bench.manager.start(bench.spec(`echo ${word}`, { outputDir })).exited;
    }
    expect(await readOutputLog(outputDir, "stdout")).toBe("three\n");
    expect(await readOutputLog(join(outputDir, "previous"), "stdout")).toBe("two\n");
  });

  it("that can't be written costs the log, not the work", async () => {
    const file = join(bench.folder, "a-file");
    writeFileSync(file, "");
    const spec = bench.spec("head -c 3000000 /dev/zero; echo end", { outputDir: join(file, "below"), env: { PATH } });
    const report = await bench.manager.start(spec).exited;
    expect(report).toMatchObject({ outcome: "exited", exitCode: 0 });
    expect(report.stdoutTail.endsWith("end\n")).toBe(true);
    expect(report.error).toMatch(/can't be kept/);
  });

  it("whose folder goes away under it costs the rest of the log, not the work", async () => {
    const outputDir = join(bench.folder, "gone");
    const spec = bench.spec(`rm -r ${outputDir}; head -c 30000000 /dev/zero; echo end`, { outputDir });
    const report = await bench.manager.start(spec).exited;
    expect(report).toMatchObject({ outcome: "exited", exitCode: 0 });
    expect(report.stdoutTail.endsWith("end\n")).toBe(true);
    expect(report.error).toMatch(/stdout is no longer kept/);
  });
});
