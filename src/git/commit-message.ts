/** Commit messages of the engine: a subject, a body, trailers that no title or body can imitate or break. */

export interface CommitTrailers {
  readonly planId: string;
  readonly taskId: string;
  /** Counted from 1; none for commits that no attempt made. */
  readonly attempt?: number;
}

export interface CommitText {
  /** Cut to one line. */
  readonly subject: string;
  readonly body?: string;
  readonly trailers?: CommitTrailers;
}

const MAX_SUBJECT_LENGTH = 200;
const MAX_BODY_LENGTH = 20_000;

/** Everything that is not printable, except the line feed. */
// oxlint-disable-next-line no-control-regex -- control characters are what it removes
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const TRAILER_PLAN = "Orchestrator-Plan";
const TRAILER_TASK = "Orchestrator-Task";
const TRAILER_ATTEMPT = "Orchestrator-Attempt";

export function commitMessage({ subject, body, trailers }: CommitText): string {
  const paragraphs = [oneLine(subject).slice(0, MAX_SUBJECT_LENGTH).trim() || "Work without a title"];
  const text = (body ?? "").replaceAll("\r\n", "\n").replace(CONTROL, " ").trim().slice(0, MAX_BODY_LENGTH);
  if (text !== "") paragraphs.push(withoutOwnTrailers(text));
  if (trailers !== undefined) paragraphs.push(trailerLines(trailers).join("\n"));
  return `${paragraphs.join("\n\n")}\n`;
}

/** What the last paragraph of a message says of us; null when it is not a commit of an orchestrated task. */
export function trailersOf(message: string): CommitTrailers | null {
  const last =
    message
      .trimEnd()
      .split(/\n[ \t]*\n/)
      .at(-1) ?? "";
  const values = new Map<string, string>();
  for (const line of last.split("\n")) {
    const match = /^([A-Za-z-]+):[ \t]*(.*)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) values.set(match[1].toLowerCase(), match[2].trim());
  }
  const planId = values.get(TRAILER_PLAN.toLowerCase());
  const taskId = values.get(TRAILER_TASK.toLowerCase());
  if (!planId || !taskId) return null;
  const attempt = Number(values.get(TRAILER_ATTEMPT.toLowerCase()));
  return { planId, taskId, ...(Number.isSafeInteger(attempt) && attempt > 0 ? { attempt } : {}) };
}

function trailerLines({ planId, taskId, attempt }: CommitTrailers): string[] {
  const lines = [`${TRAILER_PLAN}: ${oneLine(planId)}`, `${TRAILER_TASK}: ${oneLine(taskId)}`];
  return attempt === undefined ? lines : [...lines, `${TRAILER_ATTEMPT}: ${attempt}`];
}

/** A line that looks like one of our trailers is indented: with that it is no trailer any more. */
function withoutOwnTrailers(text: string): string {
  return text.replace(/^(?=Orchestrator-(?:Plan|Task|Attempt)[ \t]*:)/gim, "    ");
}

function oneLine(text: string): string {
  return text
    .replace(/[\r\n\t]+/g, " ")
    .replace(CONTROL, "")
    .trim();
}
