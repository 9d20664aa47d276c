import type { PageTask } from "./pages/contract.ts";

/** One row. */
export interface BrowserWorkload {
  readonly id: string;
  readonly unit: "GFLOP/s" | "GB/s" | "calls/s";
  /** Of a call. */
  readonly work: number;
  readonly task: PageTask;
}

function gemm(size: number): BrowserWorkload {
  return { id: `gemm-${size}`, unit: "GFLOP/s", work: (2 * size ** 3) / 1e9, task: { kind: "gemm", size } };
}

function rows(quick: boolean): readonly BrowserWorkload[] {
  const [addSize, columns, length, gradient] = quick ? [2 ** 12, 64, 32, 32] : [2 ** 20, 1024, 256, 128];
  return [
    { id: `add-${addSize}`, unit: "GB/s", work: (12 * addSize) / 1e9, task: { kind: "add", size: addSize } },
    { id: `softmax-512x${columns}`, unit: "GB/s", work: (8 * 512 * columns) / 1e9, task: { kind: "softmax", rows: 512, columns } },
    {
      id: `attention-4x${length}x64`,
      unit: "GFLOP/s",
      work: (4 * 4 * length ** 2 * 64) / 1e9,
      task: { kind: "attention", heads: 4, length, headDim: 64 },
    },
    { id: `gradient-${gradient}`, unit: "calls/s", work: 1, task: { kind: "gradient", size: gradient } },
  ];
}

/** What `bench -- tensor-core --browser` measures. */
export const browserWorkloads = (quick: boolean): readonly BrowserWorkload[] => [...(quick ? [64] : [256, 512]).map(gemm), ...rows(quick)];
