import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { openLaneDevice } from "../webgpu-lane.testing.ts";
import { ByteReader } from "./byte-reader.ts";
import { cosineCoder } from "./cosine.ts";
import { largestBlock, type FourierMode } from "./fourier-bins.ts";
import { fourierBlock, fromFourierBlock } from "./fourier-transform.ts";
import { fourierCoder } from "./fourier.ts";
import { lowRankCoder } from "./low-rank.ts";
import { randomValues, relativeError } from "./row-coder.testing.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";

await openLaneDevice();

const sizes = [
  [1, 36],
  [7, 12],
  [10, 13],
] as const;
const modes: readonly FourierMode[] = ["literal", "hermitian", "lowpass"];

async function blockOn(
  device: "cpu" | "webgpu",
  values: Float32Array,
  [tokens, hiddenSize]: readonly [number, number],
  mode: FourierMode,
): Promise<Float32Array> {
  const largest = largestBlock(mode, { tokens, hiddenSize });
  const shape = { tokens: Math.ceil(largest.tokens / 2), channels: Math.ceil(largest.channels / 3) };
  using rows = tensor(values, [tokens, hiddenSize], { device });
  const block = fourierBlock(rows, shape, mode);
  using after = fromFourierBlock(block, shape, mode, hiddenSize);
  block.real.dispose();
  block.imaginary.dispose();
  return after.data("float32");
}

async function codedOn(
  device: "cpu" | "webgpu",
  coder: RowCoder,
  values: Float32Array,
  [tokens, hiddenSize]: readonly [number, number],
  target: RowTarget,
): Promise<Float32Array> {
  using rows = tensor(values, [tokens, hiddenSize], { device });
  const { bytes } = await coder.encode(rows, target);
  using after = await coder.decode(new ByteReader(coder.name, bytes), tokens, hiddenSize, device);
  expect(after.device).toBe(device);
  return after.data("float32");
}

describe("transforms on WebGPU", () => {
  it.each(sizes)("are those of the CPU for %i × %i rows", async (tokens, hiddenSize) => {
    const values = randomValues(tokens * hiddenSize, 3);
    const before = memory("webgpu").allocations;
    for (const mode of modes) {
      const [gpu, cpu] = [
        await blockOn("webgpu", values, [tokens, hiddenSize], mode),
        await blockOn("cpu", values, [tokens, hiddenSize], mode),
      ];
      expect(relativeError(gpu, cpu)).toBeLessThan(1e-5);
    }
    expect(memory("webgpu").allocations).toBe(before);
  });

  it.each(sizes)("code %i × %i rows as on the CPU", async (tokens, hiddenSize) => {
    const values = randomValues(tokens * hiddenSize, 5);
    const size = [tokens, hiddenSize] as const;
    const shape = { kind: "tokenShare", tokenShare: 0.5 } as const;
    const coders = [fourierCoder("hermitian", { shape, component: "float16" }), cosineCoder({ shape, component: "float16" })];
    if (tokens > 1) coders.push(lowRankCoder("svd"));
    const before = memory("webgpu").allocations;
    for (const coder of coders) {
      const target: RowTarget =
        coder.name === "svd" ? { kind: "elements", elements: 2 * (tokens + hiddenSize) } : { kind: "relativeError", relativeError: 0.5 };
      const [gpu, cpu] = [await codedOn("webgpu", coder, values, size, target), await codedOn("cpu", coder, values, size, target)];
      // Rounding to float16 may fall to the other side.
      expect(relativeError(gpu, cpu)).toBeLessThan(1e-3);
    }
    expect(memory("webgpu").allocations).toBe(before);
  });
});
