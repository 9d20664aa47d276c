/** What a launch of a product moves and computes at the least, for profiles. */
import type { KernelLaunch } from "../../program.ts";
import type { Destination } from "./epilogue.ts";
import type { BatchStrides, MatmulProblem, Operand, OperandFormat } from "./problem.ts";

const bytesOfElement: Readonly<Record<OperandFormat, number>> = { float32: 4, float16: 2, int8: 1, uint4: 0.5 };

/** Both operands once, and what is stored; a multiplication and an addition for each element of a with each column of b. */
export function workOf(problem: MatmulProblem, { epilogue }: Destination, splits: number): NonNullable<KernelLaunch["work"]> {
  const { a, b, m, k, n, batchSizes } = problem;
  const batches = batchSizes[0] * batchSizes[1] * batchSizes[2];
  const outputs = 4 * batches * m * n;
  const stored = epilogue === undefined ? outputs * splits : outputs * (epilogue.accumulate ? 2 : 1);
  return { bytes: operandBytes(a, k, batchSizes) + operandBytes(b, k, batchSizes) + stored, operations: 2 * batches * m * n * k };
}

/** Bytes of the different elements of an operand: a broadcast one is read once. */
function operandBytes({ format, tileSize, batchStrides, quantized }: Operand, k: number, batchSizes: BatchStrides): number {
  const copies = batchSizes.reduce((product, size, axis) => (batchStrides[axis] === 0 ? product : product * size), 1);
  const groups = quantized === undefined ? 0 : (4 * k * (quantized.minimums === undefined ? 1 : 2)) / quantized.groupSize;
  return tileSize * copies * (k * bytesOfElement[format] + groups);
}
