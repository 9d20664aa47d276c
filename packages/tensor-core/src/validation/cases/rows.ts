import * as draw from "../arbitrary.ts";
import { denseLayouts, layouts, seeds, shapes, sizes, small } from "../arbitraries.ts";
import { within, type KernelTests } from "../kernel-test.ts";
import { referenceResults } from "../run-kernel.ts";
import { outputSpec, tensorSpec, type KernelSpec, type Layout, type TensorSpec } from "../tensor-spec.ts";
import { choices, integers, normals, sprinkled, uniforms } from "../values.ts";

const rowCounts = draw.oneof({ arbitrary: small(20), weight: 12 }, { arbitrary: draw.constant(0), weight: 1 });
const extents = draw.oneof(
  { arbitrary: draw.record({ rows: rowCounts, columns: sizes }), weight: 29 },
  { arbitrary: draw.constantFrom({ rows: 301, columns: 255 }, { rows: 7, columns: 10001 }), weight: 1 },
);
const matrices = draw
  .record({ extent: extents, layout: denseLayouts, seed: seeds })
  .map(({ extent: { rows, columns }, layout, seed }) => ({ rows, columns, layout, seed }));

function matrix(rows: number, columns: number, seed: number, layout: Layout, deviation = 1): TensorSpec {
  return tensorSpec("float32", [rows, columns], normals(seed, 0, deviation), layout);
}

function vector(length: number, seed: number, layout: Layout): TensorSpec {
  return tensorSpec("float32", [length], normals(seed), layout);
}

const layerNorms = draw
  .record({ matrix: matrices, weight: draw.boolean(), bias: draw.boolean(), mean: draw.constantFrom(0, 10) })
  .map(({ matrix: { rows, columns, layout, seed }, weight, bias, mean }): KernelSpec<"layerNorm"> => ({
    input: tensorSpec("float32", [rows, columns], normals(seed, mean, 1), layout),
    weight: weight ? vector(columns, seed + 1, layout) : undefined,
    bias: bias ? vector(columns, seed + 2, layout) : undefined,
    epsilon: 1e-3,
    output: outputSpec("float32", [rows, columns], layout),
    mean: outputSpec("float32", [rows], layout),
    rstd: outputSpec("float32", [rows], layout),
    rows,
    columns,
  }));

const rmsNorms = draw
  .record({ matrix: matrices, weight: draw.boolean() })
  .map(({ matrix: { rows, columns, layout, seed }, weight }): KernelSpec<"rmsNorm"> => ({
    input: matrix(rows, columns, seed, layout, seed % 2 ? 1 : 30),
    weight: weight ? vector(columns, seed + 1, layout) : undefined,
    epsilon: 1e-3,
    output: outputSpec("float32", [rows, columns], layout),
    rstd: outputSpec("float32", [rows], layout),
    rows,
    columns,
  }));

const crossEntropies = draw
  .record({ matrix: matrices, ignoreIndex: draw.constantFrom(-100, 0), labelSmoothing: draw.constantFrom(0, 0.1), large: draw.boolean() })
  .map(({ matrix: { rows, columns, layout, seed }, ignoreIndex, labelSmoothing, large }): KernelSpec<"crossEntropy"> => ({
    logits: matrix(rows, columns, seed, layout, large ? 30 : 2),
    targets: tensorSpec("int32", [rows], sprinkled(seed, integers(seed, 0, columns - 1), [ignoreIndex]), layout),
    losses: outputSpec("float32", [rows], layout),
    logSumExp: outputSpec("float32", [rows], layout),
    rows,
    columns,
    ignoreIndex,
    labelSmoothing,
  }));

/** Tests of row kernels. */
export const rowTests: KernelTests<
  | "softmax"
  | "softmaxGradient"
  | "layerNorm"
  | "layerNormGradient"
  | "rmsNorm"
  | "rmsNormGradient"
  | "crossEntropy"
  | "crossEntropyGradient"
  | "swiglu"
  | "swigluGradient"
  | "rotaryEmbedding"
> = {
  softmax: {
    outputs: ["output"],
    tolerance: ({ logarithm }) => (logarithm ? { absolute: 3e-5, relative: 3e-6 } : { absolute: 1e-6, relative: 3e-5 }),
    cases: draw
      .record({
        shape: shapes({ minRank: 1, maxRank: 3 }).filter((shape) => shape.at(-1)! > 0),
        mask: draw.option(layouts()),
        scale: draw.constantFrom(1, 0.125, -2),
        logarithm: draw.boolean(),
        large: draw.boolean(),
        layout: denseLayouts,
        seed: seeds,
      })
      .map(({ shape, mask, scale, logarithm, large, layout, seed }) => {
        const usual = normals(seed, 0, large ? 30 : 1);
        const scores = seed % 5 ? usual : sprinkled(seed, usual, [Infinity, -Infinity, NaN, 1e30]);
        return {
          input: tensorSpec("float32", shape, scores, layout),
          output: outputSpec("float32", shape, layout),
          rows: shape.slice(0, -1).reduce((product, size) => product * size, 1),
          columns: shape.at(-1)!,
          scale,
          mask: mask && tensorSpec("float32", shape, choices(seed + 3, [0, 0, 1.5, -Infinity]), mask),
          logarithm,
        };
      }),
  },

  softmaxGradient: {
    outputs: ["result"],
    tolerance: ({ columns }) => ({ absolute: 2e-7 * (30 + columns), relative: 3e-5 }),
    cases: draw
      .record({ matrix: matrices, scale: draw.constantFrom(1, 0.125, -2), logarithm: draw.boolean() })
      .map(({ matrix: { rows, columns, layout, seed }, scale, logarithm }) => {
        const input = matrix(rows, columns, seed, layout, 2);
        const forward = { input, output: outputSpec("float32", [rows, columns]), rows, columns, scale, mask: undefined, logarithm };
        return {
          gradient: matrix(rows, columns, seed + 1, layout),
          output: tensorSpec("float32", [rows, columns], referenceResults("softmax", forward)("output"), layout),
          result: outputSpec("float32", [rows, columns], layout),
          rows,
          columns,
          scale,
          logarithm,
        };
      }),
  },

  layerNorm: { outputs: ["output", "mean", "rstd"], tolerance: within(1e-4, 3e-5), cases: layerNorms },

  layerNormGradient: {
    outputs: ["inputGradient", "weightGradient", "biasGradient"],
    tolerance: within(6e-5, 6e-5),
    cases: draw
      .record({ forward: layerNorms, parameters: draw.boolean(), layout: denseLayouts, seed: seeds })
      .map(({ forward, parameters, layout, seed }) => {
        const { input, weight, rows, columns } = forward;
        const results = referenceResults("layerNorm", forward);
        return {
          gradient: matrix(rows, columns, seed, layout),
          input,
          weight,
          mean: tensorSpec("float32", [rows], results("mean"), layout),
          rstd: tensorSpec("float32", [rows], results("rstd"), layout),
          rows,
          columns,
          inputGradient: outputSpec("float32", [rows, columns], layout),
          weightGradient: parameters ? outputSpec("float32", [columns], layout) : undefined,
          biasGradient: parameters && seed % 3 ? outputSpec("float32", [columns], layout) : undefined,
        };
      }),
  },

  rmsNorm: { outputs: ["output", "rstd"], tolerance: within(1e-6, 1e-5), cases: rmsNorms },

  rmsNormGradient: {
    outputs: ["inputGradient", "weightGradient"],
    tolerance: within(2e-5, 1e-5),
    cases: draw
      .record({ forward: rmsNorms, parameters: draw.boolean(), layout: denseLayouts, seed: seeds })
      .map(({ forward, parameters, layout, seed }) => {
        const { input, weight, rows, columns } = forward;
        return {
          gradient: matrix(rows, columns, seed, layout),
          input,
          weight,
          rstd: tensorSpec("float32", [rows], referenceResults("rmsNorm", forward)("rstd"), layout),
          rows,
          columns,
          inputGradient: outputSpec("float32", [rows, columns], layout),
          weightGradient: parameters ? outputSpec("float32", [columns], layout) : undefined,
        };
      }),
  },

  crossEntropy: { outputs: ["losses", "logSumExp"], tolerance: within(3e-5, 3e-6), cases: crossEntropies },

  crossEntropyGradient: {
    outputs: ["result"],
    tolerance: within(3e-6, 1e-5),
    cases: draw.record({ forward: crossEntropies, layout: denseLayouts, seed: seeds }).map(({ forward, layout, seed }) => {
      const { logits, targets, rows, columns, ignoreIndex, labelSmoothing } = forward;
      return {
        gradient: vector(rows, seed, layout),
        logits,
        targets,
        logSumExp: tensorSpec("float32", [rows], referenceResults("crossEntropy", forward)("logSumExp"), layout),
        result: outputSpec("float32", [rows, columns], layout),
        rows,
        columns,
        ignoreIndex,
        labelSmoothing,
      };
    }),
  },

  swiglu: {
    outputs: ["output"],
    tolerance: within(1e-6, 3e-6),
    cases: draw.record({ shape: shapes({ maxElements: 20000 }), layout: denseLayouts, seed: seeds }).map(({ shape, layout, seed }) => ({
      gate: tensorSpec("float32", shape, sprinkled(seed, normals(seed, 0, 3), [0, 50, -50, -100, 100]), layout),
      up: tensorSpec("float32", shape, normals(seed + 1), layout),
      output: outputSpec("float32", shape, layout),
    })),
  },

  swigluGradient: {
    outputs: ["gateGradient", "upGradient"],
    tolerance: within(2e-6, 1e-5),
    cases: draw.record({ shape: shapes({ maxElements: 20000 }), layout: denseLayouts, seed: seeds }).map(({ shape, layout, seed }) => ({
      gradient: tensorSpec("float32", shape, normals(seed), layout),
      gate: tensorSpec("float32", shape, sprinkled(seed, normals(seed + 1, 0, 3), [0, 50, -50, -100, 100]), layout),
      up: tensorSpec("float32", shape, normals(seed + 2), layout),
      gateGradient: outputSpec("float32", shape, layout),
      upGradient: outputSpec("float32", shape, layout),
    })),
  },

  rotaryEmbedding: {
    outputs: ["output"],
    tolerance: within(1e-6, 1e-6),
    cases: draw
      .record({
        batch: small(3),
        sequence: small(9),
        heads: small(4),
        pairs: small(20),
        rest: draw.constantFrom(0, 0, 2, 5),
        offset: small(4, 0),
        listed: draw.boolean(),
        layout: draw.constantFrom("half" as const, "interleaved" as const),
        inverse: draw.boolean(),
        place: denseLayouts,
        seed: seeds,
      })
      .map(({ batch, sequence, heads, pairs, rest, offset, listed, layout, inverse, place, seed }) => {
        const shape = [batch, sequence, heads, 2 * pairs + rest];
        const positions = offset + sequence + 2;
        const angle = uniforms(seed, -4, 4);
        return {
          input: tensorSpec("float32", shape, normals(seed), place),
          output: outputSpec("float32", shape, place),
          cosine: tensorSpec("float32", [positions, pairs], (i) => Math.cos(angle(i)), place),
          sine: tensorSpec("float32", [positions, pairs], (i) => Math.sin(angle(i)), place),
          positions: listed ? tensorSpec("int32", [sequence], integers(seed, 0, positions - 1), place) : undefined,
          positionOffset: offset,
          layout,
          inverse,
        };
      }),
  },
};
