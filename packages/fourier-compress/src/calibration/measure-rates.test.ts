import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { karhunenLoeveCoder } from "../codecs/karhunen-loeve.ts";
import { activationLikeRows } from "../codecs/karhunen-loeve.testing.ts";
import { CodecTargetError } from "../errors.ts";
import { calibrateRows } from "./calibrate.ts";
import type { CalibrationRows } from "./collect-rows.ts";
import type { CodecTable } from "./codec-table.ts";

const width = 64;

function rowsOf(rows: Float32Array): CalibrationRows {
  return { hiddenSize: width, rows, tokens: [rows.length / width], spikeNorm: 1e9 };
}

/** Coded bytes a token of rows. */
async function bytesPerToken(table: CodecTable, rows: Float32Array, step: number): Promise<number> {
  using hidden = tensor(rows, [rows.length / width, width]);
  return ((await karhunenLoeveCoder(table).encode(hidden, { kind: "step", step })).bytes.length * width) / rows.length;
}

describe("measured rates", () => {
  it("are those of text to come, though a basis fits its own rows better", async () => {
    const { allocations } = memory();
    const others = activationLikeRows(800, width, 6);
    let [ofTable, ofOwn, points] = [0, 0, 0];
    // Few rows differ from others by chance: on average over some tables they do not.
    for (const seed of [5, 15, 25, 35, 45, 55]) {
      const rows = activationLikeRows(3 * width, width, seed);
      const table = await calibrateRows(rowsOf(rows), { model: "test", block: 1 });
      expect(Object.keys(table.rates).sort()).toEqual(["channel", "klt"]);
      const steps = table.rates.klt!.map((point) => point.step);
      expect(steps).toEqual(steps.toSorted((a, b) => a - b));
      for (const point of table.rates.klt!.slice(2, 8)) {
        const expected = await bytesPerToken(table, others, point.step);
        ofTable += point.bytesPerToken / expected;
        ofOwn += (await bytesPerToken(table, rows, point.step)) / expected;
        points++;
      }
    }
    expect(ofTable / points).toBeGreaterThan(0.97);
    expect(ofTable / points).toBeLessThan(1.08);
    expect(ofOwn / points).toBeLessThan(0.93);
    expect(memory().allocations).toBe(allocations);
  });

  it("refuses rows of zeros, and ends on request", async () => {
    await expect(calibrateRows(rowsOf(new Float32Array(32 * width)), { model: "test", block: 1 })).rejects.toThrow(CodecTargetError);
    const rows = rowsOf(activationLikeRows(32, width, 7));
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(calibrateRows(rows, { model: "test", block: 1, basis: false, signal })).rejects.toThrow("enough");
  });
});
