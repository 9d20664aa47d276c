/** stories15M in two processes, and what both halves need. */
import { fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel, openStories15m, type DecoderModel } from "@frugal/language-model";
import {
  SplitClient, webSocketTransport, writeCodecTable, type CodecMode, type CodecTable, type SplitClientOptions,
} from "@frugal/fourier-compress";
import type { SplitServerReply, SplitServerRequest } from "./split-server-process.ts";

const program = fileURLToPath(new URL("split-server-process.ts", import.meta.url));

/** A server process of stories15M without its first block. */
export interface SplitServerProcess {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts a server process on this machine. @throws Error when it ends before it listens */
export async function startSplitServer(
  { batching = true, table }: { readonly batching?: boolean; readonly table?: CodecTable | undefined } = {},
): Promise<SplitServerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "frugal-benchmark-"));
  let request: SplitServerRequest = { batching };
  if (table !== undefined) {
    const path = join(folder, "table.json");
    await writeCodecTable(path, table);
    request = { ...request, table: path };
  }
  const child = fork(program, [JSON.stringify(request)], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const close = async (): Promise<void> => {
    if (child.connected) child.disconnect();
    child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const { url } = await new Promise<SplitServerReply>((resolve, reject) => {
      child.once("message", (message) => resolve(message as SplitServerReply));
      child.once("exit", (code, signal) => reject(new Error(`the split server ended with ${signal ?? `code ${code}`}`)));
    });
    return { url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The device's half: embedding and first block. */
export async function loadDeviceHalf(): Promise<DecoderModel> {
  const source = await openStories15m();
  try {
    return await loadModel(source, { parts: { blocks: [0, 1], head: false } });
  } finally {
    await source.close();
  }
}

/** A client of such a server. */
export async function connectToSplitServer(
  url: string,
  model: DecoderModel,
  { codec, mode, table, result = "token" }: {
    readonly codec: string;
    readonly mode?: CodecMode | undefined;
    readonly table?: CodecTable | undefined;
    readonly result?: "token" | "hidden";
  },
): Promise<SplitClient> {
  const options: SplitClientOptions = {
    transport: webSocketTransport(url), model, splitBlock: 1, result, errorSampling: 0,
    codec: { name: codec, ...(mode !== undefined && { mode }) }, ...(table !== undefined && { table }),
  };
  return await SplitClient.connect(options);
}
