import type { KernelName } from "../backend/backend.ts";
import { attentionTests } from "./cases/attention.ts";
import { elementwiseTests } from "./cases/elementwise.ts";
import { fftTests } from "./cases/fft.ts";
import { matmulTests } from "./cases/matmul.ts";
import { movementTests } from "./cases/movement.ts";
import { optimizerTests } from "./cases/optim.ts";
import { randomTests } from "./cases/random.ts";
import { reduceTests } from "./cases/reduce.ts";
import { rowTests } from "./cases/rows.ts";
import { sequenceTests } from "./cases/sequence.ts";
import { sortTests } from "./cases/sort.ts";
import type { KernelTests } from "./kernel-test.ts";

/** The test of each kernel. */
export const kernelTests: KernelTests<KernelName> = {
  ...movementTests,
  ...elementwiseTests,
  ...reduceTests,
  ...sortTests,
  ...matmulTests,
  ...rowTests,
  ...attentionTests,
  ...sequenceTests,
  ...fftTests,
  ...randomTests,
  ...optimizerTests,
};

/** All kernels, in the order of the contract. */
export const kernelNames: readonly KernelName[] = Object.keys(kernelTests) as KernelName[];
