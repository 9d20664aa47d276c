/** The method's own arithmetic: projections, Eq. 1, and the degraded backward pass. */
import { smallModelConfiguration } from "@frugal/language-model";
import { Generator, matmul, tidy, type Tensor } from "@frugal/tensor-core";
import type { Claim, Measured } from "../src/check.ts";
import { tokenIds } from "../src/inputs.ts";
import { degradedBackwardError } from "./finite-differences.ts";
import {
  createJob, createSampler, decoderStageFactory, exactWeightGradient, lowRankWeightGradient, projectInputs, rightSingularBasis, VirtualGrid,
  type JobOptions, type Slot,
} from "@frugal/mecefo";

const squared = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);
const distance = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);

/** Largest violation over bases of weight, inputs and gradient, two ways to decompose, and ranks from 1 to all. */
async function lowRankIdentities(): Promise<Measured> {
  const [tokens, inputs, outputs] = [200, 96, 160];
  const generator = new Generator(3);
  const [x, dy, weight] = tidy(() => {
    const spread = generator.normal([inputs, inputs]).multiply(generator.uniform([inputs], 0.05, 1));
    const made = matmul(generator.normal([tokens, inputs]), spread);
    return [made, generator.normal([tokens, outputs]), generator.normal([outputs, inputs])] as const;
  });
  using exact = exactWeightGradient(dy, x);
  const whole = await exact.data("float32");
  const energy = squared(whole);
  let [worst, cases] = [0, 0];
  for (const method of ["subspace", "exact"] as const) {
    for (const source of [weight, x, exact]) {
      let previous = Infinity;
      for (const rank of [1, 8, 24, 48, 72, inputs]) {
        using basis = await rightSingularBasis(source, rank, { method, iterations: 12 });
        using estimate = tidy(() => lowRankWeightGradient(dy, projectInputs(x, basis), basis));
        const values = await estimate.data("float32");
        using again = tidy((): Tensor => matmul(matmul(estimate, basis), basis.transpose()));
        const error = distance(values, whole) / energy;
        const moved = Math.sqrt(distance(await again.data("float32"), values) / squared(values));
        // ‖G - Ĝ‖² + ‖Ĝ‖² = ‖G‖²; Ĝ V₁ V₁ᵀ = Ĝ; r = n leaves nothing out; nested bases never do worse with more vectors.
        worst = Math.max(worst, Math.abs(error + squared(values) / energy - 1), moved);
        if (rank === inputs) worst = Math.max(worst, Math.sqrt(error));
        if (method === "exact" || source === exact) worst = Math.max(worst, error - previous);
        previous = error;
        cases++;
      }
    }
  }
  for (const made of [x, dy, weight]) made.dispose();
  return {
    value: worst,
    note: `largest violation in ${cases} cases (bases of weight, inputs, gradient; ranks 1 to ${inputs}): Pythagoras, projecting twice, `
      + "full rank exact, errors falling with the rank",
  };
}

const vocabularySize = 40;
const configuration = smallModelConfiguration({
  vocabularySize, hiddenSize: 32, intermediateSize: 80, numHiddenLayers: 4, numAttentionHeads: 2, maxPositionEmbeddings: 16,
});

function grid(options: Partial<JobOptions>): VirtualGrid {
  const job = createJob({
    model: configuration, data: { folder: ".", sha256: "0".repeat(64), vocabularySize }, grid: "4x4", microbatches: 2, sequenceLength: 16,
    steps: 2, sharing: "even", techniques: { lowRankWeightGradients: false }, ...options,
  });
  return new VirtualGrid({ job, factory: decoderStageFactory(configuration), sampler: createSampler(tokenIds(4000, vocabularySize), job) });
}

/** The averaged gradients of a step with those who are alive, by parameter name; absent where nobody gave any. */
async function gradientsOf(options: Partial<JobOptions>, isLive: (slot: Slot) => boolean): Promise<Map<string, Float32Array>> {
  using virtual = grid(options);
  await virtual.step(isLive);
  const found = new Map<string, Float32Array>();
  for (const { replica, gradients, tied } of virtual.stages) {
    const byParameter = new Map([...gradients.gradients(1), ...(tied?.gradients(1) ?? [])]);
    for (const { name, parameter } of replica.parameters) {
      const gradient = byParameter.get(parameter);
      if (gradient !== undefined) found.set(name, await gradient.data("float32"));
      gradient?.dispose();
    }
  }
  return found;
}

/** Stage 2 of pipeline 1 is dead: mixers of stages 2 and 3 are the mean of pipelines 0, 2 and 3, all else of 0 to 3 (spec's example). */
async function averaging(): Promise<Measured> {
  // One pipeline alone: the others have lost a stage, and are left out.
  const alone = (pipeline: number, dead: readonly number[]) => gradientsOf(
    { lostPipeline: "drop", emptyMixer: "skip", maximumChain: 2 },
    (slot) => (slot.pipeline === pipeline ? !dead.includes(slot.stage) : slot.stage === 0),
  );
  const parts = await Promise.all([0, 1, 2, 3].map((pipeline) => alone(pipeline, pipeline === 1 ? [2] : [])));
  const found = await gradientsOf({}, ({ pipeline, stage }) => !(pipeline === 1 && stage === 2));
  let [worst, mixers] = [0, 0];
  for (const [name, gradient] of found) {
    const block = Number(/layers\.(\d+)/.exec(name)?.[1] ?? -1);
    const leavesOut = /self_attn|input_layernorm/.test(name) && block >= 2;
    if (leavesOut) mixers++;
    if (leavesOut && parts[1]!.has(name)) throw new Error(`the degraded worker gave a gradient of ${name}`);
    const terms = parts.flatMap((part, pipeline) => (leavesOut && pipeline === 1 ? [] : [part.get(name)!]));
    const scale = Math.max(...gradient.map(Math.abs));
    gradient.forEach((value, i) => {
      const mean = terms.reduce((sum, term) => sum + term[i]!, 0) / terms.length;
      worst = Math.max(worst, Math.abs(value - mean) / scale);
    });
  }
  if (mixers !== 2 * 5) throw new Error(`${mixers} parameters of mixers were left out, not 10`);
  return {
    value: worst,
    note: `${found.size} parameters of a 4x4 grid, stage 2 of pipeline 1 dead: ${mixers} of mixers are means of pipelines 0, 2, 3, the rest of `
      + "all four",
  };
}

async function finiteDifferences(): Promise<Measured> {
  const { error, places, names } = await degradedBackwardError();
  return {
    value: error,
    note: `largest error over the largest value of its gradient; ${places} places of ${names} gradients, float64 differences of the surrogate`,
  };
}

/** Arithmetic. */
export const methodClaims: readonly Claim[] = [
  { id: "low-rank-identities", unit: "largest violation", target: 1e-4, better: "smaller", measure: lowRankIdentities },
  { id: "degraded-backward-finite-difference", unit: "relative error", target: 1e-5, better: "smaller", measure: finiteDifferences },
  { id: "eq1-averaging", unit: "relative error", target: 1e-5, better: "smaller", measure: averaging },
];
