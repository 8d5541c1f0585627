/**
 * The demo's plan: eight shell commands that build a small site together. Two want to write one file and so take turns,
 * one fails at first and is tried again, one fails for good and is meant to be passed over, and what lands on the target
 * has been verified each time.
 */
import type { TaskInput } from "../../plan/schema.ts";

export const DEMO_NAME = "demo-site";

/** In the repository from the start: what every merge has to pass. */
export const CHECK_SCRIPT = `# Every page has a title, and nobody left a TODO behind.
for page in pages/*.txt; do
  [ -e "$page" ] || continue
  head -n 1 "$page" | grep -q '^# ' || { echo "$page has no title"; exit 1; }
done
! grep -rn TODO pages layout.html menu.txt 2>/dev/null
`;

const task = (id: string, title: string, prompt: string, rest: Partial<TaskInput> = {}): TaskInput => ({
  id,
  title,
  prompt,
  agent: "command",
  ...rest,
});

/** A command that is tried again begins with a fresh worktree, so the mark of its first try lies in the repository. */
const FAILS_ONCE = `mark="$(git rev-parse --git-common-dir)/demo-first-try"
if [ ! -e "$mark" ]; then : > "$mark"; echo "the dictionary server did not answer" >&2; exit 1; fi
wc -w < pages/home.txt > words.txt`;

const BUILD = `mkdir -p dist
for page in pages/*.txt; do
  name="$(basename "$page" .txt)"
  { sed '/CONTENT/,$d' layout.html; sed 's/^# \\(.*\\)$/<h1>\\1<\\/h1>/' "$page"; sed '1,/CONTENT/d' layout.html; } > "dist/$name.html"
done
sort menu.txt > dist/menu.txt`;

export const DEMO_TASKS: readonly TaskInput[] = [
  task(
    "layout",
    "The frame of every page",
    `sleep 0.5; printf '<html><body>\\nCONTENT\\n</body></html>\\n' > layout.html`,
    {
      writes: ["layout.html"],
    },
  ),
  task("home", "Home page", `sleep 1; mkdir -p pages; printf '# Home\\nwelcome to the demo\\n' > pages/home.txt`, {
    dependsOn: ["layout"],
    writes: ["pages/home.txt"],
  }),
  task(
    "about",
    "About page",
    `sleep 1; mkdir -p pages; printf '# About\\nmade by several agents\\n' > pages/about.txt`,
    {
      dependsOn: ["layout"],
      writes: ["pages/about.txt"],
    },
  ),
  task("menu-home", "Home in the menu", `sleep 1.5; echo home >> menu.txt`, {
    dependsOn: ["layout"],
    writes: ["menu.txt"],
  }),
  task("menu-about", "About in the menu", `sleep 1.5; echo about >> menu.txt`, {
    dependsOn: ["layout"],
    writes: ["menu.txt"],
  }),
  task("words", "Count the words (fails at first)", FAILS_ONCE, {
    dependsOn: ["home"],
    writes: ["words.txt"],
    retries: 2,
  }),
  task("links", "Check links (fails for good, may be passed over)", `echo "no network in a demo" >&2; exit 1`, {
    dependsOn: ["home", "about"],
    writes: [],
    onFailure: "skip",
  }),
  task("build", "Put the site together", BUILD, {
    dependsOn: ["home", "about", "menu-home", "menu-about", "words", "links"],
    writes: ["dist/**"],
  }),
];

/** What must be on the target in the end: nothing else is a success, whatever was reported. */
export const EXPECTED_FILES: Readonly<Record<string, string>> = {
  "layout.html": "<html><body>\nCONTENT\n</body></html>\n",
  "pages/home.txt": "# Home\nwelcome to the demo\n",
  "pages/about.txt": "# About\nmade by several agents\n",
  "dist/home.html": "<html><body>\n<h1>Home</h1>\nwelcome to the demo\n</body></html>\n",
  "dist/about.html": "<html><body>\n<h1>About</h1>\nmade by several agents\n</body></html>\n",
  "dist/menu.txt": "about\nhome\n",
};

/** Tasks whose work is in the target. */
export const MERGED_TASKS = DEMO_TASKS.map(({ id }) => id).filter((id) => id !== "links");
