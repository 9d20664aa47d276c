import type { Workload } from "../src/workload.ts";
import { fourier } from "./fourier.ts";
import { gemm } from "./gemm.ts";
import { memoryBound } from "./memory-bound.ts";
import { smallOperation } from "./small-operation.ts";
import { training } from "./training.ts";

/** What `npm run bench -- tensor-core` measures; each group has processes of its own. */
export const workloads: readonly (readonly Workload[])[] = [gemm, fourier, memoryBound, [smallOperation], training];
