import { fftJs, jaxJs1, kissFft, numpyTs, oneThread, pffft, twoThreads } from "../tensor-core/contenders.ts";
import type { Contender, Workload } from "../src/workload.ts";

/** Libraries in JavaScript and WebAssembly with Fourier transforms. None of them has threads for it. */
const libraries: readonly Contender[] = [pffft, fftJs, kissFft, numpyTs, jaxJs1];

const transform = (ours: Contender): Workload => ({
  id: `rfft2-128x2048-${ours.threads}t`,
  unit: "transforms/s",
  work: 1,
  task: { kind: "rfft2", rows: 128, columns: 2048 },
  ours,
  peers: libraries,
});

/** The transform of the paper's codec, S = 128 and D = 2048, on one thread of ours and on two. */
export const transforms: readonly [oneThread: Workload, twoThreads: Workload] = [transform(oneThread), transform(twoThreads)];
