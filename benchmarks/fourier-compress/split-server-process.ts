/**
 * Program of the server's half of stories15M, everything after the first block, on one thread: says its address when it listens and ends
 * with its parent. Arguments: JSON of `SplitServerRequest`.
 */
import { setThreads } from "@frugal/tensor-core";
import { loadModel, modelFingerprint, openStories15m } from "@frugal/language-model";
import { readCodecTable } from "@frugal/fourier-compress";
import { createSplitServer, listenWebSocket } from "@frugal/fourier-compress/server";

/** What to serve. */
export interface SplitServerRequest {
  /** Whether sessions share steps. */
  readonly batching: boolean;
  /** Path of a codec table. */
  readonly table?: string;
}

/** What the parent is told. */
export interface SplitServerReply {
  readonly url: string;
}

const { batching, table } = JSON.parse(process.argv[2]!) as SplitServerRequest;
setThreads(1);
const source = await openStories15m();
const model = await loadModel(source, { parts: { blocks: [1, 6], embedding: false } });
await source.close();
const unlimited = { framesPerSecond: 1e9, bytesPerSecond: 1e12, sessions: 1024, sessionsPerClient: 1024, connections: 1024 };
const server = createSplitServer({
  model,
  fingerprint: await modelFingerprint(model.config),
  exact: !batching,
  tables: table === undefined ? [] : [await readCodecTable(table)],
  limits: unlimited,
});
const listener = await listenWebSocket(server, { maxPayload: server.payloadBytes });
process.on("disconnect", () => process.exit());
process.send!({ url: listener.url } satisfies SplitServerReply);
