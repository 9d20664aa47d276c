import { Generator, getThreads, matmul, memory, rfft2, setThreads, tidy } from "@frugal/tensor-core";
import { barChart } from "../report/charts.ts";
import type { Section } from "../section.ts";

/** Median seconds of `run` over repeats that fill about `budget` seconds. */
function medianSeconds(run: () => void, budget: number): number {
  const times: number[] = [];
  const end = performance.now() + budget * 1000;
  do {
    const start = performance.now();
    run();
    times.push((performance.now() - start) / 1000);
  } while (performance.now() < end || times.length < 3);
  return times.sort((a, b) => a - b)[times.length >> 1]!;
}

/** What the kernels reach on this machine. */
export const tensorSection: Section = {
  title: "Tensors: how fast this machine is",
  packageName: "tensor-core",
  async run({ progress, signal }) {
    const sizes = [128, 256, 512, 1024];
    const cores = getThreads();
    const threadCounts = cores > 1 ? [1, cores] : [1];
    const random = new Generator(1);
    progress.start("matrix products", sizes.length * threadCounts.length);
    const series: { name: string; values: number[] }[] = [];
    let done = 0;
    for (const threads of threadCounts) {
      setThreads(threads);
      const values: number[] = [];
      for (const size of sizes) {
        if (signal.aborted) break;
        using a = random.normal([size, size]);
        using b = random.normal([size, size]);
        const seconds = medianSeconds(() => tidy(() => void matmul(a, b)), 0.25);
        values.push((2 * size ** 3) / seconds / 1e9);
        progress.update(++done, `${size}: ${values.at(-1)!.toFixed(0)} GFLOP/s`);
        await new Promise((resolve) => setImmediate(resolve));
      }
      series.push({ name: `${threads} thread${threads > 1 ? "s" : ""}`, values });
    }
    progress.stop();
    using signalMatrix = random.normal([128, 2048]);
    const fftMilliseconds = medianSeconds(() => tidy(() => void rfft2(signalMatrix)), 0.3) * 1000;
    const best = Math.max(...series.flatMap(({ values }) => values));
    return [
      {
        kind: "figures",
        figures: [
          { label: "Best matrix product", value: `${best.toFixed(0)} GFLOP/s`, note: "float32, WebAssembly SIMD" },
          { label: "2-D real FFT, 128 × 2048", value: `${fftMilliseconds.toFixed(2)} ms` },
          { label: "Heap", value: `${(memory().reservedBytes / 2 ** 20).toFixed(0)} MiB`, note: `${memory().allocations} tensors alive` },
        ],
      },
      {
        kind: "chart",
        title: "Matrix product of n × n matrices, GFLOP/s",
        svg: barChart(
          sizes.map((size) => `n = ${size}`),
          series,
          "GFLOP/s",
        ),
      },
    ];
  },
};
