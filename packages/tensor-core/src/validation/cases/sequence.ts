import * as draw from "../arbitrary.ts";
import { denseLayouts, seeds, small } from "../arbitraries.ts";
import { within, type KernelTests } from "../kernel-test.ts";
import { outputSpec, tensorSpec, type Layout, type TensorSpec } from "../tensor-spec.ts";
import { normals, uniforms } from "../values.ts";

const convolutions = draw.record({
  batch: small(3),
  sequence: draw.oneof(small(9), small(60)),
  channels: draw.oneof(small(9), small(50)),
  width: small(5),
  bias: draw.boolean(),
  state: draw.boolean(),
  silu: draw.boolean(),
  layout: denseLayouts,
  seed: seeds,
});

const scans = draw.record({
  batch: small(2),
  sequence: draw.oneof(small(6), small(40)),
  channels: draw.oneof(small(6), small(20)),
  stateSize: draw.oneof(small(6), draw.constantFrom(8, 16, 17)),
  skip: draw.boolean(),
  state: draw.boolean(),
  deltaSoftplus: draw.boolean(),
  layout: denseLayouts,
  seed: seeds,
});

function random(shape: readonly number[], seed: number, layout: Layout): TensorSpec {
  return tensorSpec("float32", shape, normals(seed), layout);
}

/** Tests of sequence kernels. */
export const sequenceTests: KernelTests<"causalConv1d" | "causalConv1dGradient" | "selectiveScan" | "selectiveScanGradient"> = {
  causalConv1d: {
    outputs: ["output"],
    tolerance: within(5e-6, 5e-6),
    cases: convolutions.map(({ batch, sequence, channels, width, bias, state, silu, layout, seed }) => ({
      input: random([batch, sequence, channels], seed, layout),
      weight: random([channels, width], seed + 1, layout),
      bias: bias ? random([channels], seed + 2, layout) : undefined,
      initialState: state ? random([batch, width - 1, channels], seed + 3, layout) : undefined,
      silu,
      output: outputSpec("float32", [batch, sequence, channels], layout),
      batch,
      sequence,
      channels,
      width,
    })),
  },

  causalConv1dGradient: {
    outputs: ["inputGradient", "weightGradient", "biasGradient", "initialStateGradient"],
    tolerance: within(5e-5, 3e-5),
    cases: convolutions.map(({ batch, sequence, channels, width, bias, state, silu, layout, seed }) => ({
      gradient: random([batch, sequence, channels], seed + 4, layout),
      input: random([batch, sequence, channels], seed, layout),
      weight: random([channels, width], seed + 1, layout),
      bias: bias ? random([channels], seed + 2, layout) : undefined,
      initialState: state ? random([batch, width - 1, channels], seed + 3, layout) : undefined,
      silu,
      batch,
      sequence,
      channels,
      width,
      inputGradient: outputSpec("float32", [batch, sequence, channels], layout),
      weightGradient: outputSpec("float32", [channels, width], layout),
      biasGradient: bias ? outputSpec("float32", [channels], layout) : undefined,
      initialStateGradient: state ? outputSpec("float32", [batch, width - 1, channels], layout) : undefined,
    })),
  },

  selectiveScan: {
    outputs: ["output", "finalState"],
    tolerance: within(2e-5, 2e-5),
    cases: scans.map((drawn) => ({
      ...scanInputs(drawn),
      output: outputSpec("float32", [drawn.batch, drawn.sequence, drawn.channels], drawn.layout),
      finalState: outputSpec("float32", [drawn.batch, drawn.channels, drawn.stateSize], drawn.layout),
    })),
  },

  selectiveScanGradient: {
    outputs: [
      "inputGradient",
      "deltaGradient",
      "stateMatrixGradient",
      "inputMatrixGradient",
      "outputMatrixGradient",
      "skipGradient",
      "initialStateGradient",
    ],
    tolerance: within(3e-4, 1e-4),
    cases: scans.map((drawn) => {
      const { batch, sequence, channels, stateSize, layout, seed } = drawn;
      const stateShape = [batch, channels, stateSize];
      return {
        ...scanInputs(drawn),
        gradient: random([batch, sequence, channels], seed + 7, layout),
        finalStateGradient: seed % 2 ? random(stateShape, seed + 8, layout) : undefined,
        inputGradient: outputSpec("float32", [batch, sequence, channels], layout),
        deltaGradient: outputSpec("float32", [batch, sequence, channels], layout),
        stateMatrixGradient: outputSpec("float32", [channels, stateSize], layout),
        inputMatrixGradient: outputSpec("float32", [batch, sequence, stateSize], layout),
        outputMatrixGradient: outputSpec("float32", [batch, sequence, stateSize], layout),
        skipGradient: drawn.skip ? outputSpec("float32", [channels], layout) : undefined,
        initialStateGradient: drawn.state ? outputSpec("float32", stateShape, layout) : undefined,
      };
    }),
  },
};

type Scan = typeof scans extends draw.Arbitrary<infer Drawn> ? Drawn : never;

function scanInputs({ batch, sequence, channels, stateSize, skip, state, deltaSoftplus, layout, seed }: Scan): {
  input: TensorSpec;
  delta: TensorSpec;
  stateMatrix: TensorSpec;
  inputMatrix: TensorSpec;
  outputMatrix: TensorSpec;
  skip: TensorSpec | undefined;
  initialState: TensorSpec | undefined;
  deltaSoftplus: boolean;
  batch: number;
  sequence: number;
  channels: number;
  stateSize: number;
} {
  return {
    input: random([batch, sequence, channels], seed, layout),
    delta: tensorSpec(
      "float32",
      [batch, sequence, channels],
      deltaSoftplus ? normals(seed + 1, -1, 2) : uniforms(seed + 1, 0.01, 0.6),
      layout,
    ),
    stateMatrix: tensorSpec("float32", [channels, stateSize], uniforms(seed + 2, -4, -0.05), layout),
    inputMatrix: random([batch, sequence, stateSize], seed + 3, layout),
    outputMatrix: random([batch, sequence, stateSize], seed + 4, layout),
    skip: skip ? random([channels], seed + 5, layout) : undefined,
    initialState: state ? random([batch, channels, stateSize], seed + 6, layout) : undefined,
    deltaSoftplus,
    batch,
    sequence,
    channels,
    stateSize,
  };
}
