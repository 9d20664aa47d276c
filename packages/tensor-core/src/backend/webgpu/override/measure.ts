import type { Backend, KernelArguments, KernelName } from "../../backend.ts";
import type { KernelSpec } from "../../../validation/tensor-spec.ts";
import { layOutCase } from "../../../validation/run-kernel.ts";

/** How long one call of a kernel takes, with the work of the CPU and of the GPU. */
export interface KernelTiming {
  readonly milliseconds: number;
  /** The built-in on the same arguments. */
  readonly builtInMilliseconds: number;
}

const rounds = 7;
const callsPerRound = 8;

/** Medians over a few rounds, in turns, so that a clock that changes meanwhile meets both. */
export async function measureKernel<Name extends KernelName>(
  backend: Backend,
  name: Name,
  run: (parameters: KernelArguments[Name]) => void,
  spec: KernelSpec<Name>,
): Promise<KernelTiming> {
  const { parameters, free } = layOutCase<Name>(backend, spec);
  const builtIn = backend.kernels[name];
  const times: Record<"own" | "builtIn", number[]> = { own: [], builtIn: [] };
  try {
    // The first round compiles and warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const [which, kernel] of [["own", run] as const, ["builtIn", builtIn] as const]) {
        const start = performance.now();
        for (let call = 0; call < callsPerRound; call++) kernel(parameters);
        await backend.synchronize();
        if (round > 0) times[which].push((performance.now() - start) / callsPerRound);
      }
    }
  } finally {
    free();
  }
  return { milliseconds: median(times.own), builtInMilliseconds: median(times.builtIn) };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
