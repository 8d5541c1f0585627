import { z } from "zod";
import type { Operation } from "./operation.ts";

const input = z.strictObject({ plan: z.string().max(64) });
const output = z.object({ summary: z.string() });

/** For the second Ctrl-C. The first has paused the plan. */
export const endNow: Operation<z.infer<typeof input>, z.infer<typeof output>> = {
  name: "end_now",
  title: "End a paused plan's agents now",
  description: "Ends at once those agents of a plan that were asked to end and still have their grace.",
  audience: "operator",
  isTool: false,
  isReading: false,
  input,
  output,
  async run(app, { plan }) {
    const planId = await app.openPlan(plan);
    app.scheduler.endNow(planId);
    return { summary: `What was asked to end in plan ${planId} ends now.` };
  },
  text: (result) => result.summary,
};
