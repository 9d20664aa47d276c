import { tensor } from "@frugal/tensor-core";
import type { ActivationPrompt } from "../tinyllama-activations.testing.ts";
import { ByteReader } from "./byte-reader.ts";
import type { RowCoder } from "./row-coder.ts";

/** What the frame of a message takes beside a body of one sequence, rounded up. */
const FRAME_BYTES = 24;

/** ‖A′ - A‖ / ‖A‖ over all prompts, a message each, with the one step at which their bytes add up to 1/ratio of float16's. */
export async function errorAtRatio(coder: RowCoder, prompts: readonly ActivationPrompt[], ratio: number): Promise<number> {
  let values = 0;
  for (const prompt of prompts) values += prompt.values.length;
  const budget = (2 * values) / ratio;
  let [low, high] = [5e-4, 0.05];
  for (let index = 0; index < 12; index++) {
    const step = Math.sqrt(low * high);
    let bytes = 0;
    for (const body of await encodeAll(coder, prompts, step)) bytes += body.length + FRAME_BYTES;
    if (bytes > budget) low = step;
    else high = step;
  }
  const bodies = await encodeAll(coder, prompts, high);
  let [error, energy] = [0, 0];
  for (const [index, { tokens, values: original }] of prompts.entries()) {
    using decoded = await coder.decode(new ByteReader(coder.name, bodies[index]!), tokens, original.length / tokens, "cpu");
    const read = await decoded.data("float32");
    for (let place = 0; place < read.length; place++) {
      error += (read[place]! - original[place]!) ** 2;
      energy += original[place]! ** 2;
    }
  }
  return Math.sqrt(error / energy);
}

async function encodeAll(coder: RowCoder, prompts: readonly ActivationPrompt[], step: number): Promise<Uint8Array[]> {
  const bodies = [];
  for (const { tokens, values } of prompts) {
    using rows = tensor(values, [tokens, values.length / tokens]);
    bodies.push((await coder.encode(rows, { kind: "step", step })).bytes);
  }
  return bodies;
}
