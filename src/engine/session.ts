/** One client's connection, from its hello to its end. Whatever a client sends or fails to send, only its session ends. */
import type { Socket } from "node:net";
import { messageOf } from "../errors.ts";
import { machineLimitOf } from "../machine-limits.ts";
import type { ServeMcp } from "../mcp/server.ts";
import type { Caller, OperationCall, OperationResult } from "../operations/operation.ts";
import type { EngineHost, EngineLog } from "./engine-host.ts";
import { selectVariables } from "./environment.ts";
import { BUFFER_LIMIT_BYTES, LineChannel } from "./line-channel.ts";
import { serveOperations } from "./operations-session.ts";
import {
  isFields,
  MAX_HELLO_BYTES,
  MAX_LINE_BYTES,
  OLDEST_PROTOCOL,
  parseFields,
  PROTOCOL,
  readHello,
  type Goodbye,
  type Hello,
  type Welcome,
} from "./protocol.ts";
import { compareVersions } from "./version.ts";

/** What a session needs of the engine. */
export interface SessionEngine {
  readonly host: EngineHost;
  readonly version: string;
  readonly log: EngineLog;
  readonly serveMcp: ServeMcp;
  readonly helloTimeoutMs: number;
  isStopping(): boolean;
  /** Like the host's, but counted, refused while the engine stops, and never rejecting. */
  call(name: string, input: unknown, call: OperationCall): Promise<OperationResult>;
  /** A newer client is here. True: the engine makes room and this session says so. */
  tryHandOver(session: Session): boolean;
  /** The handshake is done. */
  opened(session: Session): void;
  /** Told once, also when the handshake was never done. */
  closed(session: Session): void;
}

export interface Session {
  /** Null until the hello was read. */
  readonly hello: Hello | null;
  readonly isOperator: boolean;
  sayGoodbye(goodbye: Goodbye): void;
  /** Sends what waits, then closes. */
  end(): void;
}

export function openSession(socket: Socket, engine: SessionEngine): Session {
  const channel = new LineChannel(socket, MAX_HELLO_BYTES);
  const state: { hello: Hello | null; isOperator: boolean } = { hello: null, isOperator: false };
  const session: Session = {
    get hello() {
      return state.hello;
    },
    get isOperator() {
      return state.isOperator;
    },
    sayGoodbye: (goodbye) => channel.send(JSON.stringify({ goodbye })),
    end: () => channel.end(),
  };
  socket.once("close", () => engine.closed(session));
  void serveClient(session, channel, engine, state).catch((thrown: unknown) => {
    const id = engine.log.error("A client's session failed", thrown);
    const limit = machineLimitOf(thrown);
    if (limit !== null) refuse(channel, "MACHINE_LIMIT", `The engine can't serve you now: ${limit}.`);
    else refuse(channel, "INTERNAL", `Internal error ${id}; engine.log has more.`);
  });
  return session;
}

async function serveClient(
  session: Session,
  channel: LineChannel,
  engine: SessionEngine,
  state: { hello: Hello | null; isOperator: boolean },
): Promise<void> {
  const first = await channel.readLine(engine.helloTimeoutMs);
  if ("ended" in first) return refuseHello(channel, first.ended, engine.helloTimeoutMs);
  const read = readHello(first.line);
  if ("problem" in read) return refuse(channel, "INPUT_INVALID", `Not a client of this engine: ${read.problem}.`);
  const { hello } = read;
  state.hello = hello;
  if (engine.isStopping()) return refuse(channel, "ENGINE_STOPPING", "The engine is shutting down.");
  const outdated = whyOutdated(hello, engine.version);
  if (outdated !== null) return refuse(channel, "ENGINE_OUTDATED", outdated);

  const { pid, cwd, place, mark, clientName } = hello;
  const caller = await engine.host.identify({ pid, cwd, place, mark, clientName });
  state.isOperator = caller.role === "operator";
  const isNewer = hello.protocol > PROTOCOL || compareVersions(hello.version, engine.version) > 0;
  if (isNewer && state.isOperator && hello.takesOver && engine.tryHandOver(session)) {
    channel.send(JSON.stringify({ handover: { version: engine.version } }));
    channel.end();
    return;
  }
  if (hello.protocol > PROTOCOL) return refuse(channel, "ENGINE_OUTDATED", engineTooOld(hello, engine));
  if (engine.isStopping()) return refuse(channel, "ENGINE_STOPPING", "The engine is shutting down.");

  const passEnv = state.isOperator ? engine.host.passEnvPatterns() : [];
  const welcome: Welcome = {
    engineId: engine.host.engineId,
    version: engine.version,
    protocol: PROTOCOL,
    passEnv,
    role: caller.role,
    restartPending: isNewer,
  };
  channel.send(JSON.stringify({ welcome }));
  const second = await channel.readLine(engine.helloTimeoutMs);
  if ("ended" in second) return refuseHello(channel, second.ended, engine.helloTimeoutMs);
  const variables = parseFields(second.line)?.["env"];
  if (!isFields(variables)) return refuse(channel, "INPUT_INVALID", 'The second line must be {"env":{…}}.');
  const taken = selectVariables(variables, passEnv);
  if (state.isOperator) engine.host.takeEnvironment(taken);

  channel.maxLineBytes = MAX_LINE_BYTES;
  engine.opened(session);
  if (hello.speaks === "operations") serveOperations(channel, caller, engine);
  else serveMcpOver(channel, caller, engine);
}

function serveMcpOver(channel: LineChannel, caller: Caller, engine: SessionEngine): void {
  engine.serveMcp({
    backend: { tools: () => engine.host.tools(), call: (name, input, call) => engine.call(name, input, call) },
    caller,
    version: engine.version,
    onError: (thrown) => engine.log.write(`MCP: ${messageOf(thrown)}`),
    channel: {
      send: (message) => channel.send(JSON.stringify(message)),
      isCongested: () => channel.bufferedBytes > BUFFER_LIMIT_BYTES / 8,
      close: () => channel.end(),
      listen: ({ onMessage, onClose }) => {
        // The pipe sends well-formed lines only, so a bad one means that this is no pipe.
        const end = (message: string): void => {
          channel.send(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32700, message } }));
          channel.end();
        };
        channel.listen({
          onLine: (line) => {
            const message = parseFields(line);
            if (message === null) end("Parse error: a line must be one JSON object.");
            else onMessage(message);
          },
          onOversized: () => end(`A message may have at most ${MAX_LINE_BYTES} bytes.`),
          onClose,
        });
      },
    },
  });
}

function refuse(channel: LineChannel, code: string, message: string): void {
  channel.send(JSON.stringify({ error: { code, message, details: {} } }));
  channel.end();
}

function refuseHello(channel: LineChannel, ended: "closed" | "oversized" | "timed-out", timeoutMs: number): void {
  if (ended === "closed") return;
  const what =
    ended === "oversized" ? `is longer than ${MAX_HELLO_BYTES} bytes` : `did not come within ${timeoutMs} ms`;
  refuse(channel, "INPUT_INVALID", `The hello ${what}.`);
}

/**
 * A pipe only copies lines, so an older one serves as well as a newer one while the protocol is the same: ending every
 * open parent's connection because another terminal updated would help nobody. The CLI reads and prints what operations
 * answer, so there the version must not be older.
 */
function whyOutdated(hello: Hello, engineVersion: string): string | null {
  const isOlder = compareVersions(hello.version, engineVersion) < 0;
  if (hello.protocol >= OLDEST_PROTOCOL && !(isOlder && hello.speaks === "operations")) return null;
  return (
    `This is orchestrator-mcp ${hello.version}; the engine of this repository is ${engineVersion}. Update it ` +
    `(\`npm install -g orchestrator-mcp@${engineVersion}\`; a host that starts it through npx: restart the host), ` +
    `or run \`npx orchestrator-mcp@${engineVersion}\`.`
  );
}

function engineTooOld(hello: Hello, engine: SessionEngine): string {
  const agents = engine.host.liveAgents();
  return (
    `The engine of this repository is ${engine.version} and can't serve ${hello.version}; it can't make room while ` +
    `${agents} of its agents work. Wait for them, or end it with \`npx orchestrator-mcp@${engine.version} stop\`.`
  );
}
