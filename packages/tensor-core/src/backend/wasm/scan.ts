import type { Kernels, TensorView } from "../backend.ts";
import type { WasmRuntime } from "./runtime.ts";

/** Channels that the kernels take at a time: one cache line. */
const blockChannels = 16;
/**
 * Groups of channel blocks that a batch is cut into by the backward scan. Each group sums its share of ∂B and ∂C into a slice of its own;
 * the number depends on the shape alone, so that neither does the order of summation depend on threads.
 */
const maximumGroups = 8;

/** Scalar operations of one exponential and what goes with it. */
const exponentialWork = 24;

/** Causal convolution and selective scan on the CPU device. */
export function createScan(
  runtime: WasmRuntime,
): Pick<Kernels, "causalConv1d" | "causalConv1dGradient" | "selectiveScan" | "selectiveScanGradient"> {
  const optional = (view: TensorView | undefined): number => (view ? runtime.pointer(view) : 0);

  /** Adds `slices` arrays of `length` numbers that lie one after another. */
  function sumSlices(source: number, target: number, slices: number, length: number): void {
    if (slices === 0) {
      runtime.heap.float32.fill(0, target / 4, target / 4 + length);
      return;
    }
    runtime.parallel("sumSlices", [source, target, slices, length], length, { granularity: 64, work: slices * length });
  }

  return {
    causalConv1d({ input, weight, bias, initialState, silu, output, batch, sequence, channels, width }) {
      const parameters = [
        runtime.pointer(input), runtime.pointer(weight), optional(bias), optional(initialState), silu ? 1 : 0, runtime.pointer(output),
        sequence, channels, width,
      ];
      runtime.parallel("causalConv1d", parameters, batch * Math.ceil(channels / blockChannels), {
        work: batch * sequence * channels * (width + (silu ? exponentialWork : 2)), scratchBytes: 64 * (2 * width + 128),
      });
    },

    causalConv1dGradient({
      gradient, input, weight, bias, initialState, silu, batch, sequence, channels, width, inputGradient, weightGradient, biasGradient,
      initialStateGradient,
    }) {
      const parameters = [
        runtime.pointer(gradient), runtime.pointer(input), runtime.pointer(weight), optional(bias), optional(initialState), silu ? 1 : 0,
        batch, sequence, channels, width,
        runtime.pointer(inputGradient), runtime.pointer(weightGradient), optional(biasGradient), optional(initialStateGradient),
      ];
      runtime.parallel("causalConv1dGradient", parameters, Math.ceil(channels / blockChannels), {
        work: batch * sequence * channels * (3 * width + (silu ? exponentialWork : 2)), scratchBytes: 64 * (2 * sequence + 6 * width),
      });
    },

    selectiveScan({
      input, delta, stateMatrix, inputMatrix, outputMatrix, skip, initialState, deltaSoftplus, output, finalState, batch, sequence,
      channels, stateSize,
    }) {
      const parameters = [
        runtime.pointer(input), runtime.pointer(delta), runtime.pointer(stateMatrix), runtime.pointer(inputMatrix),
        runtime.pointer(outputMatrix),
        optional(skip), optional(initialState), deltaSoftplus ? 1 : 0, runtime.pointer(output), runtime.pointer(finalState), sequence,
        channels, stateSize,
      ];
      runtime.parallel("selectiveScan", parameters, batch * Math.ceil(channels / blockChannels), {
        work: batch * sequence * channels * stateSize * exponentialWork, scratchBytes: 64 * (2 * stateSize + 260),
      });
    },

    selectiveScanGradient({
      gradient, finalStateGradient, input, delta, stateMatrix, inputMatrix, outputMatrix, skip, initialState, deltaSoftplus, batch,
      sequence, channels,
      stateSize, inputGradient, deltaGradient, stateMatrixGradient, inputMatrixGradient, outputMatrixGradient, skipGradient,
      initialStateGradient,
    }) {
      const blocks = Math.ceil(channels / blockChannels);
      const groupBlocks = Math.max(1, Math.ceil(blocks / maximumGroups));
      const groups = Math.max(1, Math.ceil(blocks / groupBlocks));
      const stateMatrixLength = channels * stateSize;
      const matrixLength = batch * sequence * stateSize;
      runtime.withScratch(4 * (batch * stateMatrixLength + batch * channels + 2 * groups * matrixLength), (slices) => {
        const skipSlices = slices + 4 * batch * stateMatrixLength;
        const inputMatrixSlices = skipSlices + 4 * batch * channels;
        const outputMatrixSlices = inputMatrixSlices + 4 * groups * matrixLength;
        const parameters = [
          runtime.pointer(gradient), optional(finalStateGradient), runtime.pointer(input), runtime.pointer(delta),
          runtime.pointer(stateMatrix),
          runtime.pointer(inputMatrix), runtime.pointer(outputMatrix), optional(skip), optional(initialState), deltaSoftplus ? 1 : 0,
          batch, sequence, channels, stateSize, groups, groupBlocks,
          runtime.pointer(inputGradient), runtime.pointer(deltaGradient), slices, inputMatrixSlices, outputMatrixSlices, skipSlices,
          optional(initialStateGradient),
        ];
        runtime.parallel("selectiveScanGradient", parameters, batch * groups, {
          work: batch * sequence * channels * stateSize * 3 * exponentialWork,
          scratchBytes: 64 * (stateSize * (72 + Math.max(1, Math.ceil(sequence / 32))) + 200),
        });
        sumSlices(slices, runtime.pointer(stateMatrixGradient), batch, stateMatrixLength);
        if (skipGradient) sumSlices(skipSlices, runtime.pointer(skipGradient), batch, channels);
        sumSlices(inputMatrixSlices, runtime.pointer(inputMatrixGradient), groups, matrixLength);
        sumSlices(outputMatrixSlices, runtime.pointer(outputMatrixGradient), groups, matrixLength);
      });
    },
  };
}
