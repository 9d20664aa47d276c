import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { float32ToFloat16Bits } from "@frugal/tensor-core";
import { EvaluationDataError } from "../errors.ts";
import { sharedData } from "../shared-data.testing.ts";
import { readActivationsFolder } from "./activations-folder.ts";

describe("readActivationsFolder", () => {
  let folder: string;
  beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "activations-"))));
  afterEach(() => rm(folder, { recursive: true }));

  const half = (values: readonly number[]): Uint16Array => Uint16Array.from(values, float32ToFloat16Bits);
  const index = {
    dtype: "float16 little-endian", hidden: 2, cal_rows: 3, test_rows: 5,
    prompts: [{ dataset: "a", row: 0, tokens: [1, 7] }, { dataset: "b", row: 2, tokens: [1, 8, 9] }],
  };
  const test = [5, 6, 1, 2, 5, 6, 3, 4, -1, -2];
  const write = async (changes: object = {}): Promise<void> => {
    await writeFile(join(folder, "index.json"), JSON.stringify({ ...index, ...changes }));
    for (const block of [2, 10]) {
      await writeFile(join(folder, `cal_l${block}.f16`), half([1, 2, 3, 4, 5, block]));
      await writeFile(join(folder, `test_l${block}.f16`), half(test));
    }
  };

  it("reads rows by prompt, and the row that all begin with", async () => {
    await write();
    const set = await readActivationsFolder(folder);
    expect(set).toMatchObject({ block: 2, hiddenSize: 2, calibration: Float32Array.of(1, 2, 3, 4, 5, 2), beginRow: Float32Array.of(5, 6) });
    expect(set.prompts.map(({ dataset, rows }) => [dataset, [...rows]])).toEqual([["a", test.slice(0, 4)], ["b", test.slice(4)]]);
    expect((await readActivationsFolder(folder, { block: 10 })).calibration.at(-1)).toBe(10);
  });

  it("has no begin row where prompts begin differently", async () => {
    await write({ prompts: [{ dataset: "a", row: 0, tokens: [1, 7] }, { dataset: "b", row: 3, tokens: [1, 9] }] });
    expect((await readActivationsFolder(folder)).beginRow).toBeUndefined();
  });

  it.each([
    ["sizes that differ from the file's", { cal_rows: 4 }, "16"],
    ["an absurd size", { hidden: 1e9 }, "hidden"],
    ["more rows than it could have read", { cal_rows: 4_000_000, hidden: 65_000 }, "bytes"],
    ["another dtype", { dtype: "float32" }, "float16 little-endian"],
    ["a prompt outside the rows", { prompts: [{ dataset: "a", row: 4, tokens: [1, 2] }] }, "ends at row 6"],
    ["no prompts", { prompts: [] }, "prompts"],
    ["broken tokens", { prompts: [{ dataset: "a", row: 0, tokens: [1.5] }] }, "tokens"],
  ])("refuses %s", async (_, changes, message) => {
    await write(changes);
    await expect(readActivationsFolder(folder)).rejects.toThrow(EvaluationDataError);
    await expect(readActivationsFolder(folder)).rejects.toThrow(message);
  });

  it("says what is missing", async () => {
    await expect(readActivationsFolder(folder)).rejects.toThrow("index.json");
    await writeFile(join(folder, "index.json"), "{");
    await expect(readActivationsFolder(folder)).rejects.toThrow("is not JSON");
    await writeFile(join(folder, "index.json"), JSON.stringify(index));
    await expect(readActivationsFolder(folder)).rejects.toThrow("of no block");
    await write();
    await expect(readActivationsFolder(folder, { block: 3 })).rejects.toThrow("not of block 3; found both for [2, 10]");
    await writeFile(join(folder, "test_l2.f16"), half([NaN, ...test.slice(1)]));
    await expect(readActivationsFolder(folder)).rejects.toThrow("row 0, feature 0 is NaN");
  });

  const shared = sharedData("tinyllama-1.1b-activations");
  it.skipIf(shared === undefined)("reads the activations of TinyLlama", async () => {
    const { name, block, hiddenSize, calibration, prompts, beginRow } = await readActivationsFolder(shared!);
    expect([name, block, hiddenSize, calibration.length / hiddenSize]).toEqual(["tinyllama-1.1b-activations", 1, 2048, 4096]);
    expect([prompts.length, prompts.reduce((sum, { tokens }) => sum + tokens.length, 0)]).toEqual([20, 1671]);
    expect(Math.hypot(...beginRow!)).toBeCloseTo(1.2, 1);
  });
});
