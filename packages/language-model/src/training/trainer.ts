import {
  AdamW, clipByGlobalNorm, cosineSchedule, crossEntropy, dispose, keep, tensor, tidy, valueAndGrad,
  type Parameter, type Schedule, type Tensor,
} from "@frugal/tensor-core";
import { LanguageModelError } from "../errors.ts";
import type { TokenBatch, TokenDataset } from "../datasets/token-dataset.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { breathe } from "../scheduling/event-loop.ts";

/** Settings of `Trainer`. */
export interface TrainingSettings {
  /** Steps of the whole run; the learning rate falls to a tenth of its peak at the end. */
  readonly totalSteps: number;
  /** Peak learning rate. Default 1e-3. */
  readonly learningRate?: number;
  /** Steps of linear rise. Default: a twentieth of totalSteps. */
  readonly warmupSteps?: number;
  /** On matrices, not on norms and biases. Default 0.1. */
  readonly weightDecay?: number;
  /** Gradients are scaled down to this global norm. Default 1. */
  readonly maximumGradientNorm?: number;
}

/** What one step did. */
export interface TrainingStep {
  /** Steps taken so far, this one included. */
  readonly step: number;
  /** Mean cross-entropy of the batch before the update, in nats per token. */
  readonly loss: number;
  /** Global norm of the gradients before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly tokens: number;
  readonly milliseconds: number;
}

/** Mean cross-entropy of a batch, as a differentiable scalar. */
export function languageModelLoss(model: DecoderModel, batch: TokenBatch): Tensor {
  const shape = [batch.batchSize, batch.sequenceLength];
  const inputs = tensor(batch.inputs, shape, { device: model.device });
  const targets = tensor(batch.targets, shape, { device: model.device });
  return crossEntropy(model.forward(inputs), targets);
}

/**
 * Trains a decoder with AdamW, warm-up and cosine decay, one `step()` at a time. Batches are a function of the step, so a trainer whose
 * model, optimizer state and `optimizer.stepCount` are restored goes on exactly where it was.
 */
export class Trainer {
  readonly model: DecoderModel;
  readonly optimizer: AdamW;
  readonly settings: Required<TrainingSettings>;
  readonly #dataset: TokenDataset;
  readonly #schedule: Schedule;
  readonly #parameters: readonly Parameter[];

  constructor(model: DecoderModel, dataset: TokenDataset, settings: TrainingSettings) {
    const { totalSteps, learningRate = 1e-3, weightDecay = 0.1, maximumGradientNorm = 1 } = settings;
    const { warmupSteps = Math.ceil(totalSteps / 20) } = settings;
    this.settings = { totalSteps, learningRate, warmupSteps, weightDecay, maximumGradientNorm };
    this.model = model;
    this.#dataset = dataset;
    const parameters = model.parameters();
    const groups = [
      { parameters: parameters.filter((parameter) => parameter.rank >= 2) },
      { parameters: parameters.filter((parameter) => parameter.rank < 2), settings: { weightDecay: 0 } },
    ];
    this.optimizer = new AdamW(groups, { learningRate, betas: [0.9, 0.95], weightDecay });
    this.#parameters = this.optimizer.parameters;
    this.#schedule = cosineSchedule({ totalSteps, warmupSteps, finalScale: 0.1 });
  }

  /** One update on the batch of the current step. @throws LanguageModelError when the loss is no longer finite */
  async step(): Promise<TrainingStep> {
    await breathe();
    const started = performance.now();
    const index = this.optimizer.stepCount;
    const batch = this.#dataset.batch(index);
    this.optimizer.learningRateScale = this.#schedule(index);
    const scalars = tidy(() => {
      const [loss, gradients] = valueAndGrad(() => languageModelLoss(this.model, batch))(this.#parameters);
      const clipped = clipByGlobalNorm(gradients, this.settings.maximumGradientNorm);
      this.optimizer.step(clipped.gradients);
      return { loss, norm: clipped.norm };
    });
    keep(scalars);
    const [loss, gradientNorm] = [await scalars.loss.item(), await scalars.norm.item()];
    dispose(scalars);
    if (!Number.isFinite(loss)) {
      throw new LanguageModelError(`step ${index + 1}: the loss is ${loss}; lower the learning rate (${this.settings.learningRate})`);
    }
    return {
      step: index + 1,
      loss,
      gradientNorm,
      learningRate: this.settings.learningRate * this.optimizer.learningRateScale,
      tokens: batch.inputs.length,
      milliseconds: performance.now() - started,
    };
  }

  /** Frees the optimizer's state; the model stays. */
  dispose(): void {
    this.optimizer.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Mean cross-entropy over the first `batches` batches of a dataset. */
export async function validationLoss(model: DecoderModel, dataset: TokenDataset, batches: number): Promise<number> {
  let total = 0;
  for (let i = 0; i < batches; i++) {
    await breathe();
    const loss = tidy(() => languageModelLoss(model, dataset.batch(i)));
    total += await loss.item();
    loss.dispose();
  }
  return total / batches;
}
