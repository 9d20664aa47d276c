import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend } from "../../backend.ts";
import { createReferenceBackend } from "../../reference/index.ts";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { runKernel, type BufferContents } from "../../../validation/run-kernel.ts";
import { coverage, outputSpec, tensorSpec, type KernelSpec, type TensorSpec } from "../../../validation/tensor-spec.ts";
import { normals, uniforms } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import { laneName } from "../../../testing/webgpu-lane.ts";
import type { WebGpuBackend } from "../backend.ts";
import { selectiveScanGradient } from "./sequence/scan-gradient.ts";

type SequenceKernel = "causalConv1d" | "causalConv1dGradient" | "selectiveScan" | "selectiveScanGradient";

const random = (shape: readonly number[], seed: number): TensorSpec => tensorSpec("float32", shape, normals(seed), { offset: seed % 4 });
const result = (shape: readonly number[]): TensorSpec => outputSpec("float32", shape, { offset: 3 });

interface ScanShape {
  readonly batch: number;
  readonly sequence: number;
  readonly channels: number;
  readonly stateSize: number;
}

/** Inputs of a scan that neither dies away nor grows; everything optional is there when `full`. */
function scan({ batch, sequence, channels, stateSize }: ScanShape, full: boolean): KernelSpec<"selectiveScan"> {
  return {
    input: random([batch, sequence, channels], 1),
    delta: tensorSpec("float32", [batch, sequence, channels], full ? normals(2, -2, 1.5) : uniforms(2, 0.001, 0.2)),
    stateMatrix: tensorSpec("float32", [channels, stateSize], uniforms(3, -4, -0.01), { offset: 1 }),
    inputMatrix: random([batch, sequence, stateSize], 4),
    outputMatrix: random([batch, sequence, stateSize], 5),
    skip: full ? random([channels], 6) : undefined,
    initialState: full ? random([batch, channels, stateSize], 7) : undefined,
    deltaSoftplus: full,
    output: result([batch, sequence, channels]),
    finalState: result([batch, channels, stateSize]),
    batch,
    sequence,
    channels,
    stateSize,
  };
}

function scanGradient(shape: ScanShape, full: boolean): KernelSpec<"selectiveScanGradient"> {
  const { output, finalState, ...inputs } = scan(shape, full);
  const { batch, channels, stateSize } = shape;
  const gradient = random(output.shape, 8);
  return {
    ...inputs,
    gradient,
    finalStateGradient: full ? random(finalState.shape, 9) : undefined,
    inputGradient: result(output.shape),
    deltaGradient: result(output.shape),
    stateMatrixGradient: result([channels, stateSize]),
    inputMatrixGradient: result(inputs.inputMatrix.shape),
    outputMatrixGradient: result(inputs.inputMatrix.shape),
    skipGradient: full ? result([channels]) : undefined,
    initialStateGradient: full ? result([batch, channels, stateSize]) : undefined,
  };
}

interface ConvolutionShape {
  readonly batch: number;
  readonly sequence: number;
  readonly channels: number;
  readonly width: number;
}

function convolution({ batch, sequence, channels, width }: ConvolutionShape, full: boolean): KernelSpec<"causalConv1d"> {
  return {
    input: random([batch, sequence, channels], 11),
    weight: random([channels, width], 12),
    bias: full ? random([channels], 13) : undefined,
    initialState: full ? random([batch, width - 1, channels], 14) : undefined,
    silu: full,
    output: result([batch, sequence, channels]),
    batch,
    sequence,
    channels,
    width,
  };
}

function convolutionGradient(shape: ConvolutionShape, full: boolean): KernelSpec<"causalConv1dGradient"> {
  const { output, ...inputs } = convolution(shape, full);
  return {
    ...inputs,
    gradient: random(output.shape, 15),
    inputGradient: result(output.shape),
    weightGradient: result(inputs.weight.shape),
    biasGradient: full ? result([shape.channels]) : undefined,
    initialStateGradient: inputs.initialState && result(inputs.initialState.shape),
  };
}

/** The largest difference of any result, over its largest value; NaN when a result is, or what lies around a result changed. */
function relativeError(expected: BufferContents, actual: BufferContents, isResult: (path: string) => boolean): number {
  let worst = 0;
  for (const [path, { spec, values }] of expected) {
    const others = actual.get(path)!.values;
    const covered = coverage(spec);
    if (!isResult(path)) {
      expect(
        values.every((value, i) => Object.is(value, others[i])),
        `${path} is unchanged`,
      ).toBe(true);
      continue;
    }
    let size = 1e-6;
    let error = 0;
    values.forEach((value, i) => {
      if (covered[i]) {
        size = Math.max(size, Math.abs(value));
        error = Math.abs(value - others[i]!) <= error ? error : Math.abs(value - others[i]!);
      } else if (others[i] !== value) error = NaN;
    });
    worst = error / size <= worst ? worst : error / size;
  }
  return worst;
}

describe("sequence kernels beside the reference", () => {
  const reference = createReferenceBackend();
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  const names = ["causalConv1d", "causalConv1dGradient", "selectiveScan", "selectiveScanGradient"] as const;
  it.each(names)("%s passes the kernel suite", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 25 });
  });

  type IsResult = (path: string) => boolean;
  async function errorOf<Name extends SequenceKernel>(name: Name, spec: KernelSpec<Name>, isResult: IsResult): Promise<number> {
    return relativeError(await runKernel(reference, name, spec), await runKernel(backend, name, spec), isResult);
  }
  const isOutput = (path: string): boolean => path === "output" || path === "finalState";
  const isGradient = (path: string): boolean => path.endsWith("Gradient") && path !== "finalStateGradient";

  const scanShapes: readonly ScanShape[] = [
    { batch: 2, sequence: 1, channels: 70, stateSize: 16 },
    { batch: 2, sequence: 7, channels: 5, stateSize: 20 },
    { batch: 2, sequence: 300, channels: 70, stateSize: 4 },
    { batch: 1, sequence: 300, channels: 5, stateSize: 1 },
    { batch: 2, sequence: 129, channels: 66, stateSize: 20 },
    { batch: 1, sequence: 0, channels: 3, stateSize: 2 },
    { batch: 1, sequence: 9, channels: 3, stateSize: 0 },
    { batch: 0, sequence: 9, channels: 3, stateSize: 4 },
  ];
  it.each(scanShapes)("selectiveScan and its gradient, $batch x $sequence x $channels, state $stateSize", async (shape) => {
    for (const full of [true, false]) {
      expect(await errorOf("selectiveScan", scan(shape, full), isOutput)).toBeLessThan(5e-6);
      expect(await errorOf("selectiveScanGradient", scanGradient(shape, full), isGradient)).toBeLessThan(1e-5);
    }
  });

  const convolutionShapes: readonly ConvolutionShape[] = [
    { batch: 2, sequence: 300, channels: 70, width: 4 },
    { batch: 3, sequence: 2, channels: 5, width: 7 },
    { batch: 1, sequence: 2500, channels: 3, width: 1 },
    { batch: 1, sequence: 0, channels: 3, width: 4 },
    { batch: 0, sequence: 4, channels: 3, width: 4 },
  ];
  it.each(convolutionShapes)("causalConv1d and its gradient, $batch x $sequence x $channels, width $width", async (shape) => {
    for (const full of [true, false]) {
      expect(await errorOf("causalConv1d", convolution(shape, full), isOutput)).toBeLessThan(2e-6);
      expect(await errorOf("causalConv1dGradient", convolutionGradient(shape, full), isGradient)).toBeLessThan(3e-6);
    }
  });

  it.each([10_000, 5000])("works on part of the channels and of the batch at a time when memory is short (%i elements)", async (budget) => {
    const spec = scanGradient({ batch: 3, sequence: 21, channels: 150, stateSize: 5 }, true);
    const inParts: Backend = {
      ...backend,
      kernels: { ...backend.kernels, selectiveScanGradient: (parameters) => selectiveScanGradient(backend.runtime, parameters, budget) },
    };
    const expected = await runKernel(reference, "selectiveScanGradient", spec);
    expect(relativeError(expected, await runKernel(inParts, "selectiveScanGradient", spec), isGradient)).toBeLessThan(1e-5);
  });

  it("gives the same bits again", async () => {
    const spec = scanGradient({ batch: 2, sequence: 50, channels: 70, stateSize: 5 }, true);
    const first = await runKernel(backend, "selectiveScanGradient", spec);
    const second = await runKernel(backend, "selectiveScanGradient", spec);
    for (const [path, { values }] of first) expect(second.get(path)!.values, path).toEqual(values);
  });
});

/** Loops unrolled, which lavapipe takes long to compile: these belong to the other lanes. */
it.each(laneName === "lavapipe" ? [] : ["hardware"])("selectiveScanGradient as on %s", async () => {
  const hardware = await laneBackend([], { isSoftware: false });
  await checkKernelAgainstReference(hardware, "selectiveScanGradient", { runs: 20 });
  hardware.destroy();
});
