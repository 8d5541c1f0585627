/** Questions of agents through the real engine: command agents ask with `orchestrator ask`, people and parents answer. */
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Ground, type Fields, type Repo } from "./engine-support.ts";
import { runCli } from "./run-cli.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;

function begin(questions: Fields = {}, more: Fields = {}): void {
  ground = new Ground({ questions: { route: ["memory", "human"], ...questions }, ...more });
  repo = ground.main;
}
afterEach(async () => {
  await ground.leave();
});

async function openIds(count: number): Promise<string[]> {
  let ids: string[] = [];
  await until(
    `${count} questions are open`,
    async () => {
      const { questions } = (await repo.call("list_questions", {})) as { questions: { id: string }[] };
      ids = questions.map(({ id }) => id);
      return ids.length === count;
    },
    () => `Open: ${ids.join(", ")}. ${repo.log().slice(-1500)}`,
  );
  return ids;
}

test("X4, M3: a command task asks, a person answers on the command line, and the answer is its output", async () => {
  begin();
  const ask = `answer=$(orchestrator ask "Which colour?" --option red --option blue --context "for the logo"); echo "$answer" > colour.txt`;
  await repo.submit("paint", [{ id: "logo", prompt: ask }]);
  await openIds(1);
  const status = await repo.status({ plan: "paint" });
  expect(status).toMatchObject({
    questions: [
      { id: "q1", task: "paint/logo", question: "Which colour?", options: ["red", "blue"], context: "for the logo" },
    ],
    next: 'answer_question {"id":"q1","answer":"…"}',
  });
  expect(status.summary).toMatch(/^1 question waits for your answer/);
  const shown = await runCli(repo, ["status"]);
  expect(shown.stdout.split("\n")[0]).toBe(
    '? q1 paint/logo asks: Which colour? [red | blue] → orchestrator answer q1 "…"',
  );
  const listed = await runCli(repo, ["questions"]);
  expect(listed.stdout).toContain("for the logo");
  const why = await runCli(repo, ["why", "paint/logo"]);
  expect(why.stdout).toContain("running; its agent asks: Which colour?");
  expect(why.stdout).toContain('clear it with: orchestrator answer q1 "…"');
  const answered = await runCli(repo, ["answer", "q1", "-"], { stdin: "blue\nand bright" });
  expect(answered).toMatchObject({ code: 0, stdout: "q1 is answered; paint/logo goes on with it.\n" });
  expect(await repo.settled("paint")).toBe("succeeded");
  expect(repo.read("colour.txt")).toBe("blue\nand bright\n");
  const again = await runCli(repo, ["answer", "q1", "red"]);
  expect(again.code).toBe(2);
  expect(again.stderr).toContain("was answered already, by human: blue");
});

test("X4: 50 satellites ask at once, each gets its own answer, and the last may be answered first", async () => {
  begin({}, { limits: { agents: 50 } });
  const tasks = Array.from({ length: 50 }, (_, index) => ({
    id: `t${index}`,
    merge: "none",
    prompt: `orchestrator ask "What number has t${index}?" > '${ground.traces}/t${index}'`,
  }));
  await repo.submit("many", tasks, { maxConcurrent: 50 });
  const ids = await openIds(50);
  const status = await repo.status({ plan: "many" });
  // About four characters a token: everything that a parent must know again after it lost its context.
  expect(JSON.stringify(status).length / 4).toBeLessThan(2_000);
  expect(status.summary).toMatch(/^50 questions wait for your answer \(the first \d+ are shown\)/);
  const { questions } = (await repo.call("list_questions", {})) as { questions: { id: string; task: string }[] };
  await Promise.all(
    questions.toReversed().map(({ id, task }) => repo.call("answer_question", { id, answer: `the number of ${task}` })),
  );
  expect(new Set(ids).size).toBe(50);
  expect(await repo.settled("many")).toBe("succeeded");
  for (const { id } of tasks) expect(ground.trace(id)).toEqual([`the number of many/${id}`]);
}, 180_000);

test("X4: a question that nobody answers stops nobody else, and its asker goes on by itself after the deadline", async () => {
  begin({ deadlines: { parentMinutes: 1, orchestratorMinutes: 1, humanMinutes: 0.05 } }, { limits: { agents: 2 } });
  const prompt = `orchestrator ask "Anyone?" > said.txt 2> heard.txt; echo $? > code.txt`;
  await repo.submit("alone", [
    { id: "asks", prompt },
    { id: "works", prompt: "echo done > done.txt" },
  ]);
  await repo.untilState("alone/works", "succeeded");
  expect(await repo.settled("alone")).toBe("succeeded");
  expect(repo.read("said.txt")).toBe("");
  expect(repo.read("code.txt")).toBe("4\n");
  expect(repo.read("heard.txt")).toContain("Use your own judgement");
  expect(await repo.call("list_questions", { id: "q1" })).toMatchObject({
    questions: [{ state: "expired", answeredBy: "nobody" }],
  });
  expect(await repo.refusal("answer_question", { id: "q1", answer: "me" })).toMatchObject({
    code: "QUESTION_ANSWERED",
  });
});

test("X4: the same question is answered from memory, and asked by the same task it is one question", async () => {
  begin();
  await repo.submit("twice", [
    {
      id: "a",
      prompt: 'orchestrator ask "Tabs or spaces?" > a.txt & orchestrator ask "tabs  or SPACES?" > b.txt; wait',
    },
    { id: "b", dependsOn: ["a"], prompt: 'orchestrator ask " tabs or spaces? " > c.txt' },
  ]);
  expect(await openIds(1)).toEqual(["q1"]);
  await repo.call("answer_question", { id: "q1", answer: "spaces" });
  expect(await repo.settled("twice")).toBe("succeeded");
  for (const file of ["a.txt", "b.txt", "c.txt"]) expect(repo.read(file)).toBe("spaces\n");
  expect(await repo.call("list_questions", { all: true })).toMatchObject({
    questions: [
      { id: "q1", answeredBy: "human" },
      { id: "q2", answeredBy: "memory" },
    ],
  });
});

test("6: a question and its answer live through kill -9 of the engine", async () => {
  begin();
  await repo.submit("kept", [{ id: "a", prompt: 'orchestrator ask "Which port?" > port.txt' }]);
  await openIds(1);
  repo.closeClients();
  await repo.killEngine();
  await repo.client();
  // The command began anew and asks again: it is the same question.
  expect(await openIds(1)).toEqual(["q1"]);
  await repo.call("answer_question", { id: "q1", answer: "8080" });
  expect(await repo.settled("kept")).toBe("succeeded");
  expect(repo.read("port.txt")).toBe("8080\n");
});

test("task_status with waitSeconds answers when a question is asked, and at once when one waits unseen", async () => {
  begin();
  const gate = join(ground.traces, "gate");
  await repo.submit("wait", [
    { id: "a", prompt: `while [ ! -e '${gate}' ]; do sleep 0.05; done; orchestrator ask "Now?"` },
  ]);
  await repo.untilState("wait/a", "running");
  const heard: string[] = [];
  const done = join(ground.traces, "done");
  await repo.submit("quiet", [{ id: "a", prompt: `while [ ! -e '${done}' ]; do sleep 0.05; done` }]);
  await repo.untilState("quiet/a", "running");
  const { seq } = await repo.status({ plan: "quiet" });
  let isOver = false;
  // One in which nothing happens tells when the time is over.
  const quiet = repo.call("task_status", { plan: "quiet", since: seq, waitSeconds: 45 });
  quiet.then(
    () => (isOver = true),
    () => undefined,
  );
  const waiting = repo.call("task_status", { since: seq, waitSeconds: 45 }, { onProgress: (text) => heard.push(text) });
  repo.write("../traces/gate", "");
  expect(await waiting).toMatchObject({ questions: [{ id: "q1" }] });
  expect(await repo.status({ waitSeconds: 45 })).toMatchObject({ questions: [{ id: "q1" }] });
  expect(isOver).toBe(false);
  repo.write("../traces/done", "");
  expect(heard).toContain("a asks q1");
  await repo.call("answer_question", { id: "q1", answer: "yes" });
  expect(await repo.settled("wait")).toBe("succeeded");
});

test("bad questions and answers are refused before anything happened, with what to do", async () => {
  begin();
  const big = "x".repeat(1024 * 1024);
  const gate = join(ground.traces, "gate");
  await repo.submit("bad", [
    {
      id: "a",
      prompt: `
orchestrator ask "" 2> '${ground.traces}/empty'; echo $? >> '${ground.traces}/codes'
head -c 1048576 /dev/zero | tr '\\0' x | orchestrator ask - 2> '${ground.traces}/big'; echo $? >> '${ground.traces}/codes'
orchestrator questions 2> '${ground.traces}/questions'; echo $? >> '${ground.traces}/codes'
orchestrator answer q1 "myself" 2> '${ground.traces}/answer'; echo $? >> '${ground.traces}/codes'
touch '${gate}'
printf 'Ring \\033[2J\\007 the bell?' | orchestrator ask - > bell.txt`,
    },
  ]);
  await openIds(1);
  expect(ground.trace("codes")).toEqual(["2", "2", "3", "3"]);
  expect(ground.trace("empty").join()).toContain("question");
  expect(ground.trace("big").join().length).toBeLessThan(500);
  expect(ground.trace("questions").join()).toContain("not for an agent");
  expect(ground.trace("answer").join()).toContain("not for an agent");
  const shown = await runCli(repo, ["status"]);
  expect(shown.stdout).toContain("Ring  the bell?");
  expect(await repo.refusal("answer_question", { id: "q7", answer: "yes" })).toEqual({
    code: "QUESTION_NOT_FOUND",
    message: 'there is no question "q7"; open are: q1',
  });
  for (const id of ["", "nonsense", "q0", "q1; drop", "q99999999999999999999", big]) {
    const { code, message } = await repo.refusal("answer_question", { id, answer: "yes" });
    expect(["QUESTION_NOT_FOUND", "INPUT_INVALID"]).toContain(code);
    expect(message.length).toBeLessThan(500);
  }
  for (const answer of ["", " \n ", big]) {
    expect(await repo.refusal("answer_question", { id: "q1", answer })).toMatchObject({ code: "INPUT_INVALID" });
  }
  expect(await repo.refusal("ask_orchestrator", { question: "May I?" })).toMatchObject({ code: "NOT_ALLOWED" });
  const key = "the key";
  const first = await repo.call("answer_question", { id: "q1", answer: "\u001b[2Jonce", key });
  expect(await repo.call("answer_question", { id: "q1", answer: "\u001b[2Jonce", key })).toEqual(first);
  expect(await repo.refusal("answer_question", { id: "q1", answer: "other", key })).toMatchObject({
    code: "REQUEST_KEY_REUSED",
  });
  expect(await repo.settled("bad")).toBe("succeeded");
  expect(repo.read("bell.txt")).toBe("once\n");
});

test("a cancelled task's question is withdrawn", async () => {
  begin();
  await repo.submit("gone", [{ id: "a", prompt: 'orchestrator ask "Anyone?"' }]);
  await openIds(1);
  await repo.control("cancel", { task: "gone/a" });
  await repo.untilState("gone/a", "cancelled");
  expect(await repo.refusal("answer_question", { id: "q1", answer: "late" })).toMatchObject({
    code: "QUESTION_ANSWERED",
  });
  await openIds(0);
});

test("an answer to a paused task is kept, and says what lets the task go on with it", async () => {
  begin();
  await repo.submit("later", [{ id: "a", prompt: 'orchestrator ask "Which port?" > port.txt' }]);
  await openIds(1);
  await repo.control("pause", { plan: "later" });
  await repo.untilState("later/a", "waiting:paused");
  const { summary } = (await repo.call("answer_question", { id: "q1", answer: "8080" })) as { summary: string };
  expect(summary).toBe("q1 is answered; later/a goes on with it after: orchestrator resume later.");
  await repo.control("resume", { plan: "later" });
  expect(await repo.settled("later")).toBe("succeeded");
  expect(repo.read("port.txt")).toBe("8080\n");
});
