import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { attentionKernels } from "./attention.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { feedforwardKernels } from "./feedforward.ts";
import { fftKernels } from "./fft.ts";
import { lossKernels } from "./loss.ts";
import { matmulKernels } from "./matmul.ts";
import { movementKernels } from "./movement.ts";
import { normalizationKernels } from "./normalization.ts";
import { optimizerKernels } from "./optim.ts";
import { randomKernels } from "./random.ts";
import { reduceKernels } from "./reduce.ts";
import { sequenceKernels } from "./sequence.ts";
import { softmaxKernels } from "./softmax.ts";
import { sortKernels } from "./sort.ts";

/** Every kernel of the contract, over one runtime. */
export function createKernels(runtime: WebGpuRuntime): Kernels {
  return {
    ...movementKernels(runtime),
    ...elementwiseKernels(runtime),
    ...reduceKernels(runtime),
    ...sortKernels(runtime),
    ...matmulKernels(runtime),
    ...softmaxKernels(runtime),
    ...lossKernels(runtime),
    ...normalizationKernels(runtime),
    ...feedforwardKernels(runtime),
    ...attentionKernels(runtime),
    ...sequenceKernels(runtime),
    ...fftKernels(runtime),
    ...randomKernels(runtime),
    ...optimizerKernels(runtime),
  };
}
