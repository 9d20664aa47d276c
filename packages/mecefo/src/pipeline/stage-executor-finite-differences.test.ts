import { Generator, keep, tidy, type Parameter, type Tensor } from "@frugal/tensor-core";
import { expect, it } from "vitest";
import type { DecoderModel } from "@frugal/language-model";
import { allTechniques } from "../approximation/stage-mode.ts";
import { TestStage, tiny, tinyModel } from "./stage-executor.testing.ts";

const [batch, sequence, width, inner] = [2, 4, tiny.hiddenSize, tiny.intermediateSize];
const rows = batch * sequence;

/** Weights of a feed-forward half in float64. */
interface PlainHalf {
  readonly norm: Float64Array;
  readonly gate: Float64Array;
  readonly up: Float64Array;
  readonly down: Float64Array;
}

/** h + feedForward(norm(h)), row by row, in float64 and plain loops. */
function plainFeedForwardHalf(hidden: Float64Array, { norm, gate, up, down }: PlainHalf): Float64Array {
  const output = hidden.slice();
  const [normalized, gated] = [new Float64Array(width), new Float64Array(inner)];
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += hidden[row * width + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / width + 1e-5);
    for (let i = 0; i < width; i++) normalized[i] = hidden[row * width + i]! * scale * norm[i]!;
    for (let j = 0; j < inner; j++) {
      let [g, u] = [0, 0];
      for (let i = 0; i < width; i++) {
        g += gate[j * width + i]! * normalized[i]!;
        u += up[j * width + i]! * normalized[i]!;
      }
      gated[j] = (g / (1 + Math.exp(-g))) * u;
    }
    for (let i = 0; i < width; i++) for (let j = 0; j < inner; j++) output[row * width + i]! += down[i * inner + j]! * gated[j]!;
  }
  return output;
}

/** x + stopgrad(mixer) of each block: what the mixers added at the point where the gradient is taken. */
async function mixerShares(model: DecoderModel, input: Tensor): Promise<Float64Array[]> {
  const shares: Float64Array[] = [];
  let hidden = keep(tidy(() => input.clone()));
  for (const block of model.blocks) {
    const mixed = keep(tidy(() => block.mixerHalf(hidden)));
    using share = tidy(() => mixed.subtract(hidden));
    shares.push(Float64Array.from(await share.data("float32")));
    hidden.dispose();
    hidden = keep(tidy(() => block.feedForwardHalf(mixed)));
    mixed.dispose();
  }
  hidden.dispose();
  return shares;
}

/**
 * Two degraded blocks beside the surrogate y = h + FFN(norm(h)), h = x + stopgrad(MHA(norm(x))): central differences of an independent
 * float64 forward pass, so that the only rounding is the stage's own.
 */
it("a degraded stage's backward pass is the gradient of its surrogate, by finite differences", async () => {
  const model = tinyModel({ blocks: [0, 2], embedding: false, head: false });
  // Weights of 0.02 would hide errors of second order in the residual stream.
  tidy(() => {
    for (const { feedForward: { gate, up, down }, feedForwardNorm } of model.blocks) {
      for (const { weight } of [gate, up, down]) (weight as Parameter).assign((weight as Parameter).multiply(12));
      feedForwardNorm.weight.assign(new Generator(5).uniform([width], 0.5, 1.5));
    }
  });
  const stage = new TestStage(model, { techniques: allTechniques }, { rank: 1e6 });
  const [input, outputGradient] = tidy(() => keep([
    new Generator(1).normal([batch, sequence, width]), new Generator(2).normal([batch, sequence, width]),
  ])) as [Tensor, Tensor];
  const inputGradient = (await stage.executor.forward({ hidden: input }).backward(outputGradient))!;
  const found: Record<string, Float32Array> = { ...(await stage.gradients()), input: await inputGradient.data("float32") };

  const shares = await mixerShares(model, input);
  const variables: Record<string, Float64Array> = { input: Float64Array.from(await input.data("float32")) };
  for (const [name, parameter] of model.namedParameters()) {
    if (name.includes("feedForward")) variables[name] = Float64Array.from(await parameter.data("float32"));
  }
  const weights = await outputGradient.data("float32");
  const objective = (): number => {
    let hidden = variables["input"]!;
    shares.forEach((share, i) => {
      const half = (matrix: string): Float64Array => variables[`blocks.${i}.${matrix}.weight`]!;
      const mixed = hidden.map((value, place) => value + share[place]!);
      hidden = plainFeedForwardHalf(mixed, {
        norm: half("feedForwardNorm"), gate: half("feedForward.gate"), up: half("feedForward.up"), down: half("feedForward.down"),
      });
    });
    return hidden.reduce((sum, value, i) => sum + value * weights[i]!, 0);
  };

  expect(Object.keys(variables)).toHaveLength(1 + 2 * 4);
  expect(Object.keys(found).sort()).toEqual(Object.keys(variables).sort());
  for (const [name, values] of Object.entries(variables)) {
    const gradient = found[name]!;
    const scale = Math.max(...gradient.map(Math.abs));
    // Every third place of the matrices: a prime to their sides, so that all rows and columns are met.
    for (let place = 0; place < values.length; place += values.length > 200 ? 3 : 1) {
      const original = values[place]!;
      const step = 1e-4;
      values[place] = original + step;
      const above = objective();
      values[place] = original - step;
      const below = objective();
      values[place] = original;
      expect(Math.abs(gradient[place]! - (above - below) / (2 * step)), `${name} ${place}`).toBeLessThan(3e-6 * scale);
    }
  }
  for (const made of [input, outputGradient, inputGradient]) made.dispose();
  stage.dispose();
});
