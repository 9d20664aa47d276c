import {
  add, keep, matmul, noGrad, Parameter, sum, swiglu, tidy, vjp, type Linear, type Tensor, type VectorJacobianProduct,
} from "@frugal/tensor-core";
import type { StagedBlock } from "@frugal/language-model";
import { exactWeightGradient } from "../approximation/low-rank-gradient.ts";
import type { FeedForwardMatrix, ProjectionStore } from "../approximation/projection-store.ts";
import { SettingsError } from "../errors.ts";
import { TensorHolder } from "./stage-executor-holder.ts";
import type { GradientSink, Segment } from "./stage-executor-segment.ts";

/** What the backward pass of a feed-forward half reads. */
interface InnerActivations {
  /** u = norm(h), with its pullback. */
  readonly norm: VectorJacobianProduct<Tensor>;
  /** z = silu(gate u) · up u, with its pullback, which holds gate u and up u. */
  readonly gated: VectorJacobianProduct<Tensor>;
}

/** How a feed-forward half is differentiated by hand. */
export interface FeedForwardOptions {
  readonly index: number;
  readonly block: StagedBlock;
  /** Technique II: keep h alone and compute the rest again. */
  readonly recompute: boolean;
  /** Technique III, through these projections; undefined: exact weight gradients. */
  readonly projections: ProjectionStore | undefined;
}

/**
 * y = h + down(silu(gate(u)) · up(u)), u = norm(h), with the backward pass of the paper's §3.2 and §3.3: exact gradients of activations,
 * norm and biases; gradients of the three matrices exact or of low rank. The same operations in the same order as reverse-mode
 * differentiation does them, so that all that is exact has the same bits.
 */
export class FeedForwardSegment implements Segment {
  readonly output: Tensor;
  readonly #options: FeedForwardOptions;
  readonly #hidden: Tensor;
  #inner: InnerActivations | undefined;

  /** Takes over `hidden`, the input of the half. */
  constructor(hidden: Tensor, options: FeedForwardOptions) {
    this.#options = options;
    this.#hidden = keep(hidden);
    const { block, recompute } = options;
    if (recompute) {
      this.output = keep(noGrad(() => tidy(() => block.feedForwardHalf(hidden))));
      return;
    }
    this.#inner = innerActivations(block, hidden);
    this.output = keep(noGrad(() => tidy(() => add(hidden, block.feedForward.down.forward(this.#inner!.gated.value)))));
  }

  async backward(outputGradient: Tensor, sink: GradientSink): Promise<Tensor> {
    this.freeOutput();
    using holder = new TensorHolder();
    const hidden = holder.hold(this.#hidden);
    const { block, index, projections } = this.#options;
    const { feedForward, feedForwardNorm } = block;
    const { norm, gated } = this.#inner ??= innerActivations(block, hidden);
    holder.hold([norm.value, gated.value]);
    try {
      const { shape } = hidden;
      const [hiddenSize, innerSize] = [shape.at(-1)!, gated.value.shape.at(-1)!];
      const rows = (tensor: Tensor, columns: number): Tensor => holder.make(() => tensor.reshape([-1, columns]));
      const weights = async (matrix: FeedForwardMatrix, layer: Linear, gradient: Tensor, inputs: Tensor): Promise<void> => {
        if (layer.bias !== undefined) sink.add(layer.bias, keep(sum(gradient, 0)));
        const weight = plainWeight(matrix, layer);
        if (projections === undefined) sink.add(weight, keep(exactWeightGradient(gradient, inputs)));
        else {
          const { coordinates, basis } = await projections.factors({ block: index, matrix, weight, inputs, outputGradient: gradient });
          sink.addProduct(weight, coordinates, basis);
        }
      };

      const outer = rows(outputGradient, hiddenSize);
      const inner = rows(gated.value, innerSize);
      const innerGradient = holder.make(() => matmul(outer, plainWeight("down", feedForward.down)));
      await weights("down", feedForward.down, outer, inner);
      holder.free(inner);
      gated.value.dispose();

      const halves = holder.hold(gated.backward([holder.make(() => innerGradient.reshape(gated.value.shape))]));
      holder.free(innerGradient);
      const [gateGradient, upGradient] = halves.map((half) => rows(half, innerSize)) as [Tensor, Tensor];
      const normalized = rows(norm.value, hiddenSize);
      await weights("up", feedForward.up, upGradient, normalized);
      await weights("gate", feedForward.gate, gateGradient, normalized);

      const normalizedGradient = holder.make(() => add(
        matmul(upGradient, plainWeight("up", feedForward.up)), matmul(gateGradient, plainWeight("gate", feedForward.gate)),
      ).reshape(shape));
      const [throughNorm, ...normGradients] = keep(norm.backward([normalizedGradient]));
      holder.hold(throughNorm);
      feedForwardNorm.parameters().forEach((parameter, i) => sink.add(parameter, normGradients[i]!));
      return keep(add(outputGradient, throughNorm!));
    } finally {
      norm.free();
      gated.free();
      this.#inner = undefined;
    }
  }

  freeOutput(): void {
    this.output.dispose();
  }

  dispose(): void {
    this.freeOutput();
    this.#hidden.dispose();
    for (const part of [this.#inner?.norm, this.#inner?.gated]) {
      part?.value.dispose();
      part?.free();
    }
    this.#inner = undefined;
  }
}

/** u, gate u, up u and z of a feed-forward half. */
function innerActivations({ feedForward, feedForwardNorm }: StagedBlock, hidden: Tensor): InnerActivations {
  const norm = vjp(() => feedForwardNorm.forward(hidden), [hidden, ...feedForwardNorm.parameters()]);
  keep(norm.value);
  const branches = keep(noGrad(() => tidy(() => [feedForward.gate.forward(norm.value), feedForward.up.forward(norm.value)] as const)));
  const gated = vjp(() => swiglu(...branches), branches);
  keep(gated.value);
  // The pullback has handles of its own.
  for (const branch of branches) branch.dispose();
  return { norm, gated };
}

/** @throws SettingsError for a quantised weight, or an activation inside the layer, whose gradient the formulas do not have */
function plainWeight(matrix: FeedForwardMatrix, { weight, activation }: Linear): Parameter {
  if (!(weight instanceof Parameter) || activation !== undefined) {
    const fix = "train a model with float weights and no fused activation";
    throw new SettingsError(`the feed-forward's ${matrix} is not a plain linear layer; ${fix}`);
  }
  return weight;
}
