import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  add, clone, concatenate, Generator, keep, Linear, memory, Module, multiply, Parameter, RmsNorm, tensor, tidy, zeros,
  type DeviceName, type Tensor,
} from "@frugal/tensor-core";
import { expect, it } from "vitest";
import { createTokenDataset } from "../datasets/token-dataset.ts";
import { SettingsError } from "../errors.ts";
import { scoreSequences } from "../evaluation/scoring.ts";
import { generateTokens, type NextTokenModel } from "../generation/generate.ts";
import { rawActivationCodec } from "../split/activation-codec.ts";
import { SplitModel } from "../split/split-model.ts";
import { Trainer } from "../training/trainer.ts";
import { loadTrainingCheckpoint, saveTrainingCheckpoint } from "../training/training-checkpoint.ts";
import { createModel, smallModelConfiguration } from "./create-model.ts";
import { FeedForward } from "./decoder-block.ts";
import type { BlockState, DecoderCache } from "./decoder-cache.ts";
import { forwardStages, type BlockContext, type ForwardOptions, type StagedBlock, type StagedModel } from "./staged-model.ts";
import { TokenEmbedding } from "./token-embedding.ts";

// A decoder whose mixer is a recurrence, written against the public interfaces alone: what another package's model looks like.
const HIDDEN = 16;

class DecayState implements BlockState {
  current: Tensor;
  constructor(current: Tensor) {
    this.current = current;
  }
  get byteLength(): number {
    return this.current.size * 4;
  }
  dispose(): void {
    this.current.dispose();
  }
}

class DecayCache implements DecoderCache {
  readonly capacity: number = Infinity;
  readonly #states: DecayState[];
  length = 0;
  constructor(blocks: number, batch: number) {
    this.#states = Array.from({ length: blocks }, () => new DecayState(keep(zeros([batch, 1, HIDDEN]))));
  }
  blockState(block: number): DecayState {
    return this.#states[block]!;
  }
  reserve(): void {}
  advance(tokens: number): void {
    this.length += tokens;
  }
  truncate(length: number): void {
    if (length !== this.length) throw new SettingsError("a recurrence cannot go back");
  }
  get byteLength(): number {
    return this.#states.reduce((total, state) => total + state.byteLength, 0);
  }
  fork(length: number = this.length): DecayCache {
    this.truncate(length);
    const copy = new DecayCache(0, 1);
    for (const { current } of this.#states) copy.#states.push(new DecayState(keep(clone(current))));
    copy.length = length;
    return copy;
  }
  dispose(): void {
    for (const state of this.#states) state.dispose();
  }
}

class DecayBlock extends Module implements StagedBlock {
  readonly mix: Linear;
  readonly feedForwardNorm: RmsNorm = RmsNorm.create(HIDDEN);
  readonly feedForward: FeedForward;
  readonly #index: number;

  constructor(index: number, generator: Generator) {
    super();
    const random = (key: number, shape: readonly number[]): Parameter => new Parameter(generator.split(key).normal(shape, 0, 0.2));
    this.#index = index;
    this.mix = new Linear({ weight: random(0, [HIDDEN, HIDDEN]) });
    this.feedForward = new FeedForward(index, (name) => {
      if (!name.endsWith(".weight")) return undefined;
      return name.includes("down") ? random(1, [HIDDEN, 32]) : random(name.includes("up") ? 2 : 3, [32, HIDDEN]);
    });
  }

  mixerHalf(hidden: Tensor, { cache }: BlockContext = {}): Tensor {
    const remembered = cache?.blockState(this.#index) as DecayState | undefined;
    const mixed = this.mix.forward(hidden);
    let state = remembered?.current ?? zeros([hidden.shape[0]!, 1, HIDDEN]);
    const outputs: Tensor[] = [];
    for (let at = 0; at < hidden.shape[1]!; at++) {
      state = multiply(add(state, mixed.slice(null, [at, at + 1])), 0.5);
      outputs.push(state);
    }
    if (remembered !== undefined) {
      const last = keep(clone(state));
      remembered.dispose();
      remembered.current = last;
    }
    return add(hidden, concatenate(outputs, 1));
  }

  feedForwardHalf(hidden: Tensor): Tensor {
    return add(hidden, this.feedForward.forward(this.feedForwardNorm.forward(hidden)));
  }

  mixerParameters(): Parameter[] {
    return this.mix.parameters();
  }

  feedForwardParameters(): Parameter[] {
    return [...this.feedForwardNorm.parameters(), ...this.feedForward.parameters()];
  }
}

class DecayModel extends Module implements StagedModel {
  readonly device: DeviceName = "cpu";
  readonly config: StagedModel["config"] = { maxPositionEmbeddings: Infinity, eosTokenIds: [] };
  readonly hiddenSize = HIDDEN;
  readonly vocabularySize = 11;
  readonly blockCount = 2;
  readonly blockRange = [0, 2] as const;
  readonly tiedHead = true;
  readonly table: TokenEmbedding;
  readonly blocks: readonly DecayBlock[];

  constructor(generator: Generator) {
    super();
    this.table = new TokenEmbedding(new Parameter(generator.split(0).normal([11, HIDDEN], 0, 0.3)));
    this.blocks = [0, 1].map((index) => new DecayBlock(index, generator.split(1 + index)));
  }

  block(index: number): DecayBlock {
    return this.blocks[index]!;
  }
  embed(ids: Tensor): Tensor {
    return tidy(() => this.table.forward(ids));
  }
  forwardBlocks(hidden: Tensor, from: number, to: number, context: BlockContext = {}): Tensor {
    const run = (current: Tensor, block: DecayBlock): Tensor => block.feedForwardHalf(block.mixerHalf(current, context));
    return tidy(() => this.blocks.slice(from, to).reduce(run, hidden));
  }
  head(hidden: Tensor): Tensor {
    return tidy(() => this.table.logits(hidden));
  }
  forward(ids: Tensor, options?: ForwardOptions): Tensor {
    return forwardStages(this, ids, options);
  }
  createCache({ batch = 1 }: { readonly batch?: number } = {}): DecayCache {
    return new DecayCache(this.blockCount, batch);
  }
  embeddingParameters(): Parameter[] {
    return this.table.parameters();
  }
  headParameters(): Parameter[] {
    return this.table.parameters();
  }
}

const text = Array.from({ length: 400 }, (_, i) => [1, 4, 2, 8, 5, 7][i % 6]!);
const dataset = createTokenDataset(text, { sequenceLength: 12, batchSize: 4, seed: 1 });

async function continued(model: NextTokenModel): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generateTokens(model, [1, 4, 2], { maxNewTokens: 9 })) ids.push(id);
  return ids;
}

it("trains, resumes, generates, scores and splits a model with another mixer", async () => {
  const before = memory().allocations;
  const folder = await mkdtemp(join(tmpdir(), "frugal-staged-"));
  {
    using model = new DecayModel(new Generator(3));
    using trainer = new Trainer(model, dataset, { totalSteps: 90, learningRate: 2e-2 });
    const losses: number[] = [];
    for (let i = 0; i < 80; i++) losses.push((await trainer.step()).loss);
    expect(losses[0]).toBeGreaterThan(2);
    expect(losses.at(-1)).toBeLessThan(0.1);

    const path = join(folder, "checkpoint.safetensors");
    await saveTrainingCheckpoint(trainer, path);
    using other = new DecayModel(new Generator(4));
    using resumed = new Trainer(other, dataset, { totalSteps: 90, learningRate: 2e-2 });
    await loadTrainingCheckpoint(resumed, path);
    const [expected, found] = [await trainer.step(), await resumed.step()];
    expect([found.step, found.loss, found.gradientNorm]).toEqual([81, expected.loss, expected.gradientNorm]);

    const split = new SplitModel(model, { codec: rawActivationCodec() });
    expect(await continued(model)).toEqual([8, 5, 7, 1, 4, 2, 8, 5, 7]);
    expect(await continued(split)).toEqual([8, 5, 7, 1, 4, 2, 8, 5, 7]);
    const score = await scoreSequences(model, [text.slice(0, 50)]);
    expect(score.perplexity).toBeLessThan(1.5);
    expect(await scoreSequences(split, [text.slice(0, 50)])).toEqual(score);
  }
  await rm(folder, { recursive: true });
  expect(memory().allocations).toBe(before);
});

it("keeps caches with the models that made them", () => {
  const config = smallModelConfiguration({ vocabularySize: 11, hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2 });
  using decoder = createModel(config, { generator: new Generator(1) });
  using foreign = new DecayModel(new Generator(1));
  const cache = foreign.createCache();
  using ids = tensor(Int32Array.of(1), [1, 1]);
  expect(() => decoder.forward(ids, { cache })).toThrow("the cache holds no keys and values for block 0");
  cache.dispose();
});
