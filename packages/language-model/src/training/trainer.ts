import {
  AdamW, clipByGlobalNorm, cosineSchedule, crossEntropy, dispose, keep, tensor, tidy, valueAndGrad,
  type Parameter, type Schedule, type Tensor,
} from "@frugal/tensor-core";
import { LanguageModelError, SettingsError } from "../errors.ts";
import type { TokenBatch, TokenDataset } from "../datasets/token-dataset.ts";
import { checkIds } from "../model/check-ids.ts";
import type { StagedModel } from "../model/staged-model.ts";
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
export function languageModelLoss(model: StagedModel, batch: TokenBatch): Tensor {
  const shape = [batch.batchSize, batch.sequenceLength];
  return tidy(() => {
    const inputs = tensor(batch.inputs, shape, { device: model.device });
    const targets = tensor(batch.targets, shape, { device: model.device });
    return crossEntropy(model.forward(inputs), targets);
  });
}

/**
 * Trains any whole decoder with AdamW, warm-up and cosine decay, one `step()` at a time. Batches are a function of the step, so a trainer
 * whose model, optimizer state and `optimizer.stepCount` are restored goes on exactly where it was.
 */
export class Trainer<Model extends StagedModel = StagedModel> {
  readonly model: Model;
  readonly optimizer: AdamW;
  readonly settings: Required<TrainingSettings>;
  readonly dataset: TokenDataset;
  readonly #schedule: Schedule;
  readonly #parameters: readonly Parameter[];

  constructor(model: Model, dataset: TokenDataset, settings: TrainingSettings) {
    const { totalSteps, learningRate = 1e-3, weightDecay = 0.1, maximumGradientNorm = 1 } = settings;
    const { warmupSteps = Math.ceil(totalSteps / 20) } = settings;
    this.settings = { totalSteps, learningRate, warmupSteps, weightDecay, maximumGradientNorm };
    this.model = model;
    this.dataset = dataset;
    const parameters = model.parameters();
    const groups = [
      { parameters: parameters.filter((parameter) => parameter.rank >= 2) },
      { parameters: parameters.filter((parameter) => parameter.rank < 2), settings: { weightDecay: 0 } },
    ];
    this.optimizer = new AdamW(groups, { learningRate, betas: [0.9, 0.95], weightDecay });
    this.#parameters = this.optimizer.parameters;
    this.#schedule = cosineSchedule({ totalSteps, warmupSteps, finalScale: 0.1 });
  }

  /**
   * One update on the batch of the current step.
   * @throws LanguageModelError for ids outside the vocabulary, and when loss or gradients are no longer finite: nothing is changed then
   */
  async step(): Promise<TrainingStep> {
    await breathe();
    const started = performance.now();
    const index = this.optimizer.stepCount;
    const batch = this.dataset.batch(index);
    checkIds(this.model, batch.inputs);
    checkIds(this.model, batch.targets);
    const pass = keep(
      tidy(() => {
        const [loss, gradients] = valueAndGrad(() => languageModelLoss(this.model, batch))(this.#parameters);
        return { loss, ...clipByGlobalNorm(gradients, this.settings.maximumGradientNorm) };
      }),
    );
    let loss: number;
    let gradientNorm: number;
    try {
      [loss, gradientNorm] = [await pass.loss.item(), await pass.norm.item()];
      if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
        const found = Number.isFinite(loss) ? `gradients have the norm ${gradientNorm}` : `loss is ${loss}`;
        throw new LanguageModelError(
          `step ${index + 1}: the ${found}; go back to a checkpoint and lower the learning rate (${this.settings.learningRate})`,
        );
      }
      this.optimizer.learningRateScale = this.#schedule(index);
      tidy(() => this.optimizer.step(pass.gradients));
    } finally {
      dispose(pass);
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

/**
 * Mean cross-entropy over the first `batches` batches of a dataset.
 * @throws SettingsError unless there is at least one batch, LanguageModelError when a loss is not finite
 */
export async function validationLoss(model: StagedModel, dataset: TokenDataset, batches: number): Promise<number> {
  if (!Number.isInteger(batches) || batches < 1) throw new SettingsError(`validationLoss: ${batches} batches; use an integer >= 1`);
  let total = 0;
  for (let i = 0; i < batches; i++) {
    await breathe();
    const batch = dataset.batch(i);
    checkIds(model, batch.inputs);
    checkIds(model, batch.targets);
    const loss = tidy(() => languageModelLoss(model, batch));
    try {
      total += await loss.item();
    } finally {
      loss.dispose();
    }
    if (!Number.isFinite(total)) throw new LanguageModelError(`the loss of batch ${i} is not finite; are the model's weights damaged?`);
  }
  return total / batches;
}
