import type { TensorView } from "../../../backend.ts";
import { read, write, type KernelBinding } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import type { AccessNumbers, Source, Target } from "./access.ts";
import type { TransformJob } from "./job.ts";
import { scheduleTransform, type BluesteinSchedule, type FftConfiguration, type StepsSchedule } from "./schedule.ts";
import { launchLoop } from "./loop-kernel.ts";
import { launchSplit } from "./split-kernel.ts";
import { chirpTable, spectrumTable, splitRootTable } from "./tables.ts";
import { launchTile } from "./tile-kernel.ts";

/** Transforms of `numbers.points` complex points, from any source to any target. */
export interface Transform {
  readonly outer: number;
  readonly source: Source;
  readonly target: Target;
  readonly numbers: AccessNumbers;
  readonly configuration: FftConfiguration;
}

/** Lines side by side that make it worth reading across them. */
const fewestLinesAcross = 2;

/** Records the launches of a transform. */
export function launchTransform(runtime: WebGpuRuntime, transform: Transform): void {
  const { outer, source, target, numbers, configuration } = transform;
  const { points, inner } = numbers;
  const schedule = scheduleTransform(points, configuration);
  const across = inner >= fewestLinesAcross;
  const direct = { source, target, lines: { count: outer * inner }, numbers, loadAcross: across, storeAcross: across };
  switch (schedule.kind) {
    case "loop":
      return launchLoop(runtime, { ...direct, length: points }, configuration.tiles !== "none");
    case "tile":
      return launchTile(runtime, { ...direct, length: points }, configuration.limits);
    case "steps":
      return launchSteps(runtime, transform, schedule);
    case "bluestein":
      return launchConvolution(runtime, transform, schedule);
  }
}

function launchConvolution(runtime: WebGpuRuntime, transform: Transform, { paddedLength, padded }: BluesteinSchedule): void {
  const { outer, source, target, numbers } = transform;
  const { points, inner } = numbers;
  const chirp = chirpTable(runtime, points);
  const chirped = { source: { ...source, chirp }, target: { ...target, chirp } };
  const spectrum = spectrumTable(runtime, points, paddedLength);
  if (padded.kind !== "steps") {
    const across = inner >= fewestLinesAcross;
    const lines = { count: outer * inner };
    const job = { ...chirped, length: paddedLength, lines, numbers, loadAcross: across, storeAcross: across, spectrum };
    return padded.kind === "tile" ? launchTile(runtime, job, transform.configuration.limits) : launchLoop(runtime, job, false);
  }
  const whole = pairs(runtime, outer, paddedLength, inner);
  const spread = { ...transform, source: chirped.source, target: whole.target, numbers: { ...numbers, scale: 1 } };
  launchSteps(runtime, spread, padded, paddedLength);
  const back: Source = { kind: "product", bindings: { ...whole.source.bindings, spectrum }, outerStride: paddedLength * inner };
  launchSteps(runtime, { ...transform, source: back, target: chirped.target }, padded, paddedLength);
  runtime.release(whole.view);
}

/** A temporary array of complex numbers, [outer, length, inner]. */
interface Pairs {
  readonly view: TensorView;
  readonly source: Source;
  readonly target: Target;
  readonly outerStride: number;
}

function pairs(runtime: WebGpuRuntime, outer: number, length: number, inner: number): Pairs {
  const view = runtime.temporary("float32", [outer, length, inner, 2]);
  const outerStride = length * inner;
  return {
    view,
    outerStride,
    source: { kind: "pairs", bindings: { sourcePairs: read(view, "vec2<f32>") }, outerStride },
    target: { kind: "pairs", bindings: { targetPairs: write(view, "vec2<f32>") }, outerStride },
  };
}

/**
 * A length as a product: with j = j1 * rest + j2 and k = k1 + n1 * k2, transforms over j1 times the roots of j2 * k1, then over j2, and
 * so on for the rest. Intermediate results lie as [outer, k1, j2, inner]; the last step puts the digits of k in their order.
 */
function launchSteps(
  runtime: WebGpuRuntime,
  transform: Transform,
  { factors }: StepsSchedule,
  length: number = transform.numbers.points,
): void {
  const { outer, source, numbers, configuration } = transform;
  const { inner, points } = numbers;
  const launch = (job: TransformJob): void =>
    configuration.tiles === "none" ? launchLoop(runtime, job, false) : launchTile(runtime, job, configuration.limits);
  const split = transform.target.kind === "half" ? pairs(runtime, outer, points, inner) : undefined;
  const { chirp } = transform.target;
  const target: Target = split === undefined ? transform.target : { ...split.target, ...(chirp && { chirp }) };
  const between = pairs(runtime, outer, length, inner);
  const plain = { inner, points: length, bins: length, scale: 1 };
  const lineCount = (factor: number): number => (outer * length * inner) / factor;

  let rest = length;
  factors.slice(0, -1).forEach((factor, i) => {
    // Lines of this step are the transforms that are left: each of the results of the steps before has its own.
    const remaining = rest / factor;
    launch({
      length: factor,
      source: i === 0 ? source : { ...between.source, outerStride: rest * inner },
      target: { ...between.target, outerStride: rest * inner },
      lines: {
        count: lineCount(factor),
        step: {
          sizeA: remaining,
          sizeB: 1,
          inputA: 0,
          inputB: 0,
          inputShiftA: 1,
          inputStep: remaining,
          outputShiftA: 1,
          outputShiftB: 0,
          outputStep: remaining,
        },
      },
      numbers: i === 0 ? { ...plain, points, bins: numbers.bins } : plain,
      loadAcross: true,
      storeAcross: true,
      stepRoots: splitRootTable(runtime, rest),
    });
    rest = remaining;
  });

  const last = factors.at(-1)!;
  const [first, second] = [factors[0]!, factors.length > 2 ? factors[1]! : 1];
  launch({
    length: last,
    source: between.source,
    target,
    lines: {
      count: lineCount(last),
      step: {
        sizeA: first,
        sizeB: second,
        inputA: (length / first) * inner,
        inputB: last * inner,
        inputShiftA: 0,
        inputStep: 1,
        outputShiftA: 1,
        outputShiftB: first,
        outputStep: length / last,
      },
    },
    numbers: split === undefined ? { ...numbers } : { ...numbers, scale: 1 },
    loadAcross: inner > 1,
    storeAcross: true,
  });
  runtime.release(between.view);
  if (split !== undefined) {
    const { outputReal, outputImaginary, halfRoots } = transform.target.bindings as Record<string, KernelBinding>;
    launchSplit(runtime, outer, numbers, {
      sourcePairs: split.source.bindings["sourcePairs"]!,
      outputReal: outputReal!,
      outputImaginary: outputImaginary!,
      halfRoots: halfRoots!,
    });
    runtime.release(split.view);
  }
}
