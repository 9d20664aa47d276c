import { parseCodecTable, type CodecTable } from "@frugal/fourier-compress";
import {
  loadLlamaTokenizer, loadModel, openLlama2c, type DecoderModel, type ModelParts, type Tokenizer, type WeightSource,
} from "@frugal/language-model";
import { SETTINGS_PATH, type SplitChatSettings } from "../settings.ts";
import { readerFromUrl } from "./range-reader.ts";

/** What runs in the page, and what it needs beside. */
export interface DeviceHalf {
  readonly settings: SplitChatSettings;
  readonly model: DecoderModel;
  readonly tokenizer: Tokenizer;
  readonly table: CodecTable;
  /** Bytes of weights that were fetched for it. */
  readonly fetchedBytes: number;
}

/** Bytes of the tensors that the parts use. */
function bytesOf({ descriptors }: WeightSource, splitBlock: number): number {
  let total = 0;
  for (const { name, byteLength } of descriptors.values()) {
    const block = /^model\.layers\.(\d+)\./.exec(name)?.[1];
    if (block === undefined ? name === "model.embed_tokens.weight" : Number(block) < splitBlock) total += byteLength;
  }
  return total;
}

async function fetchOk(path: string): Promise<Response> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} answers ${response.status}`);
  return response;
}

/** Fetches the embedding and the first blocks, the tokenizer and the codec table. */
export async function loadDeviceHalf(onProgress: (bytes: number, ofBytes: number) => void): Promise<DeviceHalf> {
  const settings = (await (await fetchOk(SETTINGS_PATH)).json()) as SplitChatSettings;
  const { path, bytes } = settings.model;
  let fetchedBytes = 0;
  let wantedBytes = bytes;
  const source = await openLlama2c(readerFromUrl(new URL(path, location.href), bytes, (fetched) => {
    fetchedBytes = fetched;
    onProgress(fetched, wantedBytes);
  }));
  wantedBytes = bytesOf(source, settings.splitBlock);
  const parts: ModelParts = { blocks: [0, settings.splitBlock], embedding: true, head: false };
  const [model, tokenizer, json, safetensors] = await Promise.all([
    loadModel(source, { parts }), loadLlamaTokenizer(), fetchOk(settings.table.json).then((response) => response.text()),
    fetchOk(settings.table.safetensors).then((response) => response.arrayBuffer()),
  ]);
  const table = await parseCodecTable({ json, safetensors: new Uint8Array(safetensors) });
  return { settings, model, tokenizer, table, fetchedBytes };
}
