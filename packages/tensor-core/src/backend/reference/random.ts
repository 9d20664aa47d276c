import { threefry2x32 } from "../../random/threefry.ts";
import type { Kernels } from "../backend.ts";
import { elementCount, store } from "./access.ts";

const twoTo24 = 2 ** 24;
const twoTo32 = 2 ** 32;

/** Counter-based random numbers. */
export const randomKernels: Pick<Kernels, "random"> = {
  random({ distribution, key, counter, parameters, output }) {
    const values = new Float64Array(elementCount(output.shape));
    const words = new Uint32Array(2);
    for (let i = 0; i < values.length; i++) {
      const block = counter + Math.floor(i / 2);
      threefry2x32(key[0], key[1], block % twoTo32, Math.floor(block / twoTo32), words);
      values[i] = drawFrom(distribution, words, i % 2, parameters);
    }
    store(output, values);
  },
};

function drawFrom(
  distribution: "uniform" | "normal" | "bits",
  words: Uint32Array,
  lane: number,
  [first, second]: readonly [number, number],
): number {
  if (distribution === "bits") return words[lane]! | 0;
  if (distribution === "uniform") return first + ((second - first) * (words[lane]! >>> 8)) / twoTo24;
  const u1 = ((words[0]! >>> 8) + 1) / twoTo24;
  const u2 = (words[1]! >>> 8) / twoTo24;
  const radius = Math.sqrt(-2 * Math.log(u1));
  return first + second * radius * (lane === 0 ? Math.cos(2 * Math.PI * u2) : Math.sin(2 * Math.PI * u2));
}
