/** `questions` and `answer`: what agents ask, and what they are told. */
import { randomUUID } from "node:crypto";
import { openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { readStdin } from "../plan-file.ts";
import { renderAnswered, renderQuestions } from "../render-questions.ts";
import type { VerbRunner } from "../verb.ts";

export const runQuestions: VerbRunner = async (invocation, terminal) => {
  const [name] = invocation.positionals;
  const isId = name !== undefined && /^q\d+$/i.test(name);
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const listed = await session.call("list_questions", {
      ...(name === undefined ? {} : isId ? { id: name } : { plan: name }),
      ...(invocation.has("all") ? { all: true } : {}),
    });
    if (invocation.json) terminal.printJson(listed);
    else terminal.print(...renderQuestions(listed));
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

export const runAnswer: VerbRunner = async (invocation, terminal) => {
  const [id = "", word = ""] = invocation.positionals;
  const answer = word === "-" ? (await readStdin(process.stdin)).text : word;
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const answered = await session.call("answer_question", { id, answer, key: randomUUID() });
    if (invocation.json) terminal.printJson(answered);
    else terminal.print(...renderAnswered(answered));
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};
