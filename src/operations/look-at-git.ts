import { z } from "zod";
import type { Operation } from "./operation.ts";

const input = z.strictObject({});
const output = z.object({ summary: z.string() });

/** For `wake`, `trust` and `hooks install`: from then on what happens in git is seen. */
export const lookAtGit: Operation<z.infer<typeof input>, z.infer<typeof output>> = {
  name: "look_at_git",
  title: "Look at git now",
  description: "Reads the config again and looks at what git did since the last look, for follow-ups.",
  audience: "operator",
  isTool: false,
  isReading: false,
  input,
  output,
  async run(app) {
    await app.lookAtGit();
    return { summary: "Looked at what git did." };
  },
  text: (result) => result.summary,
};
