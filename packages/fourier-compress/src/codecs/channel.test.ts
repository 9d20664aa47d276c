import { tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import type { CodecTable } from "../calibration/codec-table.ts";
import { ByteReader } from "./byte-reader.ts";
import { channelCoder } from "./channel.ts";
import { hadamardCoder } from "./hadamard.ts";

describe("bytes that must not change", () => {
  const values = Float32Array.of(0.5, -2, 30, 0.001, -0.7, 0, -12, 1e4);
  const table = {
    hiddenSize: 4, mean: Float32Array.of(0.1, -0.2, 3, 0), channelScale: Float32Array.of(0.5, 1, 8, 0.01), model: "", block: 1, rows: 1,
    spikeNorm: 1, secondMoment: new Float32Array(4), fourierTokenShare: 0, rates: {}, hash: "",
  } satisfies CodecTable;

  it.each([
    ["channel", channelCoder(table), [0, 63, 16, 181, 42, 191, 4, 167, 98, 28, 50, 255, 87, 39, 200, 192, 112, 78, 252]],
    ["hadamard", hadamardCoder(), [11, 128, 57, 15, 255, 239, 29, 206, 129, 36, 51, 79, 252, 87, 163, 174, 204, 7, 150]],
  ])("%s", async (_name, coder, expected) => {
    using rows = tensor(values, [2, 4]);
    const { bytes } = await coder.encode(rows, { kind: "step", step: 0.5 });
    expect([...bytes]).toEqual(expected);
    using decoded = await coder.decode(new ByteReader("test", bytes), 2, 4, "cpu");
    const read = await decoded.data("float32");
    for (const [place, value] of values.entries()) expect(Math.abs(read[place]! - value)).toBeLessThan(0.6);
  });
});
