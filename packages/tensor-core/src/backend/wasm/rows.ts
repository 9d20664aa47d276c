import type { Kernels, TensorView } from "../backend.ts";
import type { WasmRuntime } from "./runtime.ts";

/**
 * Rows whose shares of a weight's gradient are summed together: part of the order of summation, so independent of the number of threads.
 */
const rowsPerBlock = 32;

/** What an element costs next to a multiply-add of the matrix product, measured; it only decides whether to use threads. */
const exponentialWork = 32;
const normWork = 8;
/** Under this much work no thread would help: the kernel is called at once, which saves a token's many small calls about 100 ns each. */
const smallWork = 65_536;

interface Dimension {
  readonly size: number;
  readonly stride: number;
}

/** The leading axes of a mask, as few as describe where the mask of each row of [...shape] lies. */
function leadingDimensions(mask: TensorView, shape: readonly number[]): { leading: Dimension[]; columnStride: number } {
  const missing = shape.length - mask.shape.length;
  const leading: Dimension[] = [];
  let columnStride = 0;
  for (let axis = 0; axis < shape.length; axis++) {
    const size = shape[axis]!;
    const stride = axis < missing || mask.shape[axis - missing] === 1 ? 0 : mask.strides[axis - missing]!;
    if (axis === shape.length - 1) {
      columnStride = stride;
      break;
    }
    if (size === 1) continue;
    const before = leading.at(-1);
    if (before && before.stride === stride * size) leading[leading.length - 1] = { size: before.size * size, stride };
    else leading.push({ size, stride });
  }
  return { leading, columnStride };
}

/** Softmax, norms, losses, gates and rotary embeddings on the WebAssembly kernels of `assembly/rows.ts`. */
export function createRows(runtime: WasmRuntime): Pick<
  Kernels,
  | "softmax" | "softmaxGradient" | "layerNorm" | "layerNormGradient" | "rmsNorm" | "rmsNormGradient"
  | "crossEntropy" | "crossEntropyGradient" | "swiglu" | "swigluGradient" | "rotaryEmbedding"
> {
  const pointerOrNull = (view: TensorView | undefined): number => (view ? runtime.pointer(view) : 0);

  /**
   * Runs `compute` with a place for each block's share of every gradient that is wanted, then sums the shares. One block writes the
   * gradient itself.
   */
  function withPartials(
    gradients: readonly (TensorView | undefined)[], blocks: number, columns: number, compute: (partials: readonly number[]) => void,
  ): void {
    if (blocks === 1) return compute(gradients.map(pointerOrNull));
    const wanted = gradients.filter((gradient) => gradient !== undefined).length;
    if (wanted === 0) return compute(gradients.map(() => 0));
    const byteLength = blocks * columns * 4;
    runtime.withScratch(wanted * byteLength, (scratch) => {
      let next = scratch;
      const partials = gradients.map((gradient) => {
        if (!gradient) return 0;
        next += byteLength;
        return next - byteLength;
      });
      compute(partials);
      gradients.forEach((gradient, index) => {
        if (!gradient) return;
        const parameters = [partials[index]!, blocks, columns, runtime.pointer(gradient)];
        runtime.parallel("sumPartials", parameters, columns, { granularity: 64, work: blocks * columns });
      });
    });
  }

  return {
    softmax({ input, output, rows, columns, scale, mask, logarithm }) {
      const x = runtime.pointer(input);
      const y = runtime.pointer(output);
      const options = { work: rows * columns * exponentialWork };
      if (!mask && options.work < smallWork) {
        runtime.exports.softmax(x, y, columns, scale, logarithm ? 1 : 0, 0, 1, 1, 0, 0, 0, 0, 0, rows);
        return;
      }
      if (!mask) {
        runtime.parallel("softmax", [x, y, columns, scale, logarithm ? 1 : 0, 0, 1, 1, 0, 0, 0, 0], rows, options);
        return;
      }
      const { leading, columnStride } = leadingDimensions(mask, input.shape);
      const none: Dimension = { size: 1, stride: 0 };
      const padding = Array<Dimension>(Math.max(0, 3 - leading.length)).fill(none);
      const [first = none, second = none, third = none] = [...padding, ...leading.slice(-3)];
      const inner = first.size * second.size * third.size;
      // The kernel walks three axes; a mask that needs more is taken slice by slice.
      const outer = leading.slice(0, -3);
      const slices = outer.reduce((product, { size }) => product * size, 1);
      for (let slice = 0; slice < slices; slice++) {
        let rest = slice;
        let maskOffset = 0;
        for (const { size, stride } of outer.toReversed()) {
          maskOffset += (rest % size) * stride;
          rest = Math.floor(rest / size);
        }
        const byteOffset = slice * inner * columns * 4;
        runtime.parallel("softmax", [
          x + byteOffset, y + byteOffset, columns, scale, logarithm ? 1 : 0, runtime.pointer(mask) + maskOffset * 4,
          second.size, third.size, first.stride, second.stride, third.stride, columnStride,
        ], inner, options);
      }
    },

    softmaxGradient({ gradient, output, result, rows, columns, scale, logarithm }) {
      runtime.parallel(
        "softmaxGradient",
        [runtime.pointer(gradient), runtime.pointer(output), runtime.pointer(result), columns, scale, logarithm ? 1 : 0],
        rows, { work: rows * columns * (logarithm ? exponentialWork : normWork) },
      );
    },

    layerNorm({ input, weight, bias, epsilon, output, mean, rstd, rows, columns }) {
      runtime.parallel(
        "layerNorm",
        [
          runtime.pointer(input), pointerOrNull(weight), pointerOrNull(bias), epsilon,
          runtime.pointer(output), runtime.pointer(mean), runtime.pointer(rstd), columns,
        ],
        rows, { work: rows * columns * normWork },
      );
    },

    layerNormGradient({ gradient, input, weight, mean, rstd, rows, columns, inputGradient, weightGradient, biasGradient }) {
      const blocks = Math.max(1, Math.ceil(rows / rowsPerBlock));
      withPartials([weightGradient, biasGradient], blocks, columns, ([weightPartials, biasPartials]) => {
        runtime.parallel(
          "layerNormGradient",
          [
            runtime.pointer(gradient), runtime.pointer(input), pointerOrNull(weight), runtime.pointer(mean), runtime.pointer(rstd),
            runtime.pointer(inputGradient), weightPartials!, biasPartials!, rows, columns, rowsPerBlock,
          ],
          blocks, { work: rows * columns * 2 * normWork },
        );
      });
    },

    rmsNorm({ input, weight, epsilon, output, rstd, rows, columns }) {
      if (rows * columns * normWork < smallWork) {
        runtime.exports.rmsNorm(
          runtime.pointer(input), pointerOrNull(weight), epsilon, runtime.pointer(output), runtime.pointer(rstd), columns, 0, rows,
        );
        return;
      }
      runtime.parallel(
        "rmsNorm",
        [runtime.pointer(input), pointerOrNull(weight), epsilon, runtime.pointer(output), runtime.pointer(rstd), columns],
        rows, { work: rows * columns * normWork },
      );
    },

    rmsNormGradient({ gradient, input, weight, rstd, rows, columns, inputGradient, weightGradient }) {
      const blocks = Math.max(1, Math.ceil(rows / rowsPerBlock));
      withPartials([weightGradient], blocks, columns, ([weightPartials]) => {
        runtime.parallel(
          "rmsNormGradient",
          [
            runtime.pointer(gradient), runtime.pointer(input), pointerOrNull(weight), runtime.pointer(rstd),
            runtime.pointer(inputGradient), weightPartials!, rows, columns, rowsPerBlock,
          ],
          blocks, { work: rows * columns * 2 * normWork },
        );
      });
    },

    crossEntropy({ logits, targets, losses, logSumExp, rows, columns, ignoreIndex, labelSmoothing }) {
      runtime.parallel(
        "crossEntropy",
        [
          runtime.pointer(logits), runtime.pointer(targets), runtime.pointer(losses), runtime.pointer(logSumExp),
          columns, ignoreIndex, labelSmoothing,
        ],
        rows, { work: rows * columns * exponentialWork },
      );
    },

    crossEntropyGradient({ gradient, logits, targets, logSumExp, result, rows, columns, ignoreIndex, labelSmoothing }) {
      runtime.parallel(
        "crossEntropyGradient",
        [
          runtime.pointer(gradient), runtime.pointer(logits), runtime.pointer(targets), runtime.pointer(logSumExp), runtime.pointer(result),
          columns, ignoreIndex, labelSmoothing,
        ],
        rows, { work: rows * columns * exponentialWork },
      );
    },

    swiglu({ gate, up, output }) {
      const count = output.shape.reduce((product, size) => product * size, 1);
      if (count * exponentialWork < smallWork) {
        runtime.exports.swiglu(runtime.pointer(gate), runtime.pointer(up), runtime.pointer(output), 0, count);
        return;
      }
      runtime.parallel(
        "swiglu", [runtime.pointer(gate), runtime.pointer(up), runtime.pointer(output)],
        count, { granularity: 1024, work: count * exponentialWork },
      );
    },

    swigluGradient({ gradient, gate, up, gateGradient, upGradient }) {
      const count = gradient.shape.reduce((product, size) => product * size, 1);
      runtime.parallel(
        "swigluGradient",
        [runtime.pointer(gradient), runtime.pointer(gate), runtime.pointer(up), runtime.pointer(gateGradient), runtime.pointer(upGradient)],
        count, { granularity: 1024, work: count * exponentialWork },
      );
    },

    rotaryEmbedding({ input, output, cosine, sine, positions, positionOffset, layout, inverse }) {
      const [batch, sequence, heads, headDim] = input.shape as [number, number, number, number];
      const [tableRows, half] = cosine.shape as [number, number];
      if (batch * sequence * heads * headDim * 4 < smallWork) {
        runtime.exports.rotaryEmbedding(
          runtime.pointer(input), runtime.pointer(output), runtime.pointer(cosine), runtime.pointer(sine), pointerOrNull(positions),
          positionOffset, tableRows, sequence, heads, headDim, half * 2, layout === "interleaved" ? 1 : 0, inverse ? -1 : 1,
          0, batch * sequence,
        );
        return;
      }
      runtime.parallel(
        "rotaryEmbedding",
        [
          runtime.pointer(input), runtime.pointer(output), runtime.pointer(cosine), runtime.pointer(sine), pointerOrNull(positions),
          positionOffset, tableRows, sequence, heads, headDim, half * 2, layout === "interleaved" ? 1 : 0, inverse ? -1 : 1,
        ],
        batch * sequence, { work: batch * sequence * heads * headDim * 4 },
      );
    },
  };
}
