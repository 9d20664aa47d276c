import { tensor } from "@frugal/tensor-core";
import type { ActivationPrompt } from "../tinyllama-activations.testing.ts";
import { findStep } from "../evaluation/find-step.ts";
import { ByteReader } from "./byte-reader.ts";
import type { RowCoder } from "./row-coder.ts";

/** What the frame of a message takes beside a body of one sequence, rounded up. */
const FRAME_BYTES = 24;

/** ‖A′ - A‖ / ‖A‖ over all prompts, a message each, with the one step at which their bytes add up to 1/ratio of float16's. */
export async function errorAtRatio(coder: RowCoder, prompts: readonly ActivationPrompt[], ratio: number): Promise<number> {
  let values = 0;
  for (const prompt of prompts) values += prompt.values.length;
  const budget = (2 * values) / ratio;
  const bytesAt = async (step: number): Promise<number> => {
    const bodies = await encodeAll(coder, prompts, step);
    return bodies.reduce((total, body) => total + body.length + FRAME_BYTES, 0);
  };
  const bodies = await encodeAll(coder, prompts, await findStep(bytesAt, budget, 0.005));
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
