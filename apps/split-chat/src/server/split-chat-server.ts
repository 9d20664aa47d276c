import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { createSplitServer, listenWebSocket, type ServerEvent, type ServerStatistics } from "@frugal/fourier-compress/server";
import {
  findStories15m, loadLlamaTokenizer, loadModel, modelCacheFolder, modelFingerprint, openStories15m, STORIES15M_BYTES, STORIES15M_SHA256,
} from "@frugal/language-model";
import { SETTINGS_PATH, type SplitChatSettings } from "../settings.ts";
import { buildPage, memoryFile } from "./build-page.ts";
import { openCodecTable, tableFiles } from "./codec-table.ts";
import { sendFile, sendText, type ServedFile } from "./served-file.ts";

/** Settings of `startSplitChat`. */
export interface SplitChatOptions {
  readonly port: number;
  /** Default "127.0.0.1": this machine alone. */
  readonly host?: string;
  /** Origins of the page besides this address and localhost, as "https://chat.example.org" behind a proxy. */
  readonly origins?: readonly string[];
  /** Where codec tables are kept. Default: beside downloaded models. */
  readonly tableFolder?: string;
  /** Stories that are written to calibrate with, where there is no table yet. Default 18: some 2,500 rows. */
  readonly calibrationStories?: number;
  /** Told what is going on. Default: nobody. */
  readonly onLine?: (line: string) => void;
}

/** The running app. */
export interface SplitChat {
  /** For browsers, as "http://127.0.0.1:8017/". */
  readonly url: string;
  statistics(): ServerStatistics;
  close(): Promise<void>;
}

/** The page runs the embedding and the first block. */
const SPLIT_BLOCK = 1;
const MODEL_PATH = "/model/stories15M.bin";
const SOCKET_PATH = "/split";
const BEGIN_TOKEN = 1;

/** Builds the page, calibrates unless that was done before, and serves all of it on one port. */
export async function startSplitChat(options: SplitChatOptions): Promise<SplitChat> {
  const { port, host = "127.0.0.1", origins = [], calibrationStories = 18, onLine = () => {} } = options;
  onLine("building the page …");
  const files = await buildPage();
  onLine("loading stories15M …");
  const source = await openStories15m();
  try {
    const { eosTokenIds } = await loadLlamaTokenizer();
    const folder = options.tableFolder ?? join(await modelCacheFolder(), "codec-tables");
    const table = await openCodecTable(source, {
      folder, splitBlock: SPLIT_BLOCK, beginToken: BEGIN_TOKEN, stories: calibrationStories, onLine,
    });
    const model = await loadModel(source, {
      parts: { blocks: [SPLIT_BLOCK, source.config.numHiddenLayers], embedding: false, head: true },
    });
    const server = createSplitServer({
      model, fingerprint: await modelFingerprint(source.config), modelName: "stories15M", splitBlocks: [SPLIT_BLOCK, SPLIT_BLOCK],
      tables: [table],
      // Every visitor sees the text that the whole model would write.
      exact: true,
      limits: { sessions: 64, sessionsPerClient: 16, cacheBytes: 512 << 20 },
      onEvent: (event) => onLine(eventLine(event)),
    });
    const { json, safetensors } = await tableFiles(table);
    files.set("/table.json", json);
    files.set("/table.safetensors", safetensors);
    files.set(MODEL_PATH, {
      contentType: "application/octet-stream", byteLength: STORIES15M_BYTES, tag: STORIES15M_SHA256,
      content: { path: await findStories15m() },
    });
    const settings: SplitChatSettings = {
      model: { name: "stories15M", path: MODEL_PATH, bytes: STORIES15M_BYTES }, splitBlock: SPLIT_BLOCK,
      stopTokenIds: [BEGIN_TOKEN, ...eosTokenIds],
      table: { json: "/table.json", safetensors: "/table.safetensors" }, socketPath: SOCKET_PATH,
    };
    files.set(SETTINGS_PATH, memoryFile(new TextEncoder().encode(JSON.stringify(settings)), "application/json"));
    const shownHost = host.includes(":") ? `[${host}]` : host;
    const listener = await listenWebSocket(server, {
      port, host, path: SOCKET_PATH,
      origins: [`http://${shownHost}:${port}`, `http://localhost:${port}`, `http://127.0.0.1:${port}`, ...origins],
      handleRequest: (request, response) => void answer(files, request, response),
    });
    return {
      url: `http://${shownHost}:${port}/`,
      statistics: () => server.statistics(),
      async close() {
        await listener.close();
        await server.close();
        model.dispose();
      },
    };
  } finally {
    await source.close();
  }
}

async function answer(files: ReadonlyMap<string, ServedFile>, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const file = files.get((request.url ?? "").split("?", 1)[0]!);
  if (file === undefined) sendText(response, 404, "there is nothing here");
  else if (request.method !== "GET" && request.method !== "HEAD") sendText(response, 405, "only GET", { allow: "GET, HEAD" });
  else await sendFile(request, response, file);
}

function eventLine({ kind, peer, session, detail }: ServerEvent): string {
  return `  ${kind} ${peer}${session === undefined ? "" : ` session ${session.slice(0, 8)}`}${detail === undefined ? "" : `: ${detail}`}`;
}
