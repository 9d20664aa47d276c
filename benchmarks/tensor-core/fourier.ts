import type { Workload } from "../src/workload.ts";
import { fftJs, jaxJs1, mlFft, numpyTs, oneThread, pffft } from "./contenders.ts";

/** Points a call transforms, in rows: small transforms are timed many at a time, as the rows of a matrix. */
const points = 16_384;

const complex = [64, 256, 896, 1024, 1536, 4096, 16_384].map((length): Workload => {
  const batch = Math.max(1, Math.floor(points / length));
  const flops = 5 * length * Math.log2(length) * batch;
  return {
    id: `fft-${length}-1t`,
    unit: "GF/s",
    work: flops / 1e9,
    task: { kind: "fft", length, batch },
    ours: oneThread,
    peers: [pffft, fftJs, mlFft],
  };
});

const real2d = [
  [128, 2048],
  [512, 4096],
].map(([rows, columns]): Workload => ({
  id: `rfft2-${rows}x${columns}-1t`,
  unit: "transforms/s",
  work: 1,
  task: { kind: "rfft2", rows: rows!, columns: columns! },
  ours: oneThread,
  peers: [fftJs, pffft, numpyTs, ...(rows === 128 ? [jaxJs1] : [])],
}));

/** Complex transforms (5 n log₂ n flops) and real two-dimensional ones. */
export const fourier: readonly Workload[] = [...complex, ...real2d];
