import { z } from "zod";
import type { Operation } from "./operation.ts";
import { TASK_NAME } from "./shapes.ts";

const input = z.strictObject({ task: TASK_NAME });
const output = z.object({ summary: z.string(), task: z.string(), diff: z.string() });

export const readDiff: Operation<z.infer<typeof input>, z.infer<typeof output>> = {
  name: "read_diff",
  title: "A task's diff",
  description: "What a task changed, or has changed so far, against where it began.",
  audience: "operator",
  isTool: false,
  isReading: true,
  input,
  output,
  async run(app, value) {
    const task = await app.findTask(value.task);
    const diff = await app.diffOf(task);
    return { summary: diff === "" ? `${task} changed nothing yet.` : `The diff of ${task}.`, task, diff };
  },
  text: (result) => result.diff,
};
