import { crc32 } from "node:zlib";
import { AdamW, tensor, tidy, type Parameter, type Tensor } from "@frugal/tensor-core";
import type { StagedModel } from "@frugal/language-model";
import { StateTransferError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import { wholeModelName } from "../job/parameter-name.ts";
import type { StageFactory, StageParts } from "../job/stage-factory.ts";
import type { ParameterState, StageState } from "./stage-state.ts";

/** A parameter of a stage, with its name in the whole model. */
export interface StageParameter {
  readonly name: string;
  readonly parameter: Parameter;
  /** The block whose mixer half it belongs to; undefined for everything that every pipeline has a gradient of. */
  readonly mixerBlock: number | undefined;
}

/** What a stage's replica is made of. */
export interface StageReplicaOptions {
  readonly stage: number;
  readonly parts: StageParts;
  readonly factory: StageFactory;
  readonly job: Pick<Job, "optimizer" | "seed">;
}

/** A stage as one worker holds it: weights and AdamW's moments. All replicas of a stage are equal, bit for bit, between steps. */
export class StageReplica {
  readonly stage: number;
  readonly model: StagedModel;
  /** In the order of gradients, states and hashes. */
  readonly parameters: readonly StageParameter[];
  readonly #optimizer: AdamW;
  /** The step to be taken next. */
  step: number = 0;

  /** With the weights that the job's seed gives. */
  constructor({ stage, parts, factory, job }: StageReplicaOptions) {
    this.stage = stage;
    this.model = factory.create(parts, job.seed);
    const mixers = new Map<Parameter, number>();
    for (let block = parts.blocks[0]; block < parts.blocks[1]; block++) {
      for (const parameter of this.model.block(block).mixerParameters()) mixers.set(parameter, block);
    }
    const seen = new Set<Parameter>();
    const parameters: StageParameter[] = [];
    for (const [path, parameter] of this.model.namedParameters()) {
      if (seen.has(parameter)) continue;
      seen.add(parameter);
      const name = wholeModelName(factory, path, parts);
      parameters.push({ name, parameter, mixerBlock: mixers.get(parameter) });
    }
    this.parameters = parameters;
    const { learningRate, betas, epsilon, weightDecay } = job.optimizer;
    const groups = parameters.map(({ parameter }) => ({
      parameters: [parameter], ...(parameter.rank < 2 && { settings: { weightDecay: 0 } }),
    }));
    this.#optimizer = new AdamW(groups, { learningRate, betas, epsilon, weightDecay });
  }

  /**
   * Takes a step. `gradients[i]` belongs to `parameters[i]`; undefined leaves that parameter and its moments as they are.
   * @param learningRateScale of the schedule
   */
  update(gradients: readonly (Tensor | undefined)[], learningRateScale: number): void {
    this.#optimizer.learningRateScale = learningRateScale;
    this.#optimizer.step(gradients);
    this.step++;
  }

  /** The step counts, whose gradient nobody could use. */
  skip(): void {
    this.step++;
  }

  /** A copy of everything. */
  async state(): Promise<StageState> {
    const { parameterSteps, tensors } = this.#optimizer.state();
    const parameters: ParameterState[] = [];
    for (const [index, { name, parameter }] of this.parameters.entries()) {
      const [weight, firstMoment, secondMoment] = await Promise.all(
        [parameter, tensors[`firstMoment.${index}`]!, tensors[`secondMoment.${index}`]!].map((values) => values.data("float32")),
      );
      parameters.push({
        name, shape: parameter.shape, steps: parameterSteps![index]!,
        weight: weight!, firstMoment: firstMoment!, secondMoment: secondMoment!,
      });
    }
    return { stage: this.stage, step: this.step, parameters };
  }

  /**
   * Becomes what a peer or a checkpoint holds. @throws StateTransferError when names or shapes are not this stage's; nothing is changed
   * then
   */
  load(state: Pick<StageState, "step" | "parameters">): void {
    const [given, own] = [state.parameters.length, this.parameters.length];
    if (given !== own) {
      throw new StateTransferError(`stage ${this.stage} has ${own} parameters, the state given ${given}`);
    }
    this.parameters.forEach(({ name, parameter }, i) => {
      const given = state.parameters[i]!;
      const isSame = given.name === name && given.shape.join() === parameter.shape.join()
        && [given.weight, given.firstMoment, given.secondMoment].every(({ length }) => length === parameter.size);
      if (!isSame) {
        const found = `${given.name} [${given.shape.join(", ")}] of ${given.weight.length} numbers`;
        throw new StateTransferError(`stage ${this.stage}: expected ${name} [${parameter.shape.join(", ")}], the state given has ${found}`);
      }
    });
    tidy(() => {
      const tensors: Record<string, Tensor> = {};
      this.parameters.forEach(({ parameter }, i) => {
        const { weight, firstMoment, secondMoment } = state.parameters[i]!;
        const options = { device: parameter.device };
        parameter.assign(tensor(weight, parameter.shape, options));
        tensors[`firstMoment.${i}`] = tensor(firstMoment, parameter.shape, options);
        tensors[`secondMoment.${i}`] = tensor(secondMoment, parameter.shape, options);
      });
      this.#optimizer.loadState({ step: state.step, parameterSteps: state.parameters.map(({ steps }) => steps), tensors });
    });
    this.step = state.step;
  }

  /** CRC-32 of the weights and of the moments, step counts included: 16 hexadecimal digits. */
  async hash(): Promise<string> {
    const { parameterSteps, tensors } = this.#optimizer.state();
    let weights = crc32(new Uint8Array(Int32Array.of(this.step, ...parameterSteps!).buffer));
    let moments = 0;
    for (const [index, { parameter }] of this.parameters.entries()) {
      weights = crc32(bytesOf(await parameter.data("float32")), weights);
      moments = crc32(bytesOf(await tensors[`firstMoment.${index}`]!.data("float32")), moments);
      moments = crc32(bytesOf(await tensors[`secondMoment.${index}`]!.data("float32")), moments);
    }
    return [weights, moments].map((part) => part.toString(16).padStart(8, "0")).join("");
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.model.dispose();
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
