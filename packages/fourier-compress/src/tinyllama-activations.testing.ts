import { readFileSync } from "node:fs";
import { join } from "node:path";
import { float16BitsToFloat32 } from "@frugal/tensor-core";
import { sharedData } from "./shared-data.testing.ts";

/** Width of the rows. */
export const TINYLLAMA_HIDDEN_SIZE = 2048;

/** Rows of one prompt, [tokens, 2048], its begin-of-sequence row left out. */
export interface ActivationPrompt {
  readonly tokens: number;
  readonly values: Float32Array;
}

/** The test prompts after a block of TinyLlama-1.1B, or undefined where the data is not there. */
export function tinyllamaPrompts(block: 1 | 2 = 1): readonly ActivationPrompt[] | undefined {
  const folder = sharedData("tinyllama-1.1b-activations");
  if (folder === undefined) return undefined;
  const rows = readFloat16(join(folder, `test_l${block}.f16`));
  const { prompts } = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
    prompts: readonly { row: number; tokens: readonly number[] }[];
  };
  return prompts.map(({ row, tokens }) => ({
    tokens: tokens.length - 1,
    values: rows.subarray((row + 1) * TINYLLAMA_HIDDEN_SIZE, (row + tokens.length) * TINYLLAMA_HIDDEN_SIZE),
  }));
}

/** The calibration rows after block 1, begin-of-sequence rows left out: [4096, 2048]. */
export function tinyllamaCalibrationRows(): Float32Array | undefined {
  const folder = sharedData("tinyllama-1.1b-activations");
  return folder === undefined ? undefined : readFloat16(join(folder, "cal_l1.f16"));
}

function readFloat16(path: string): Float32Array {
  const bytes = readFileSync(path);
  const bits = new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return Float32Array.from(bits, float16BitsToFloat32);
}
