/** Tasks that agents propose: asked about, taken by themselves or left in the report, each exactly once. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ground, quoted } from "./engine-support.ts";
import { until } from "../support/until.js";

let ground: Ground;

beforeEach(() => {
  ground = new Ground({ agents: { helper: { provider: "command", permissions: "read" } } });
});

afterEach(async () => {
  await ground.leave();
});

/** A command that proposes, `times` times in one attempt. */
function proposing(followUps: unknown, times = 1): string {
  const file = join(ground.traces, "follow-ups.json");
  writeFileSync(file, JSON.stringify(followUps));
  const report = `orchestrator report --follow-ups ${quoted(file)} done >> ${quoted(`${ground.traces}/said`)} 2>&1`;
  return `echo x > x.txt\n${Array.from({ length: times }, () => report).join("\n")}`;
}

const DOCS = { title: "Write the docs; rm -rf ~", prompt: "echo docs > docs.txt", agent: "command" };

test("a proposed task waits for approval, once, however often it was reported; approved, it runs after its proposer", async () => {
  const repo = ground.main;
  const plan = await repo.submit("p", [{ id: "a", prompt: proposing([DOCS], 2) }]);
  expect(await repo.settled(plan)).toBe("needs-person");
  expect(await repo.states(plan)).toEqual({ a: "succeeded", "write-the-docs-rm-rf": "waiting:approval" });
  const { why, prompt } = await repo.task("p/write-the-docs-rm-rf");
  expect(why?.command).toBe("orchestrator approve p/write-the-docs-rm-rf");
  expect(prompt).toBe("echo docs > docs.txt");
  expect(ground.trace("said").join("\n")).toContain("1 proposed task will wait for approval");
  await repo.control("approve", { plan });
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(repo.read("docs.txt")).toBe("docs\n");
});

test("a proposal that is declined leaves its plan succeeded", async () => {
  const repo = ground.main;
  const plan = await repo.submit("p", [{ id: "a", prompt: proposing([DOCS]) }]);
  expect(await repo.settled(plan)).toBe("needs-person");
  await repo.control("cancel", { task: "p/write-the-docs-rm-rf" });
  expect(await repo.settled(plan)).toBe("succeeded");
  expect((await repo.states(plan))["write-the-docs-rm-rf"]).toBe("skipped");
});

test("off: it stays in the report, and the agent is told so; auto never takes a shell command unasked", async () => {
  const repo = ground.main;
  const off = await repo.submit("off", [{ id: "a", prompt: proposing([DOCS]) }], { proposals: "off" });
  expect(await repo.settled(off)).toBe("succeeded");
  expect(await repo.states(off)).toEqual({ a: "succeeded" });
  expect(ground.trace("said").join("\n")).toContain("proposals.policy is off");
  const auto = await repo.submit("auto", [{ id: "a", prompt: proposing([DOCS]) }], { proposals: "auto" });
  expect(await repo.settled(auto)).toBe("needs-person");
  expect(await repo.states(auto)).toEqual({ a: "succeeded", "write-the-docs-rm-rf": "waiting:approval" });
});

test("a bad proposal is refused with what is wrong, and nothing of the report is kept", async () => {
  const repo = ground.main;
  for (const [index, [proposal, words]] of [
    [{ title: "t", prompt: "x", agent: "codr" }, 'did you mean "coder"?'],
    [{ title: "t", prompt: "x", dependsOn: ["nobody"] }, "nobody"],
    [{ title: "t", prompt: "x", writes: ["../../etc/passwd"] }, "must not leave the repository"],
    [{ title: "t", prompt: "x", verify: ["true"] }, "verify"],
    [{ title: "t" }, "prompt"],
  ].entries() as unknown as [number, [object, string]][]) {
    const plan = await repo.submit(`p${index}`, [{ id: "a", prompt: `${proposing([proposal])} || true` }]);
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(ground.trace("said").join("\n")).toContain(words);
    expect((await repo.task(`${plan}/a`)).report?.summary ?? "").not.toBe("done");
    expect(Object.keys(await repo.states(plan))).toEqual(["a"]);
  }
  const many = Array.from({ length: 11 }, (_, number) => ({
    title: `number ${number}`,
    prompt: "true",
    agent: "command",
  }));
  const plan = await repo.submit("many", [{ id: "a", prompt: `${proposing(many)} || true` }]);
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(ground.trace("said").join("\n")).toContain("proposals.maxPerTask");
});

test("proposals of proposals end at maxDepth, and a killed engine neither loses nor doubles one", async () => {
  ground.configure({ proposals: { maxDepth: 1 } });
  const repo = ground.main;
  const again = proposing([{ ...DOCS, title: "deeper" }]);
  const file = join(ground.traces, "first.json");
  writeFileSync(file, JSON.stringify([{ title: "first", prompt: again, agent: "command" }]));
  const go = quoted(`${ground.traces}/go`);
  const prompt = `orchestrator report --follow-ups ${quoted(file)} done; echo x >> ${quoted(`${ground.traces}/reported`)}; while [ ! -e ${go} ]; do sleep 0.05; done`;
  const plan = await repo.submit("p", [{ id: "a", prompt }]);
  await until("it has reported", () => ground.trace("reported").length === 1);
  await repo.killEngine();
  repo.closeClients();
  await repo.client();
  await until("it has reported again", () => ground.trace("reported").length === 2);
  writeFileSync(join(ground.traces, "go"), "");
  expect(await repo.settled(plan)).toBe("needs-person");
  expect(await repo.states(plan)).toEqual({ a: "succeeded", first: "waiting:approval" });
  await repo.control("approve", { task: "p/first" });
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(ground.trace("said").join("\n")).toContain("proposals.maxDepth");
});
