/** One stage of a pipeline, run in this process as a worker runs it: what its passes cost, healthy and degraded. */
import { createModel, smallModelConfiguration, type DecoderModel } from "@frugal/language-model";
import { Generator, memory, type Tensor } from "@frugal/tensor-core";
import { median } from "../src/measure.ts";
import type { StageShape } from "../src/workload.ts";
import { GradientSums, ProjectionStore, rankOf, StageExecutor, stageCosts, type StageCosts, type StageMode } from "@frugal/mecefo";

/** Seconds of processor time of this thread, so that what others do on the machine counts little. */
export function threadSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}

/** Blocks without embedding and head, and microbatches' inputs for them. */
export class StageUnderTest {
  readonly #model: DecoderModel;
  readonly #sums: GradientSums = new GradientSums();
  readonly #projections: ProjectionStore = new ProjectionStore({ basis: "weight", refreshInterval: 100 });
  readonly #executor: StageExecutor;
  readonly #input: Tensor;
  readonly #outputGradient: Tensor;
  readonly #microbatches: number;
  #step = 0;
  /** Bytes that the last microbatch kept between forward and backward. */
  keptBytes: number = 0;

  /** @param microbatches of a step: V₁ᵀ is multiplied in once a step */
  constructor(shape: StageShape, blocks: number, mode: StageMode, microbatches: number) {
    const { hiddenSize, intermediateSize, heads: numAttentionHeads, microbatchSize, sequenceLength } = shape;
    const configuration = smallModelConfiguration({
      vocabularySize: 2, hiddenSize, intermediateSize, numHiddenLayers: blocks, numAttentionHeads, maxPositionEmbeddings: sequenceLength,
    });
    const parts = { blocks: [0, blocks], embedding: false, head: false } as const;
    this.#model = createModel(configuration, { generator: new Generator(1), parts });
    this.#executor = new StageExecutor(this.#model, { mode, projections: this.#projections, sums: this.#sums });
    this.#input = new Generator(2).normal([microbatchSize, sequenceLength, hiddenSize]);
    this.#outputGradient = new Generator(3).normal([microbatchSize, sequenceLength, hiddenSize]);
    this.#microbatches = microbatches;
  }

  /** A step's passes one after another, and their sums. Seconds of processor time of each part. */
  async step(): Promise<{ readonly forward: number; readonly backward: number; readonly sums: number }> {
    const began = [0, 0, 0];
    this.#projections.beginStep(this.#step++);
    for (let i = 0; i < this.#microbatches; i++) {
      const { allocatedBytes: before } = memory();
      let at = threadSeconds();
      const pass = this.#executor.forward({ hidden: this.#input });
      began[0]! += threadSeconds() - at;
      // Its output is sent away.
      this.keptBytes = memory().allocatedBytes - before - this.#input.size * 4;
      at = threadSeconds();
      (await pass.backward(this.#outputGradient))?.dispose();
      began[1]! += threadSeconds() - at;
    }
    const at = threadSeconds();
    for (const parameter of this.#sums.parameters()) this.#sums.get(parameter);
    const sums = threadSeconds() - at;
    this.#sums.clear();
    return { forward: began[0]! / this.#microbatches, backward: began[1]! / this.#microbatches, sums: sums / this.#microbatches };
  }

  dispose(): void {
    this.#sums.dispose();
    this.#projections.dispose();
    this.#model.dispose();
    this.#input.dispose();
    this.#outputGradient.dispose();
  }
}

/** Measured beside `StageCosts`: what the decompositions of one step's refresh cost. */
export interface MeasuredStage extends StageCosts {
  readonly refreshSeconds: number;
}

/** What one stage of `blocks` blocks takes for a microbatch, in seconds of processor time: medians over interleaved rounds. */
export async function measureStage(shape: StageShape, blocks: number, microbatches: number, rounds: number): Promise<MeasuredStage> {
  const techniques = { skipMixerBackward: true, recomputeFeedForward: true, lowRankWeightGradients: true };
  const modes: readonly StageMode[] = [{}, { techniques }, { techniques, exactMixer: true }];
  const stages = modes.map((mode) => new StageUnderTest(shape, blocks, mode, microbatches));
  const times = modes.map((): { forward: number; backward: number }[] => []);
  const first = await stages[1]!.step();
  for (let round = -2; round < rounds; round++) {
    for (const [i, stage] of stages.entries()) {
      const { forward, backward, sums } = await stage.step();
      if (round >= 0) times[i]!.push({ forward, backward: backward + sums });
    }
  }
  for (const stage of stages) stage.dispose();
  const of = (mode: number, part: "forward" | "backward"): number => median(times[mode]!.map((time) => time[part]));
  const degradedBackward = of(1, "backward");
  return {
    forward: of(0, "forward"), backward: of(0, "backward"), degradedForward: of(1, "forward"), degradedBackward,
    exactMixerBackward: of(2, "backward"),
    refreshSeconds: Math.max(0, (first.backward + first.sums - degradedBackward) * microbatches),
  };
}

/** Multiplications and additions of a block's halves, forward, for one token: a and f of the cost model. */
function blockFlops({ hiddenSize: h, intermediateSize, sequenceLength }: StageShape): { readonly mixer: number; readonly feedForward: number } {
  return { mixer: 8 * h * h + 4 * sequenceLength * h, feedForward: 6 * h * intermediateSize };
}

/** The cost model's figure for a worker with two stages over a healthy one: naive, I, I + II, all. */
export function modelFactors(shape: StageShape, microbatches: number): readonly number[] {
  const { mixer, feedForward } = blockFlops(shape);
  const rank = (inputs: number): number => rankOf({}, inputs);
  const tokens = shape.microbatchSize * shape.sequenceLength;
  const [h, m] = [shape.hiddenSize, shape.intermediateSize];
  // (2brn + 2brm + 2rmn / microbatches) / 2bmn, gate and up with r of h, down with r of m.
  const share = (n: number, outputs: number): number => rank(n) * (1 / outputs + 1 / n + 1 / (tokens * microbatches));
  const lowRank = (2 * share(h, m) + share(m, h)) / 3;
  return [[false, false, false], [true, false, false], [true, true, false], [true, true, true]].map(([first, second, third]) => {
    const costs = stageCosts(
      { mixerForward: mixer, feedForwardForward: feedForward },
      { skipMixerBackward: first!, recomputeFeedForward: second!, lowRankWeightGradients: third! }, lowRank,
    );
    return (2 * (costs.degradedForward + costs.degradedBackward)) / (costs.forward + costs.backward);
  });
}
