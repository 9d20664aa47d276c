import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { record, recording } from "../autograd/tape.ts";
import { formatShape, sameShape, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, checkDevices, release } from "./dispatch.ts";
import { asContiguous, prepare } from "./materialize.ts";

/** Frees what was prepared from `given`, name by name. */
function releaseAll<Prepared extends Readonly<Record<string, Tensor | undefined>>>(
  prepared: Prepared,
  given: { readonly [Name in keyof Prepared]?: Tensor | undefined },
): void {
  for (const name of Object.keys(prepared)) release(prepared[name], given[name]);
}

function expectShape(operation: string, name: string, input: Tensor | undefined, shape: Shape): void {
  if (input !== undefined && !sameShape(input.shape, shape)) {
    throw new ShapeError(`${operation}: ${name} has shape ${formatShape(input.shape)}, expected ${formatShape(shape)}`);
  }
}

/** Drops absent tensors and says where the others went, so that a backward function finds them again. */
function pack<Name extends string>(
  tensors: Readonly<Record<Name, Tensor | undefined>>,
): { list: Tensor[]; unpack(saved: readonly Tensor[]): Record<Name, Tensor | undefined> } {
  const names = (Object.keys(tensors) as Name[]).filter((name) => tensors[name] !== undefined);
  return {
    list: names.map((name) => tensors[name]!),
    unpack: (saved) => Object.fromEntries(names.map((name, i) => [name, saved[i]])) as Record<Name, Tensor | undefined>,
  };
}

/** Options of `causalConv1d`. */
export interface CausalConvolutionOptions<Device extends DeviceName = DeviceName> {
  /** [channels]. */
  readonly bias?: Tensor<Device> | undefined;
  /** The width - 1 inputs before the sequence, [batch, width - 1, channels]; absent = zeros. */
  readonly initialState?: Tensor<Device> | undefined;
  /** Apply SiLU to the result. Default false. */
  readonly silu?: boolean;
}

/**
 * Depthwise causal convolution along the sequence: input [batch, sequence, channels], weight [channels, width]; output[t] sees inputs t -
 * width + 1 … t.
 * @throws ShapeError
 */
export function causalConv1d<Device extends DeviceName>(
  input: Tensor<Device>,
  weight: Tensor,
  { bias, initialState, silu = false }: CausalConvolutionOptions = {},
): Tensor<Device> {
  if (input.rank !== 3 || weight.rank !== 2 || weight.shape[0] !== input.shape[2] || weight.shape[1] === 0) {
    throw new ShapeError(
      `causalConv1d: expected input [batch, sequence, channels] and weight [channels, width], got ${formatShape(input.shape)} and ${formatShape(weight.shape)}`,
    );
  }
  const [batch, sequence, channels] = input.shape as readonly [number, number, number];
  const width = weight.shape[1]!;
  expectShape("causalConv1d", "bias", bias, [channels]);
  expectShape("causalConv1d", "initialState", initialState, [batch, width - 1, channels]);
  checkDevices("causalConv1d", input, weight, bias, initialState);
  const tensors = {
    input: prepare(input),
    weight: prepare(weight),
    bias: bias && prepare(bias),
    initialState: initialState && prepare(initialState),
  };
  const dimensions = { batch, sequence, channels, width, silu };
  const output = allocateLike(tensors.input);
  const { kernels } = input.storage.backend;
  kernels.causalConv1d({ ...tensors, ...dimensions, output });
  if (recording.tape !== undefined) {
    const { list, unpack } = pack(tensors);
    record(
      "causalConv1d",
      [tensors.input, tensors.weight, tensors.bias, tensors.initialState],
      output,
      list,
      ([gradient], saved, needs) => {
        const kept = unpack(saved);
        const inputGradient = allocateLike(kept.input!);
        const weightGradient = allocateLike(kept.weight!);
        const biasGradient = needs(2) ? allocateLike(kept.bias!) : undefined;
        const initialStateGradient = needs(3) ? allocateLike(kept.initialState!) : undefined;
        kernels.causalConv1dGradient({
          ...dimensions,
          gradient: asContiguous(gradient!),
          input: kept.input!,
          weight: kept.weight!,
          bias: kept.bias,
          initialState: kept.initialState,
          inputGradient,
          weightGradient,
          biasGradient,
          initialStateGradient,
        });
        return [inputGradient, weightGradient, biasGradient, initialStateGradient];
      },
    );
  }
  releaseAll(tensors, { input, weight, bias, initialState });
  return output;
}

/** Inputs of `selectiveScan`, with the names of the Mamba paper in brackets. */
export interface SelectiveScanInputs<Device extends DeviceName = DeviceName> {
  /** [x] [batch, sequence, channels]. */
  readonly input: Tensor<Device>;
  /** [Δ] [batch, sequence, channels], before softplus if `deltaSoftplus`. */
  readonly delta: Tensor;
  /** [A] [channels, stateSize]; negative for a stable scan. */
  readonly stateMatrix: Tensor;
  /** [B] [batch, sequence, stateSize]. */
  readonly inputMatrix: Tensor;
  /** [C] [batch, sequence, stateSize]. */
  readonly outputMatrix: Tensor;
  /** [D] [channels]. */
  readonly skip?: Tensor | undefined;
  /** [batch, channels, stateSize]; absent = zeros. */
  readonly initialState?: Tensor | undefined;
  /** Δ = softplus(delta). Default false. */
  readonly deltaSoftplus?: boolean;
}

/** Result of `selectiveScan`. */
export interface SelectiveScanResult<Device extends DeviceName> {
  /** [batch, sequence, channels]. */
  readonly output: Tensor<Device>;
  /** [batch, channels, stateSize], the next call's `initialState`. */
  readonly finalState: Tensor<Device>;
}

/**
 * Mamba-1 selective scan (Gu & Dao 2023, Algorithm 2): h[t] = exp(Δ[t] A) h[t-1] + Δ[t] B[t] x[t], y[t] = C[t]·h[t] + D x[t].
 * The backward pass recomputes the states.
 * @throws ShapeError
 */
export function selectiveScan<Device extends DeviceName>(inputs: SelectiveScanInputs<Device>): SelectiveScanResult<Device> {
  const { input, stateMatrix, deltaSoftplus = false } = inputs;
  if (input.rank !== 3 || stateMatrix.rank !== 2 || stateMatrix.shape[0] !== input.shape[2]) {
    throw new ShapeError(
      `selectiveScan: expected input [batch, sequence, channels] and stateMatrix [channels, stateSize], got ${formatShape(input.shape)} and ${formatShape(stateMatrix.shape)}`,
    );
  }
  const [batch, sequence, channels] = input.shape as readonly [number, number, number];
  const stateSize = stateMatrix.shape[1]!;
  expectShape("selectiveScan", "delta", inputs.delta, input.shape);
  expectShape("selectiveScan", "inputMatrix", inputs.inputMatrix, [batch, sequence, stateSize]);
  expectShape("selectiveScan", "outputMatrix", inputs.outputMatrix, [batch, sequence, stateSize]);
  expectShape("selectiveScan", "skip", inputs.skip, [channels]);
  expectShape("selectiveScan", "initialState", inputs.initialState, [batch, channels, stateSize]);
  checkDevices(
    "selectiveScan",
    input,
    inputs.delta,
    stateMatrix,
    inputs.inputMatrix,
    inputs.outputMatrix,
    inputs.skip,
    inputs.initialState,
  );
  const { skip, initialState } = inputs;
  const tensors = {
    input: prepare(input),
    delta: prepare(inputs.delta),
    stateMatrix: prepare(stateMatrix),
    inputMatrix: prepare(inputs.inputMatrix),
    outputMatrix: prepare(inputs.outputMatrix),
    skip: skip && prepare(skip),
    initialState: initialState && prepare(initialState),
  };
  const dimensions = { batch, sequence, channels, stateSize, deltaSoftplus };
  const output = allocateLike(tensors.input);
  const finalState = allocateLike(tensors.input, [batch, channels, stateSize]);
  const { kernels } = input.storage.backend;
  kernels.selectiveScan({ ...tensors, ...dimensions, output, finalState });
  if (recording.tape !== undefined) {
    const { list, unpack } = pack(tensors);
    const sources = [
      tensors.input,
      tensors.delta,
      tensors.stateMatrix,
      tensors.inputMatrix,
      tensors.outputMatrix,
      tensors.skip,
      tensors.initialState,
    ];
    record("selectiveScan", sources, [output, finalState], list, ([gradient, finalStateGradient], saved, needs) => {
      const kept = unpack(saved);
      const zeroOutput = (): Tensor => {
        const zero = allocateLike(kept.input!);
        kernels.fill({ output: zero, value: 0 });
        return zero;
      };
      const results = {
        inputGradient: allocateLike(kept.input!),
        deltaGradient: allocateLike(kept.delta!),
        stateMatrixGradient: allocateLike(kept.stateMatrix!),
        inputMatrixGradient: allocateLike(kept.inputMatrix!),
        outputMatrixGradient: allocateLike(kept.outputMatrix!),
        skipGradient: needs(5) ? allocateLike(kept.skip!) : undefined,
        initialStateGradient: needs(6) ? allocateLike(kept.initialState!) : undefined,
      };
      kernels.selectiveScanGradient({
        ...dimensions,
        ...results,
        gradient: gradient ? asContiguous(gradient) : zeroOutput(),
        finalStateGradient: finalStateGradient && asContiguous(finalStateGradient),
        input: kept.input!,
        delta: kept.delta!,
        stateMatrix: kept.stateMatrix!,
        inputMatrix: kept.inputMatrix!,
        outputMatrix: kept.outputMatrix!,
        skip: kept.skip,
        initialState: kept.initialState,
      });
      return [
        results.inputGradient,
        results.deltaGradient,
        results.stateMatrixGradient,
        results.inputMatrixGradient,
        results.outputMatrixGradient,
        results.skipGradient,
        results.initialStateGradient,
      ];
    });
  }
  releaseAll(tensors, inputs);
  return { output, finalState };
}
