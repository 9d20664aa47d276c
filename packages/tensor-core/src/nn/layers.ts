import type { Activation, DeviceName } from "../backend/backend.ts";
import { full } from "../ops/creation.ts";
import { multiply } from "../ops/binary.ts";
import { less } from "../ops/compare.ts";
import { embedding } from "../ops/indexing.ts";
import { asDtype } from "../ops/materialize.ts";
import { linear } from "../ops/matmul.ts";
import { layerNorm, rmsNorm } from "../ops/normalization.ts";
import type { Generator } from "../random/random.ts";
import type { QuantizedTensor } from "../tensor/quantized.ts";
import { tidy } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { kaimingUniform } from "./initialization.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";

/** What all layers take. */
export interface LayerOptions {
  /** Where the parameters live. Default "cpu". */
  readonly device?: DeviceName;
}

/** y = activation(x Wᵀ + b). */
export class Linear extends Module {
  /** [outputs, inputs]; a `QuantizedTensor` for inference. */
  weight: Parameter | QuantizedTensor;
  /** [outputs]. */
  bias: Parameter | undefined;
  readonly activation: Activation | undefined;

  /** From existing parameters. */
  constructor(parameters: {
    readonly weight: Parameter | QuantizedTensor;
    readonly bias?: Parameter | undefined;
    readonly activation?: Activation | undefined;
  }) {
    super();
    this.weight = parameters.weight;
    this.bias = parameters.bias;
    this.activation = parameters.activation;
  }

  /** Random, uniform in ±1/√inputs as PyTorch. */
  static create(
    inputs: number,
    outputs: number,
    {
      generator,
      bias = true,
      activation,
      device = "cpu",
    }: LayerOptions & { readonly generator: Generator; readonly bias?: boolean; readonly activation?: Activation },
  ): Linear {
    const bound = 1 / Math.sqrt(inputs);
    const weight = new Parameter(kaimingUniform(generator, [outputs, inputs], { device }));
    return new Linear({
      weight,
      bias: bias ? new Parameter(generator.uniform([outputs], -bound, bound, { device })) : undefined,
      activation,
    });
  }

  /** [..., inputs] → [..., outputs]. */
  forward<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
    return linear(input, this.weight, { bias: this.bias, activation: this.activation });
  }
}

/** A table of learnt rows. */
export class Embedding extends Module {
  /** [count, features]. */
  weight: Parameter;

  /** From an existing table. */
  constructor(parameters: { readonly weight: Parameter }) {
    super();
    this.weight = parameters.weight;
  }

  /** Random, normal with the given standard deviation (default 1, as PyTorch). */
  static create(
    count: number,
    features: number,
    {
      generator,
      standardDeviation = 1,
      device = "cpu",
    }: LayerOptions & { readonly generator: Generator; readonly standardDeviation?: number },
  ): Embedding {
    return new Embedding({ weight: new Parameter(generator.normal([count, features], 0, standardDeviation, { device })) });
  }

  /** ids [...] → [..., features]. */
  forward<Device extends DeviceName>(ids: Tensor<Device>): Tensor<Device> {
    return embedding(this.weight, ids);
  }
}

/** Root-mean-square normalisation over the last axis. */
export class RmsNorm extends Module {
  weight: Parameter;
  readonly epsilon: number;

  /** From an existing gain. */
  constructor(parameters: { readonly weight: Parameter; readonly epsilon?: number }) {
    super();
    this.weight = parameters.weight;
    this.epsilon = parameters.epsilon ?? 1e-5;
  }

  /** With gain 1. */
  static create(features: number, { epsilon = 1e-5, device = "cpu" }: LayerOptions & { readonly epsilon?: number } = {}): RmsNorm {
    return new RmsNorm({ weight: new Parameter(full([features], 1, { device })), epsilon });
  }

  forward<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
    return rmsNorm(input, { weight: this.weight, epsilon: this.epsilon });
  }
}

/** Layer normalisation over the last axis. */
export class LayerNorm extends Module {
  weight: Parameter;
  bias: Parameter;
  readonly epsilon: number;

  /** From existing parameters. */
  constructor(parameters: { readonly weight: Parameter; readonly bias: Parameter; readonly epsilon?: number }) {
    super();
    this.weight = parameters.weight;
    this.bias = parameters.bias;
    this.epsilon = parameters.epsilon ?? 1e-5;
  }

  /** With gain 1 and bias 0. */
  static create(features: number, { epsilon = 1e-5, device = "cpu" }: LayerOptions & { readonly epsilon?: number } = {}): LayerNorm {
    const weight = new Parameter(full([features], 1, { device }));
    return new LayerNorm({ weight, bias: new Parameter(full([features], 0, { device })), epsilon });
  }

  forward<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
    return layerNorm(input, { weight: this.weight, bias: this.bias, epsilon: this.epsilon });
  }
}

/**
 * While training, zeroes each element with probability `probability` and scales the rest by 1 / (1 - probability). Every call draws anew,
 * so it does not belong
 * inside `checkpoint`.
 */
export class Dropout extends Module {
  readonly probability: number;
  readonly #generator: Generator;

  constructor(probability: number, { generator }: { readonly generator: Generator }) {
    super();
    if (!(probability >= 0 && probability < 1)) throw new RangeError(`Dropout: probability ${probability}; use 0 <= probability < 1`);
    this.probability = probability;
    this.#generator = generator;
  }

  forward<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
    if (!this.training || this.probability === 0) return input;
    return tidy(() => {
      const kept = less(this.#generator.uniform(input.shape, 0, 1, { device: input.device }), 1 - this.probability);
      return multiply(input, multiply(asDtype(kept, input.dtype), 1 / (1 - this.probability)));
    });
  }
}

/** A module from one tensor to one tensor, on the same device. */
export interface Layer extends Module {
  forward(input: Tensor): Tensor;
}

/** Layers one after another. */
export class Sequential extends Module {
  readonly layers: readonly Layer[];

  constructor(...layers: readonly Layer[]) {
    super();
    this.layers = layers;
  }

  forward<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
    return this.layers.reduce<Tensor>((current, layer) => layer.forward(current), input) as Tensor<Device>;
  }
}
