import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { openLaneDevice } from "../webgpu-lane.testing.ts";
import { ByteReader } from "./byte-reader.ts";
import { channelCoder } from "./channel.ts";
import { hadamardCoder } from "./hadamard.ts";
import { karhunenLoeveCoder } from "./karhunen-loeve.ts";
import { activationLikeRows, activationLikeTable, relativeError } from "./karhunen-loeve.testing.ts";
import { principalComponentsCoder } from "./principal-components.ts";

await openLaneDevice();

const width = 48;
const table = await activationLikeTable(width);

describe.each([
  ["klt", karhunenLoeveCoder(table)],
  ["channel", channelCoder(table)],
  ["hadamard", hadamardCoder()],
  ["pca-int8", principalComponentsCoder(table, "int8")],
] as const)("%s on WebGPU", (_name, coder) => {
  it.each([1, 9])("codes %i rows as the CPU does, and each reads the other's bytes", async (tokens) => {
    const before = memory("webgpu").allocations;
    const values = activationLikeRows(tokens, width, 6);
    const bodies = [];
    for (const device of ["cpu", "webgpu"] as const) {
      using rows = tensor(values, [tokens, width], { device });
      bodies.push((await coder.encode(rows, { kind: "relativeError", relativeError: 0.2 })).bytes);
    }
    // Rounding differs, so that a value now and then takes another symbol.
    expect(Math.abs(bodies[0]!.length - bodies[1]!.length)).toBeLessThanOrEqual(8);
    for (const [device, body] of [["webgpu", bodies[0]!], ["cpu", bodies[1]!]] as const) {
      using decoded = await coder.decode(new ByteReader(coder.name, body), tokens, width, device);
      expect(relativeError(await decoded.data("float32"), values)).toBeLessThan(0.2001);
    }
    expect(memory("webgpu").allocations).toBe(before);
  });
});
