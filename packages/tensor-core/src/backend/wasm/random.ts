import type { Kernels } from "../backend.ts";
import { countElements } from "./layout.ts";
import type { WasmRuntime } from "./runtime.ts";

const distributionCodes = { uniform: 0, normal: 1, bits: 2 } as const;
const twoTo32 = 2 ** 32;

/** Counter-based random numbers. */
export function createRandom(runtime: WasmRuntime): Pick<Kernels, "random"> {
  return {
    random({ distribution, key, counter, parameters, output }) {
      const count = countElements(output.shape);
      runtime.parallel(
        "random",
        [
          distributionCodes[distribution], key[0], key[1], counter % twoTo32, Math.floor(counter / twoTo32), parameters[0], parameters[1],
          runtime.pointer(output),
        ],
        count,
        { granularity: 8, work: count * 16, scratchBytes: 64 },
      );
    },
  };
}
