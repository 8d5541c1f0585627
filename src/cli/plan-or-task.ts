/** People name a plan or a task by one word: with a slash it is a task, else a plan where there is one, else a task. */
import { AppError, hasCode } from "../errors.ts";

export type Subject = { readonly plan: string } | { readonly task: string };

/** Calls with what the name means. Throws TASK_NOT_FOUND when it means nothing. */
export async function callByName<Result>(name: string, call: (subject: Subject) => Promise<Result>): Promise<Result> {
  if (name.includes("/")) return await call({ task: name });
  try {
    return await call({ plan: name });
  } catch (thrown) {
    if (!hasCode(thrown, "PLAN_NOT_FOUND")) throw thrown;
    try {
      return await call({ task: name });
    } catch (second) {
      if (!hasCode(second, "TASK_NOT_FOUND")) throw second;
      const near = /; (did you mean .*)$/.exec(thrown.message)?.[1];
      // Several plans have a task of that name: that is what must be said.
      if (second.message.includes("several plans")) throw second;
      const hint = near === undefined ? "`orchestrator status` lists what is open" : near;
      throw new AppError("TASK_NOT_FOUND", `there is no plan and no open task "${name}"; ${hint}`, { cause: second });
    }
  }
}
