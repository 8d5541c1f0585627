/** DESIGN 9, init: what happens to files of others, text by text. Codex's, which Codex itself reads, is in test/clis. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { claudeHost } from "../../../src/cli/init/claude-host.ts";
import { gooseHost } from "../../../src/cli/init/goose-host.ts";
import { installedServer } from "../../../src/cli/init/server-program.ts";
import { editBetween, revertEdit } from "../../../src/cli/init/text-edit.ts";

const SERVER = { command: "/opt/node", args: ["/opt/a b/pipe-main.cjs"] };

const YAML_TEXTS = {
  nothing: "",
  "other keys only, no newline at the end": "GOOSE_PROVIDER: openai # mine",
  "entries with comments": `# top
GOOSE_MODEL: 'gpt-4o'   # quoted
extensions:   # what I use
    # the shell
    developer:
        enabled: true
        type: builtin   # of Goose
        name: developer

# the end
other: [1,
  2]
`,
  "an empty list of extensions": "extensions:\nGOOSE_MODE: auto\n",
  "an empty flow map": "a: 1\nextensions: {}\nb: 2\n",
  "a flow map": "extensions: { developer: { enabled: true } } # flow\nb: 2\n",
  "extensions without end of line": "extensions:",
  "windows lines": "a: 1\r\nextensions:\r\n  x:\r\n    enabled: false\r\nb: 2\r\n",
};

test.each(Object.entries(YAML_TEXTS))("Goose, %s: the entry goes in and nothing else changes", async (_, text) => {
  const after = await gooseHost.add(text, SERVER);
  const before = (parse(text) ?? {}) as Record<string, unknown>;
  const { extensions, ...others } = parse(after) as { extensions: Record<string, unknown> };
  const { extensions: extensionsBefore, ...othersBefore } = before;
  expect(others).toEqual(othersBefore);
  expect(extensions).toMatchObject({ ...(extensionsBefore as object | null) });
  expect(extensions["orchestrator-mcp"]).toMatchObject({
    type: "stdio",
    cmd: "/opt/node",
    enabled: true,
    timeout: 300,
  });
  expect(await gooseHost.find(after)).toEqual(SERVER);
  for (const comment of text.match(/#.*/g) ?? []) expect(after).toContain(comment);
  const edit = editBetween(text, after);
  expect(revertEdit(after, edit)).toBe(text);
  // Somebody adds a line of their own: then the entry alone is taken out.
  const changed = `${after.replace(/\r?\n?$/, text.includes("\r\n") ? "\r\n" : "\n")}mine: 1\n`;
  const taken = gooseHost.takeOut(changed, edit.inserted);
  if (text.includes("{ developer")) return expect(taken).toBeNull();
  expect(taken).not.toBeNull();
  const left = parse(taken ?? "") as Record<string, unknown>;
  expect(left).toMatchObject({ ...othersBefore, mine: 1 });
  expect(left["extensions"] ?? {}).toEqual(extensionsBefore ?? {});
});

test("Goose: a file that is no YAML map is left alone", async () => {
  await expect(gooseHost.add("a: [", SERVER)).rejects.toThrow("not readable YAML");
  await expect(gooseHost.add("- a\n", SERVER)).rejects.toThrow("not a YAML map");
  await expect(gooseHost.add("extensions: 3\n", SERVER)).rejects.toThrow("not a map");
});

const JSON_TEXTS = {
  nothing: "",
  "no servers": '{\n\t"userID": "x",\n\t"projects": {}\n}\n',
  "others' servers, on one line": '{"mcpServers":{"other":{"command":"x","args":[]}},"n":1e3}',
  "windows lines": '{\r\n    "a": "\\u00e9",\r\n    "mcpServers": {\r\n    }\r\n}\r\n',
};

test.each(Object.entries(JSON_TEXTS))(
  "Claude Code, %s: the entry goes in and nothing else changes",
  async (_, text) => {
    const after = await claudeHost.add(text, SERVER);
    const before = JSON.parse(text || "{}") as { mcpServers?: object };
    const entry = { type: "stdio", ...SERVER, alwaysLoad: true };
    expect(JSON.parse(after)).toEqual({ ...before, mcpServers: { ...before.mcpServers, "orchestrator-mcp": entry } });
    expect(await claudeHost.find(after)).toEqual(SERVER);
    expect(revertEdit(after, editBetween(text, after))).toBe(text);
    const taken = claudeHost.takeOut(after, "");
    expect(JSON.parse(taken ?? "")).toEqual({ ...before, mcpServers: { ...before.mcpServers } });
  },
);

test("Claude Code: a file that is no JSON object is left alone", async () => {
  for (const text of ["{", "[]", '{"mcpServers":[]}', '{"a":1,}']) {
    await expect(claudeHost.add(text, SERVER)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  }
});

test("an entry of another kind is seen as somebody else's", async () => {
  expect(await claudeHost.find('{"mcpServers":{"orchestrator-mcp":{"url":"http://x"}}}')).toEqual({
    command: "",
    args: [],
  });
  expect(await gooseHost.find("extensions:\n  orchestrator-mcp: nonsense\n")).toEqual({ command: "", args: [] });
});

test("files are where the environment says", () => {
  expect(claudeHost.file({}, "/u")).toBe("/u/.claude.json");
  expect(claudeHost.file({ CLAUDE_CONFIG_DIR: "/c" }, "/u")).toBe("/c/.claude.json");
  expect(gooseHost.file({}, "/u")).toBe("/u/.config/goose/config.yaml");
  expect(gooseHost.file({ XDG_CONFIG_HOME: "/x" }, "/u")).toBe("/x/goose/config.yaml");
  expect(gooseHost.file({ GOOSE_PATH_ROOT: "/g", XDG_CONFIG_HOME: "/x" }, "/u")).toBe("/g/config/config.yaml");
});

test("a program in npx's cache, which is cleared at times, is registered by its package", () => {
  const cached = "/home/u/.npm/_npx/0f1e/node_modules/orchestrator-mcp/dist/engine/pipe-main.cjs";
  expect(installedServer(cached)).toEqual({ command: "npx", args: ["-y", "orchestrator-mcp"] });
  expect(installedServer("/opt/pipe-main.cjs")).toEqual({ command: process.execPath, args: ["/opt/pipe-main.cjs"] });
});

test("an edit leads back, whatever the texts are", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "\n", "\u{1f600}") });
  fc.assert(
    fc.property(text, text, (before, after) => {
      expect(revertEdit(after, editBetween(before, after))).toBe(before);
    }),
  );
});
