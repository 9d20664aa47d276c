import { stat } from "node:fs/promises";
import { join } from "node:path";
import {
  calibrateModel, readCodecTable, sampleSequences, serializeCodecTable, writeCodecTable, type CodecTable,
} from "@frugal/fourier-compress";
import { loadModel, modelFingerprint, type WeightSource } from "@frugal/language-model";
import { memoryFile } from "./build-page.ts";
import type { ServedFile } from "./served-file.ts";

const STORY_TOKENS = 140;
const TEMPERATURE = 0.9;
const SEED = 1;

/** Settings of `openCodecTable`. */
export interface CodecTableSettings {
  /** Tables are kept here from one start to the next. */
  readonly folder: string;
  readonly splitBlock: number;
  /** What stories begin with. */
  readonly beginToken: number;
  /** How many to calibrate with. */
  readonly stories: number;
  readonly onLine: (line: string) => void;
}

/**
 * The table of a split of the model: from the folder, or calibrated on stories that the model writes now.
 * @throws CodecTableError for a file in the folder that is no table of this model and split
 */
export async function openCodecTable(source: WeightSource, settings: CodecTableSettings): Promise<CodecTable> {
  const { folder, splitBlock, beginToken, stories, onLine } = settings;
  const fingerprint = await modelFingerprint(source.config);
  const path = join(folder, `${fingerprint.slice(0, 16)}-block${splitBlock}`);
  const isThere = await stat(`${path}.json`).then(() => true, () => false);
  if (isThere) {
    const table = await readCodecTable(path);
    if (table.model === fingerprint && table.block === splitBlock) return table;
    onLine(`${path}.json is of another model or split; calibrating again`);
  }
  using model = await loadModel(source);
  const started = performance.now();
  const written = await sampleSequences(model, beginToken, {
    count: stories, maxTokens: STORY_TOKENS, temperature: TEMPERATURE, seed: SEED,
    onProgress: (done) => {
      if (done % 3 === 0) onLine(`  wrote ${done} of ${stories} stories to calibrate with`);
    },
  });
  const table = await calibrateModel(model, written, { model: fingerprint, splitBlock, source });
  await writeCodecTable(path, table);
  onLine(`  calibrated on ${table.rows} rows in ${((performance.now() - started) / 1000).toFixed(0)} s: ${path}.json`);
  return table;
}

/** Its two files, to be served. */
export async function tableFiles(table: CodecTable): Promise<{ readonly json: ServedFile; readonly safetensors: ServedFile }> {
  const { json, safetensors } = await serializeCodecTable(table);
  return {
    json: memoryFile(new TextEncoder().encode(json), "application/json"), safetensors: memoryFile(safetensors, "application/octet-stream"),
  };
}
