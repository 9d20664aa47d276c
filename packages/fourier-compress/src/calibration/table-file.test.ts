import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CodecTableError } from "../errors.ts";
import type { CodecTable } from "./codec-table.ts";
import { withHash } from "./hash-table.ts";
import { parseCodecTable, readCodecTable, serializeCodecTable, writeCodecTable, type CodecTableFiles } from "./table-file.ts";

async function makeTable(): Promise<CodecTable> {
  return await withHash({
    model: "test", block: 2, hiddenSize: 2, rows: 7, mean: Float32Array.of(1, 2), channelScale: Float32Array.of(0.5, 0.25),
    secondMoment: Float32Array.of(2, 3), basis: Float32Array.of(0.6, 0.8, -0.8, 0.6), coefficientScale: Float32Array.of(1, 0.1),
    spikeNorm: 12.5, fourierTokenShare: 0.25, rates: { klt: [{ step: 0.5, bytesPerToken: 3, relativeError: 0.25 }] },
  });
}

describe("codec table files", () => {
  it("come back as they were", async () => {
    const table = await makeTable();
    expect(await parseCodecTable(await serializeCodecTable(table))).toEqual(table);
    const folder = await mkdtemp(join(tmpdir(), "codec-table-"));
    try {
      const path = join(folder, "tables", "block2");
      expect(await writeCodecTable(path, table)).toEqual([`${path}.json`, `${path}.safetensors`]);
      for (const name of [path, `${path}.json`, `${path}.safetensors`]) expect(await readCodecTable(name)).toEqual(table);
      await writeFile(`${path}.json`, (await readFile(`${path}.json`, "utf8")).replace('"block": 2', '"block": 3'));
      await expect(readCodecTable(path)).rejects.toThrow(/hashes to [0-9a-f]{64}, its description says/);
      await expect(readCodecTable(join(folder, "none"))).rejects.toThrow("`fourier-compress calibrate` makes codec tables");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("hash everything in them", async () => {
    const table = await makeTable();
    const { hash, ...rest } = table;
    expect(hash).toBe("fae6afdc18244292fe803e6345563e012473c716662d0777d7457e59d92d481f");
    const variants = [
      { ...rest, block: 3 }, { ...rest, model: "other" }, { ...rest, spikeNorm: 13 }, { ...rest, rates: {} },
      { ...rest, mean: Float32Array.of(1, 2.0000002) }, { ...rest, beginRow: Float32Array.of(0, 0) },
      { ...rest, basis: undefined } as unknown as typeof rest,
    ];
    const hashes = await Promise.all(variants.map(async (variant) => (await withHash(variant)).hash));
    expect(new Set([hash, ...hashes]).size).toBe(variants.length + 1);
  });

  it("are refused with their fault named", async () => {
    const { json, safetensors } = await serializeCodecTable(await makeTable());
    const expectRefusal = async (files: Partial<CodecTableFiles>, message: string): Promise<void> => {
      const error: unknown = await parseCodecTable({ json, safetensors, ...files }).catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(CodecTableError);
      expect((error as Error).message).toContain(message);
    };
    await expectRefusal({ json: "{" }, "not JSON");
    await expectRefusal({ json: json.replace('"version": 1', '"version": 2') }, "version");
    await expectRefusal({ json: json.replace('"hiddenSize": 2', '"hiddenSize": 3') }, "the codec table needs F32 [3]");
    await expectRefusal({ json: json.replace('"hiddenSize": 2', '"hiddenSize": 1e9') }, "hiddenSize");
    await expectRefusal({ json: json.replace('"rows"', '"row"') }, "row");
    await expectRefusal({ safetensors: safetensors.subarray(0, 40) }, "not a safetensors file");
    const flipped = safetensors.slice();
    flipped[flipped.length - 2]! ^= 1;
    await expectRefusal({ safetensors: flipped }, "hashes to");
    const broken = safetensors.slice();
    broken.fill(0xff, broken.length - 4);
    await expectRefusal({ safetensors: broken }, "holds NaN");
  });
});
