/**
 * A model of one's own for `custom-model.ts`: no attention, its mixer is a gated causal convolution. Whatever has blocks of two halves
 * can be trained: a class that implements language-model's `StagedModel`, and a `StageFactory` that makes its stages as default export.
 */
import {
  forwardStages, MissingPartError, SettingsError, type GatedFeedForward, type StagedBlock, type StagedModel,
} from "@frugal/language-model";
import type { StageFactory, StageParts } from "@frugal/mecefo";
import {
  add, causalConv1d, Embedding, Generator, Linear, Module, Parameter, RmsNorm, swiglu, tidy, type Tensor,
} from "@frugal/tensor-core";

const sizes = { blockCount: 4, vocabularySize: 256, hiddenSize: 48, intermediateSize: 128, kernelSize: 8, maximumSequenceLength: 256 };

function linear(generator: Generator, inputs: number, outputs: number): Linear {
  return Linear.create(inputs, outputs, { generator, bias: false });
}

class FeedForward extends Module implements GatedFeedForward {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;

  constructor(generator: Generator) {
    super();
    this.gate = linear(generator.split(0), sizes.hiddenSize, sizes.intermediateSize);
    this.up = linear(generator.split(1), sizes.hiddenSize, sizes.intermediateSize);
    this.down = linear(generator.split(2), sizes.intermediateSize, sizes.hiddenSize);
  }

  forward(input: Tensor): Tensor {
    return this.down.forward(swiglu(this.gate.forward(input), this.up.forward(input)));
  }
}

class ConvolutionBlock extends Module implements StagedBlock {
  readonly mixerNorm: RmsNorm = RmsNorm.create(sizes.hiddenSize);
  readonly gate: Linear;
  readonly value: Linear;
  readonly output: Linear;
  /** [channels, width]: each channel sees its last tokens. */
  readonly kernel: Parameter;
  readonly feedForwardNorm: RmsNorm = RmsNorm.create(sizes.hiddenSize);
  readonly feedForward: FeedForward;

  constructor(generator: Generator) {
    super();
    const { hiddenSize, kernelSize } = sizes;
    this.gate = linear(generator.split(0), hiddenSize, hiddenSize);
    this.value = linear(generator.split(1), hiddenSize, hiddenSize);
    this.output = linear(generator.split(2), hiddenSize, hiddenSize);
    this.kernel = new Parameter(generator.split(3).normal([hiddenSize, kernelSize], 0, 1 / Math.sqrt(kernelSize)));
    this.feedForward = new FeedForward(generator.split(4));
  }

  mixerHalf(hidden: Tensor): Tensor {
    const normalized = this.mixerNorm.forward(hidden);
    const mixed = causalConv1d(this.value.forward(normalized), this.kernel);
    return add(hidden, this.output.forward(swiglu(this.gate.forward(normalized), mixed)));
  }

  feedForwardHalf(hidden: Tensor): Tensor {
    return add(hidden, this.feedForward.forward(this.feedForwardNorm.forward(hidden)));
  }

  mixerParameters(): Parameter[] {
    return [...this.mixerNorm.parameters(), ...[this.gate, this.value, this.output].flatMap((layer) => layer.parameters()), this.kernel];
  }

  feedForwardParameters(): Parameter[] {
    return [...this.feedForwardNorm.parameters(), ...this.feedForward.parameters()];
  }
}

/** Some blocks of the model, with embedding and head where asked for. */
class ConvolutionModel extends Module implements StagedModel {
  readonly device = "cpu" as const;
  readonly config = { maxPositionEmbeddings: sizes.maximumSequenceLength, eosTokenIds: [] };
  readonly hiddenSize: number = sizes.hiddenSize;
  readonly vocabularySize: number = sizes.vocabularySize;
  readonly blockCount: number = sizes.blockCount;
  readonly blockRange: readonly [from: number, to: number];
  readonly tiedHead = false;
  readonly embedding: Embedding | undefined;
  readonly blocks: readonly ConvolutionBlock[];
  readonly norm: RmsNorm | undefined;
  readonly output: Linear | undefined;

  constructor({ blocks: [from, to], embedding, head }: StageParts, seed: number) {
    super();
    // A stream of its own for each part, by its place in the whole: any stage begins with the bits that it has in the whole model.
    const generator = new Generator(seed);
    const { hiddenSize, vocabularySize, blockCount } = sizes;
    this.blockRange = [from, to];
    const random = { generator: generator.split(blockCount), standardDeviation: 0.02 };
    this.embedding = embedding ? Embedding.create(vocabularySize, hiddenSize, random) : undefined;
    this.blocks = Array.from({ length: to - from }, (_, i) => new ConvolutionBlock(generator.split(from + i)));
    this.norm = head ? RmsNorm.create(hiddenSize) : undefined;
    this.output = head ? linear(generator.split(blockCount + 1), hiddenSize, vocabularySize) : undefined;
  }

  block(index: number): ConvolutionBlock {
    const block = this.blocks[index - this.blockRange[0]];
    if (block === undefined) throw new MissingPartError(`block ${index}`, `blocks ${this.blockRange.join(" to ")} (exclusive) are here`);
    return block;
  }

  embed(ids: Tensor): Tensor {
    if (this.embedding === undefined) throw new MissingPartError("the embedding", "make the stage with it");
    return this.embedding.forward(ids);
  }

  forwardBlocks(hidden: Tensor, from: number, to: number): Tensor {
    return tidy(() => {
      let current = hidden;
      for (let index = from; index < to; index++) {
        const block = this.block(index);
        current = block.feedForwardHalf(block.mixerHalf(current));
      }
      return current;
    });
  }

  head(hidden: Tensor): Tensor {
    const { norm, output } = this;
    if (norm === undefined || output === undefined) throw new MissingPartError("the output head", "make the stage with it");
    return tidy(() => output.forward(norm.forward(hidden)));
  }

  forward(ids: Tensor): Tensor {
    return forwardStages(this, ids);
  }

  createCache(): never {
    throw new SettingsError("this model is for training: it remembers nothing from call to call");
  }

  embeddingParameters(): Parameter[] {
    return this.embedding?.parameters() ?? [];
  }

  headParameters(): Parameter[] {
    return [...(this.norm?.parameters() ?? []), ...(this.output?.parameters() ?? [])];
  }
}

const factory: StageFactory = {
  blockCount: sizes.blockCount,
  vocabularySize: sizes.vocabularySize,
  maximumSequenceLength: sizes.maximumSequenceLength,
  tiedHead: false,
  create: (parts, seed) => new ConvolutionModel(parts, seed),
};

export default factory;
