import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DeviceError } from "../../errors.ts";
import { parseTuning, type MatmulTuning } from "./autotune.ts";
import { loadTuning, saveTuning, tuningPath } from "./autotune-storage.ts";

const tuning: MatmulTuning = { version: 1, adapter: "maker /../ card", tiles: { float32: { huge: "128x128x16", small: "32x32x32" }, int8: {} } };

describe("stored tuning tables", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tuning-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("come back as they were", async () => {
    expect(await loadTuning(tuning.adapter, { folder })).toBeUndefined();
    const path = await saveTuning(tuning, { folder: join(folder, "deep") });
    expect(path.startsWith(join(folder, "deep"))).toBe(true);
    expect(await loadTuning(tuning.adapter, { folder: join(folder, "deep") })).toEqual(tuning);
    expect(await readdir(join(folder, "deep"))).toHaveLength(1);
  });

  it("are told apart by adapter, and stay in the folder", () => {
    expect(tuningPath("a b", { folder })).not.toBe(tuningPath("a-b", { folder }));
    expect(tuningPath("../../x", { folder }).startsWith(join(folder, "-x-"))).toBe(true);
  });

  it("lie in the user's cache", () => {
    const before = process.env["FRUGAL_CACHE"];
    try {
      process.env["FRUGAL_CACHE"] = folder;
      expect(tuningPath("card").startsWith(join(folder, "webgpu-tuning", "card-"))).toBe(true);
      delete process.env["FRUGAL_CACHE"];
      expect(tuningPath("card")).toContain(join(".cache", "frugal", "webgpu-tuning"));
    } finally {
      if (before === undefined) delete process.env["FRUGAL_CACHE"];
      else process.env["FRUGAL_CACHE"] = before;
    }
  });

  it.each([
    ["no JSON", "{"],
    ["another adapter's", JSON.stringify({ ...tuning, adapter: "other" })],
    ["too long", " ".repeat(70_000)],
  ])("that are %s are refused with the file's name", async (_, text) => {
    const path = tuningPath(tuning.adapter, { folder });
    await writeFile(path, text);
    const error = await loadTuning(tuning.adapter, { folder }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DeviceError);
    expect((error as Error).message).toContain(path);
  });
});

describe("parseTuning", () => {
  it("takes what autotune gives, and drops what it does not know of", () => {
    expect(parseTuning(JSON.parse(JSON.stringify(tuning)))).toEqual(tuning);
    expect(parseTuning({ ...tuning, extra: 1 })).toEqual(tuning);
  });

  it.each([
    [null, /null/],
    [[], /not an object/],
    [{ ...tuning, version: 2 }, /version is 2/],
    [{ ...tuning, adapter: "x".repeat(2000) }, /adapter/],
    [{ ...tuning, tiles: [] }, /tiles is not/],
    [{ ...tuning, tiles: { float64: {} } }, /float64/],
    [{ ...tuning, tiles: { float32: null } }, /tiles\.float32/],
    [{ ...tuning, tiles: { float32: { tiny: "32x32x32" } } }, /tiny/],
    [{ ...tuning, tiles: { float32: { huge: "7x7" } } }, /tiles\.float32\.huge/],
    [{ ...tuning, tiles: { float32: { huge: "toString" } } }, /tiles\.float32\.huge/],
  ])("refuses %j", (value, message) => {
    expect(() => parseTuning(value)).toThrow(DeviceError);
    expect(() => parseTuning(value)).toThrow(message);
  });
});
