/** The Node side of the browser tests: a split server on a real socket, run by the test runner's main process at a page's command. */
import {
  generateTokens, loadLlamaTokenizer, loadModel, modelFingerprint, openStories15m, SplitModel, type DecoderModel,
} from "@frugal/language-model";
import { calibrateModel } from "../calibration/calibrate.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import { sampleSequences } from "../calibration/sample-sequences.ts";
import { serializeCodecTable } from "../calibration/table-file.ts";
import { createCodec, type CodecOptions } from "../codecs/registry.ts";
import type { Listener } from "../server/listen-options.ts";
import { listenWebSocket } from "../server/listen-websocket.ts";
import type { ServerStatistics, SplitServer } from "../server/split-server-options.ts";
import { createSplitServer } from "../server/split-server.ts";
import type { Connection } from "../transport/connection.ts";

/** What a page needs to know of the other half. */
export interface NodeHalf {
  readonly url: string;
  readonly splitBlock: number;
  /** The two files of the codec table; the tensors in base64, since commands speak JSON. */
  readonly table: { readonly json: string; readonly safetensors: string };
}

interface Running {
  readonly half: NodeHalf;
  readonly whole: DecoderModel;
  readonly table: CodecTable;
  readonly model: DecoderModel;
  readonly server: SplitServer;
  readonly listener: Listener;
  readonly connections: Set<Connection>;
}

const SPLIT_BLOCK = 1;
let running: Running | undefined;

/** Starts the server for pages of one origin: blocks 1 to 5 and the head of stories15M, and a table calibrated on its own stories. */
export async function startNodeHalf(origin: string): Promise<NodeHalf> {
  if (running !== undefined) throw new Error("the Node half runs already");
  const source = await openStories15m();
  const whole = await loadModel(source);
  const fingerprint = await modelFingerprint(source.config);
  const table = await calibrateModel(whole, await sampleSequences(whole, 1, { count: 8, maxTokens: 100, seed: 5 }), {
    model: fingerprint, splitBlock: SPLIT_BLOCK,
  });
  const model = await loadModel(source, { parts: { blocks: [SPLIT_BLOCK, source.config.numHiddenLayers], embedding: false } });
  await source.close();
  const server = createSplitServer({ model, fingerprint, tables: [table], exact: true });
  const connections = new Set<Connection>();
  const accept = async (connection: Connection): Promise<void> => {
    connections.add(connection);
    await server.accept(connection);
    connections.delete(connection);
  };
  const listener = await listenWebSocket({ accept, metrics: () => server.metrics() }, { origins: [origin] });
  const { json, safetensors } = await serializeCodecTable(table);
  const half = { url: listener.url, splitBlock: SPLIT_BLOCK, table: { json, safetensors: Buffer.from(safetensors).toString("base64") } };
  running = { half, whole, table, model, server, listener, connections };
  return half;
}

function theRunning(): Running {
  if (running === undefined) throw new Error("the Node half does not run");
  return running;
}

/** Drops every connection, as a server that goes away. How many there were. */
export function dropConnections(): number {
  const { connections } = theRunning();
  const count = connections.size;
  for (const connection of connections) connection.close("dropped for a test");
  return count;
}

/** What the model writes in this process, through the same codec and no network. */
export async function writeInNode(
  codec: string, options: Omit<CodecOptions, "table">, prompt: string, maxNewTokens: number,
): Promise<number[]> {
  const { whole, table } = theRunning();
  const tokenizer = await loadLlamaTokenizer();
  const split = new SplitModel(whole, { codec: createCodec(codec, { ...options, table }), splitBlock: SPLIT_BLOCK });
  const ids: number[] = [];
  for await (const { id } of generateTokens(split, tokenizer.encode(prompt), { maxNewTokens })) ids.push(id);
  return ids;
}

/** What the server holds and did. */
export function nodeHalfStatistics(): ServerStatistics {
  return theRunning().server.statistics();
}

/** Ends the server. */
export async function stopNodeHalf(): Promise<void> {
  const { server, listener, model, whole } = theRunning();
  running = undefined;
  await listener.close();
  await server.close();
  model.dispose();
  whole.dispose();
}
