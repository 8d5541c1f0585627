// Stands in for Claude Code's print mode in the flood bench. Its prompt is JSON: `{ quietUntil, everyMs }` prints a line
// that tells the time now and then until that file is there; `{ shape, bytes }` prints so much of that shape at once.
import { existsSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

// Its stdin stays open until it has said its last word.
const first = await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
const order = /\{"(?:quietUntil|shape)".*?\}/.exec(JSON.parse(first).message.content)?.[0] ?? "{}";
const { quietUntil, everyMs, shape, bytes } = JSON.parse(order);
const session_id = "bench";

say({ type: "system", subtype: "init", session_id });
if (quietUntil !== undefined) {
  while (!existsSync(quietUntil)) {
    await delay(everyMs);
    say({
      type: "system",
      subtype: "init",
      session_id: `at-${(performance.timeOrigin + performance.now()).toFixed(3)}`,
    });
  }
} else {
  flood(shape, bytes);
}
say({
  type: "assistant",
  message: { id: "m", role: "assistant", model: "m", content: [{ type: "text", text: "done" }] },
});
const usage = { num_turns: 1, total_cost_usd: 0, modelUsage: {} };
say({ type: "result", subtype: "success", is_error: false, result: "done", session_id, ...usage });

function say(event) {
  write(1, `${JSON.stringify(event)}\n`);
}

function flood(kind, size) {
  const text = "x".repeat(64 * 1024);
  const spoken = (words) =>
    `${JSON.stringify({ type: "assistant", message: { role: "assistant", content: [{ type: "text", text: words }] } })}\n`;
  switch (kind) {
    case "short-lines":
      return repeat(1, "a short line that is no JSON\n".repeat(2000), size);
    case "stderr":
      return repeat(2, "a warning, again and again and again\n".repeat(2000), size);
    case "json-lines":
      return repeat(1, spoken("some words of a model").repeat(400), size);
    case "one-line":
      repeat(1, text, size);
      return write(1, "\n");
    case "huge-json": {
      const [head, tail] = spoken("@").split("@");
      write(1, head);
      repeat(1, text, size);
      return write(1, tail);
    }
    default:
      throw new Error(`no such flood: ${kind}`);
  }
}

function repeat(descriptor, text, size) {
  const piece = Buffer.from(text);
  for (let written = 0; written < size; written += piece.length) write(descriptor, piece);
}

/** All of it, however full the pipe is. */
function write(descriptor, data) {
  const left = Buffer.from(data);
  for (let at = 0; at < left.length;) {
    try {
      at += writeSync(descriptor, left, at);
    } catch (thrown) {
      if (thrown.code !== "EAGAIN") throw thrown;
    }
  }
}
