import { setImmediate as nextTurn } from "node:timers/promises";
import { crossEntropy, full, keep, noGrad, tensor, tidy, type Parameter, type Tensor } from "@frugal/tensor-core";
import type { StagedModel } from "@frugal/language-model";
import type { ProjectionStore } from "../approximation/projection-store.ts";
import type { StageMode } from "../approximation/stage-mode.ts";
import { MecefoError, SettingsError } from "../errors.ts";
import type { GradientSums } from "./gradient-sums.ts";
import { FeedForwardSegment } from "./stage-executor-feed-forward.ts";
import { ExactSegment, type GradientSink, type Segment } from "./stage-executor-segment.ts";
import type { StageInput, StagePass } from "./stage-pass.ts";

/** What a stage is run with. */
export interface StageExecutorOptions {
  readonly mode: StageMode;
  /** V₁ of this worker's degraded blocks. */
  readonly projections: ProjectionStore;
  /** Where gradients are added up. */
  readonly sums: GradientSums;
}

/** Between two blocks, sockets and timers get a turn this often. */
const MILLISECONDS_BETWEEN_TURNS = 10;

/**
 * Runs the passes of one stage: a run of blocks, the embedding before them where the model has it, the head and the loss after them
 * likewise. A healthy stage keeps all activations and differentiates exactly. A degraded one does what its techniques say (paper,
 * algorithms 2 and 3): forward is always exact; embedding, head, norms of feed-forwards and biases have exact gradients always.
 */
export class StageExecutor {
  readonly #model: StagedModel;
  readonly #projections: ProjectionStore;
  readonly #sums: GradientSums;
  #mode: StageMode;

  constructor(model: StagedModel, { mode, projections, sums }: StageExecutorOptions) {
    this.#model = model;
    this.#mode = mode;
    this.#projections = projections;
    this.#sums = sums;
  }

  get mode(): StageMode {
    return this.#mode;
  }

  /** From the next pass on. Where weight gradients begin to be of low rank, the counters of the blocks begin again. */
  setMode(mode: StageMode): void {
    if (mode.techniques?.lowRankWeightGradients === true && this.#mode.techniques?.lowRankWeightGradients !== true) {
      const [from, to] = this.#model.blockRange;
      for (let block = from; block < to; block++) this.#projections.reset(block);
    }
    this.#mode = mode;
  }

  /**
   * One microbatch through the stage.
   * @param targets of the next tokens, as the ids lie; at the stage with the head, and only there
   * @throws SettingsError when input or targets do not fit the parts of the model that are here
   */
  forward(input: StageInput, targets?: Int32Array): StagePass {
    const model = this.#model;
    const hasEmbedding = model.embeddingParameters().length > 0;
    const hasHead = model.headParameters().length > 0;
    if (hasHead !== (targets !== undefined)) {
      throw new SettingsError(hasHead ? "a stage with the head needs targets" : "targets for a stage without head");
    }
    if (hasEmbedding !== "ids" in input) {
      const detail = hasEmbedding ? "a stage with the embedding takes ids, not hidden states" : "ids for a stage without embedding";
      throw new SettingsError(detail);
    }
    const segments: Segment[] = [];
    try {
      let hidden: Tensor;
      let shape: readonly number[];
      if ("ids" in input) {
        const ids = keep(tensor(input.ids, input.shape, { device: model.device }));
        shape = input.shape;
        try {
          segments.push(new ExactSegment(() => model.embed(ids), model.embeddingParameters()));
        } finally {
          ids.dispose();
        }
        hidden = segments[0]!.output;
      } else {
        ({ hidden } = input);
        shape = hidden.shape.slice(0, 2);
      }
      const push = (segment: Segment): void => {
        // What a piece needs of its input it keeps itself: between stages only the last output is read.
        segments.at(-1)?.freeOutput();
        segments.push(segment);
        hidden = segment.output;
      };
      const [from, to] = model.blockRange;
      for (let index = from; index < to; index++) for (const make of this.#piecesOf(index)) push(make(hidden));
      if (targets !== undefined) {
        const expected = keep(tensor(targets, shape, { device: model.device }));
        try {
          const input = hidden;
          push(new ExactSegment(() => crossEntropy(model.head(input), expected), model.headParameters(), input));
        } finally {
          expected.dispose();
        }
      }
    } catch (error) {
      for (const segment of segments) segment.dispose();
      throw error;
    }
    return new SegmentedPass(segments, targets !== undefined, sharedParameters(model), this.#sums);
  }

  /** How a block is run under the present mode: as one piece or as two. */
  #piecesOf(index: number): readonly ((input: Tensor) => Segment)[] {
    const model = this.#model;
    const block = model.block(index);
    const { techniques, exactMixer = false } = this.#mode;
    if (techniques === undefined) {
      const parameters = [...block.mixerParameters(), ...block.feedForwardParameters()];
      return [(input) => new ExactSegment(() => model.forwardBlocks(input, index, index + 1), parameters, input)];
    }
    const { skipMixerBackward, recomputeFeedForward: recompute, lowRankWeightGradients } = techniques;
    const feedForward = { index, block, recompute, projections: lowRankWeightGradients ? this.#projections : undefined };
    return [
      skipMixerBackward && !exactMixer
        ? (input) => new SkippedMixer(() => block.mixerHalf(input))
        : (input) => new ExactSegment(() => block.mixerHalf(input), block.mixerParameters(), input),
      recompute || lowRankWeightGradients
        ? (hidden) => new FeedForwardSegment(hidden.reshape(hidden.shape), feedForward)
        : (hidden) => new ExactSegment(() => block.feedForwardHalf(hidden), block.feedForwardParameters(), hidden),
    ];
  }
}

/** Technique I: h = x + mixer(norm(x)) forward, the identity backward; its parameters get no gradient. */
class SkippedMixer implements Segment {
  readonly output: Tensor;

  constructor(run: () => Tensor) {
    this.output = keep(noGrad(() => tidy(run)));
  }

  backward(outputGradient: Tensor): Tensor {
    return keep(outputGradient.reshape(outputGradient.shape));
  }

  freeOutput(): void {
    this.output.dispose();
  }

  dispose(): void {
    this.freeOutput();
  }
}

class SegmentedPass implements StagePass {
  readonly output?: Tensor;
  readonly loss?: Tensor;
  readonly #segments: Segment[];
  readonly #shared: ReadonlySet<Parameter>;
  readonly #sums: GradientSums;
  #started = false;
  #disposed = false;

  constructor(segments: Segment[], hasLoss: boolean, shared: ReadonlySet<Parameter>, sums: GradientSums) {
    this.#segments = segments;
    this.#shared = shared;
    this.#sums = sums;
    const { output } = segments.at(-1)!;
    if (hasLoss) this.loss = output;
    else this.output = output;
  }

  async backward(outputGradient?: Tensor): Promise<Tensor | undefined> {
    if (this.#started || this.#disposed) throw new MecefoError("backward: this pass is over; it goes backward once");
    if ((outputGradient === undefined) !== (this.loss !== undefined)) {
      const detail = this.loss === undefined ? "the gradient of the output is missing" : "a stage with a loss takes no gradient";
      throw new MecefoError(`backward: ${detail}`);
    }
    this.#started = true;
    // A matrix that is embedding and head at once contributes once a microbatch, with both its uses added.
    const waiting = new Map<Parameter, Tensor>();
    const sink: GradientSink = {
      addProduct: (...product) => this.#sums.addProduct(...product),
      add: (parameter, gradient) => {
        const first = waiting.get(parameter);
        if (first === undefined && this.#shared.has(parameter)) waiting.set(parameter, gradient);
        else if (first === undefined) this.#sums.add(parameter, gradient);
        else {
          waiting.delete(parameter);
          const both = keep(first.add(gradient));
          for (const part of [first, gradient]) part.dispose();
          this.#sums.add(parameter, both);
        }
      },
    };
    const seed = outputGradient ?? keep(full([], 1, { device: this.loss!.device }));
    let gradient: Tensor | undefined = seed;
    try {
      let lastTurn = performance.now();
      for (let segment = this.#segments.pop(); segment !== undefined; segment = this.#segments.pop()) {
        const current: Tensor = gradient!;
        try {
          gradient = await segment.backward(current, sink);
        } finally {
          segment.dispose();
          if (current !== outputGradient) current.dispose();
        }
        if (performance.now() - lastTurn > MILLISECONDS_BETWEEN_TURNS) {
          await nextTurn();
          lastTurn = performance.now();
        }
        if (this.#disposed) throw new MecefoError("backward: the pass was disposed meanwhile");
      }
      const result = gradient === seed ? undefined : gradient;
      gradient = undefined;
      return result;
    } finally {
      if (gradient !== outputGradient) gradient?.dispose();
      for (const part of waiting.values()) part.dispose();
      this.#free();
    }
  }

  dispose(): void {
    // A backward pass on its way stops at its next piece, and frees the rest.
    this.#disposed = true;
    if (!this.#started) this.#free();
  }

  #free(): void {
    for (const segment of this.#segments) segment.dispose();
    this.#segments.length = 0;
    this.output?.dispose();
    this.loss?.dispose();
  }
}

/** Parameters of embedding and head at once. */
function sharedParameters(model: StagedModel): ReadonlySet<Parameter> {
  const embedding = new Set(model.embeddingParameters());
  return new Set(model.headParameters().filter((parameter) => embedding.has(parameter)));
}
