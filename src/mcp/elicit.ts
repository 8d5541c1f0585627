/**
 * Shows agents' questions to the user of an interactive client, by MCP elicitation. Only where `questions.elicit` names
 * that client: headless Claude and Codex cancel what they are asked, and a headless Goose ends. One question at a time;
 * what the user declines goes on along its route, and what somebody else answers meanwhile is taken back.
 */
import type { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { randomUUID } from "node:crypto";
import { isFields, type Fields } from "../engine/protocol.ts";
import type { OperationResult } from "../operations/operation.ts";

export type CallOperation = (name: string, input: object, call: CallOptions) => Promise<OperationResult>;

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly requestKey: string | null;
}

const WAIT_SECONDS = 45;
/** A person may be away; the question's own deadlines end it before. */
const ANSWER_WITHIN_MS = 24 * 3_600_000;
/** What failed is not tried again in a hurry. */
const PAUSE_MS = 5_000;
const MAX_SEEN = 1_000;

/** Runs until `closed`; ends at once for a client that can't be asked or is not the one to ask. */
export async function showQuestions(server: Server, call: CallOperation, closed: AbortSignal): Promise<void> {
  const client = server.getClientVersion()?.name;
  if (client === undefined || server.getClientCapabilities()?.elicitation === undefined) return;
  const seen: string[] = [];
  let wasPinged = false;
  while (!closed.aborted) {
    const news = await call(
      "watch_questions",
      { client, seen, waitSeconds: WAIT_SECONDS },
      { signal: closed, requestKey: null },
    );
    if (!news.ok) {
      await pause(closed);
      continue;
    }
    if (news.structured["isWanted"] !== true) return;
    const { question } = news.structured;
    if (!isFields(question) || typeof question["id"] !== "string") continue;
    const { id } = question;
    seen.push(id);
    if (seen.length > MAX_SEEN) seen.shift();
    if (!wasPinged) {
      // Takes request id 0: clients built on the SDK can't cancel what has it (see server.ts).
      await server.ping().catch(() => undefined);
      wasPinged = true;
    }
    const answer = await show(server, call, { client, id, question, closed });
    if (answer === null || closed.aborted) continue;
    // Refused when somebody was quicker: the first answer counts.
    await call("answer_question", { id, answer }, { signal: closed, requestKey: randomUUID() });
  }
}

interface Shown {
  readonly client: string;
  readonly id: string;
  readonly question: Fields;
  readonly closed: AbortSignal;
}

/** The user's answer; null when there is none, or none is needed any more. */
async function show(
  server: Server,
  call: CallOperation,
  { client, id, question, closed }: Shown,
): Promise<string | null> {
  const over = new AbortController();
  const shown = new AbortController();
  const signal = AbortSignal.any([over.signal, closed]);
  void untilOver(call, { client, id, signal: AbortSignal.any([shown.signal, closed]) }).then(() => over.abort());
  try {
    const result = await server.elicitInput(formFor(question), { signal, timeout: ANSWER_WITHIN_MS });
    const answer = result.action === "accept" ? result.content?.["answer"] : null;
    return typeof answer === "string" && answer.trim() !== "" ? answer : null;
  } catch {
    // Taken back, not understood by the client, or the client is gone: the question goes on along its route.
    return null;
  } finally {
    shown.abort();
  }
}

async function untilOver(
  call: CallOperation,
  { client, id, signal }: { readonly client: string; readonly id: string; readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    const news = await call(
      "watch_questions",
      { client, showing: id, waitSeconds: WAIT_SECONDS },
      { signal, requestKey: null },
    );
    if (news.ok && news.structured["isOver"] === true) return;
    if (!news.ok) await pause(signal);
  }
}

function formFor(question: Fields): Parameters<Server["elicitInput"]>[0] {
  const options = Array.isArray(question["options"])
    ? question["options"].filter((one) => typeof one === "string")
    : [];
  const context = typeof question["context"] === "string" ? `\n\n${question["context"]}` : "";
  const choice = options.length === 0 ? "" : `\n\nIts options: ${options.join(" | ")}`;
  return {
    message: `The agent of ${String(question["task"])} asks (${String(question["id"])}): ${String(question["text"])}${context}${choice}`,
    // Text, not a choice: an answer in one's own words is always allowed.
    requestedSchema: {
      type: "object",
      properties: { answer: { type: "string", title: "Answer", minLength: 1, maxLength: 20_000 } },
      required: ["answer"],
    },
  };
}

async function pause(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, PAUSE_MS);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}
