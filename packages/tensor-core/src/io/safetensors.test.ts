import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  readerFromBlob,
  readerFromBytes,
  readerFromFile,
  readerFromRange,
  RandomAccessError,
  type RandomAccessReader,
} from "./random-access.ts";
import { openSafetensors, SafetensorsError, serializeSafetensors, writeSafetensorsFile, type SafetensorsTensor } from "./safetensors.ts";

const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
const tensors: SafetensorsTensor[] = [
  { name: "flags", dtype: "BOOL", shape: [3], bytes: Uint8Array.of(1, 0, 1) },
  { name: "weight", dtype: "F32", shape: [2, 2], bytes: floats(1, 2, 3, 4) },
  { name: "empty", dtype: "F16", shape: [0, 7], bytes: new Uint8Array(0) },
  { name: "scalar", dtype: "I64", shape: [], bytes: new Uint8Array(BigInt64Array.of(-5n).buffer) },
];

/** A file from a header as written, right or wrong. */
function fileOf(header: unknown, dataBytes: number, declared?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, declared ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

function spied(inner: RandomAccessReader): { reader: RandomAccessReader; largest: () => number } {
  let largest = 0;
  const read = (offset: number, length: number): Promise<Uint8Array> => {
    largest = Math.max(largest, length);
    return inner.read(offset, length);
  };
  return { reader: { ...inner, read }, largest: () => largest };
}

describe("safetensors", () => {
  it("reads back what it wrote, aligned to the elements", async () => {
    const file = await openSafetensors(readerFromBytes(await serializeSafetensors(tensors, { format: "pt" })));
    expect([...file.entries.keys()].toSorted()).toEqual(["empty", "flags", "scalar", "weight"]);
    expect(file.metadata).toEqual(new Map([["format", "pt"]]));
    expect(file.entries.get("weight")).toMatchObject({ dtype: "F32", shape: [2, 2], byteLength: 16 });
    for (const { name, bytes } of tensors) expect([...(await file.read(name))]).toEqual([...(bytes as Uint8Array)]);
    for (const { dtype, offset } of file.entries.values()) expect(offset % (dtype === "I64" ? 8 : dtype === "F32" ? 4 : 1)).toBe(0);
    await expect(file.read("absent")).rejects.toBeInstanceOf(SafetensorsError);
  });

  it("reads the format's own layout, byte by byte", async () => {
    const file = fileOf(
      '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"data_offsets":[2,4],"dtype":"BF16","shape":[1,1]}}  ',
      4,
    );
    file.set([9, 8, 7, 6], file.length - 4);
    const opened = await openSafetensors(readerFromBytes(file));
    expect([...(await opened.read("a"))]).toEqual([9, 8]);
    expect([...(await opened.read("b"))]).toEqual([7, 6]);
  });

  it("round-trips any tensors", async () => {
    const tensor = fc.record({ name: fc.string().filter((name) => name !== "__metadata__"), shape: fc.array(fc.nat(4), { maxLength: 3 }) });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 6 }), async (list) => {
        const written = list.map(({ name, shape }, index): SafetensorsTensor => {
          const count = shape.reduce((product, size) => product * size, 1);
          return { name, dtype: "U16", shape, bytes: new Uint8Array(2 * count).fill(index) };
        });
        const file = await openSafetensors(readerFromBytes(await serializeSafetensors(written)));
        expect(file.entries.size).toBe(list.length);
        for (const { name, bytes } of written) expect([...(await file.read(name))]).toEqual([...(bytes as Uint8Array)]);
      }),
    );
  });

  it("refuses hostile headers by name", async () => {
    const entry = (dtype: unknown, shape: unknown, offsets: unknown): unknown => ({ a: { dtype, shape, data_offsets: offsets } });
    const hostile: [string, Uint8Array][] = [
      ["too few", new Uint8Array(7)],
      ["does not fit", fileOf({}, 0, 2n ** 63n)],
      ["does not fit", fileOf({}, 0, 3n)],
      ["not JSON", fileOf("{", 0)],
      ["not JSON", fileOf("", 0)],
      ["not an object", fileOf([], 0)],
      ["not an object", fileOf({ a: 5 }, 0)],
      ["not known", fileOf(entry("F31", [1], [0, 4]), 4)],
      ["not known", fileOf(entry("__proto__", [1], [0, 4]), 4)],
      ["not a list of sizes", fileOf(entry("F32", [-1], [0, 4]), 4)],
      ["not a list of sizes", fileOf(entry("F32", [1.5], [0, 4]), 4)],
      ["not a list of sizes", fileOf(entry("F32", Array(33).fill(1), [0, 4]), 4)],
      ["not two offsets", fileOf(entry("F32", [1], [0]), 4)],
      ["not two offsets", fileOf(entry("F32", [1], [0, "4"]), 4)],
      ["not inside", fileOf(entry("F32", [1], [4, 0]), 4)],
      ["not inside", fileOf(entry("F32", [2], [0, 8]), 4)],
      ["takes 8 bytes", fileOf(entry("F32", [2], [0, 4]), 4)],
      ["takes", fileOf(entry("F32", [2 ** 31, 2 ** 31, 2 ** 31], [0, 4]), 4)],
      ["leaves a gap", fileOf(entry("F32", [1], [4, 8]), 8)],
      ["the file at", fileOf(entry("F32", [1], [0, 4]), 8)],
      [
        "overlaps",
        fileOf({ a: { dtype: "U8", shape: [4], data_offsets: [0, 4] }, b: { dtype: "U8", shape: [2], data_offsets: [2, 4] } }, 4),
      ],
      ["not text", fileOf({ __metadata__: { a: 1 } }, 0)],
    ];
    for (const [message, bytes] of hostile) {
      const error = await openSafetensors(readerFromBytes(bytes)).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error, message).toBeInstanceOf(SafetensorsError);
      expect((error as Error).message).toContain(message);
    }
  });

  it("gives typed errors for random, truncated and flipped bytes, and reads the header alone", async () => {
    const good = await serializeSafetensors(tensors, { format: "pt" });
    const attempt = async (bytes: Uint8Array): Promise<void> => {
      const { reader, largest } = spied(readerFromBytes(bytes));
      const error = await openSafetensors(reader).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error !== undefined) expect(error).toBeInstanceOf(SafetensorsError);
      expect(largest()).toBeLessThanOrEqual(Math.max(8, bytes.length - 8));
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), attempt));
    await fc.assert(fc.asyncProperty(fc.jsonValue(), (json) => attempt(fileOf(json, 4))));
    await fc.assert(fc.asyncProperty(fc.nat(good.length - 1), (length) => attempt(good.subarray(0, length))));
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.nat(255), async (at, value) => {
        const damaged = good.slice();
        damaged[at] = value;
        await attempt(damaged);
      }),
    );
    // A file said to be huge: the header's length is refused before anything is read for it.
    const huge: RandomAccessReader = {
      byteLength: 2 ** 50,
      description: "huge",
      read: async (_, length) => new Uint8Array(length).fill(0x7f),
      close: async () => {},
    };
    const { reader, largest } = spied(huge);
    await expect(openSafetensors(reader)).rejects.toBeInstanceOf(SafetensorsError);
    expect(largest()).toBe(8);
  });

  it("refuses to write what does not fit", async () => {
    await expect(serializeSafetensors([tensors[0], tensors[0]] as SafetensorsTensor[])).rejects.toThrow("two tensors");
    await expect(serializeSafetensors([{ name: "x", dtype: "F32", shape: [2], bytes: new Uint8Array(4) }])).rejects.toThrow(
      "8 bytes, 4 were given",
    );
    await expect(serializeSafetensors([{ name: "x", dtype: "F32", shape: [-2], bytes: new Uint8Array(4) }])).rejects.toThrow(
      "no valid shape",
    );
    await expect(serializeSafetensors([{ name: "__metadata__", dtype: "U8", shape: [0], bytes: new Uint8Array(0) }])).rejects.toThrow(
      "two tensors",
    );
  });

  it("writes files in one step: an error leaves the old one and nothing else", async () => {
    const folder = await mkdtemp(join(tmpdir(), "safetensors-"));
    const path = join(folder, "model.safetensors");
    await writeSafetensorsFile(
      path,
      tensors.map((tensor) => ({ ...tensor, bytes: async () => tensor.bytes as Uint8Array })),
      { step: "7" },
    );
    const before = await readFile(path);
    expect([...before]).toEqual([...(await serializeSafetensors(tensors, { step: "7" }))]);
    const failing: SafetensorsTensor = { name: "late", dtype: "U8", shape: [4], bytes: () => Promise.reject(new Error("device lost")) };
    await expect(writeSafetensorsFile(path, [...tensors, failing])).rejects.toThrow("device lost");
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
    const file = await openSafetensors(await readerFromFile(path));
    expect(new Float32Array((await file.read("weight")).slice().buffer)).toEqual(Float32Array.of(1, 2, 3, 4));
    await file.close();
    await rm(folder, { recursive: true });
  });
});

describe("random access", () => {
  it("reads ranges of bytes, blobs, files and windows alike, and refuses those outside", async () => {
    const bytes = Uint8Array.from({ length: 100 }, (_, at) => at);
    const folder = await mkdtemp(join(tmpdir(), "random-access-"));
    const path = join(folder, "bytes");
    await writeFile(path, bytes);
    const window = readerFromRange(readerFromBytes(new Uint8Array([0, 0, ...bytes, 0])), 2, 100);
    for (const reader of [readerFromBytes(bytes), readerFromBlob(new Blob([bytes])), await readerFromFile(path), window]) {
      expect(reader.byteLength).toBe(100);
      expect([...(await reader.read(97, 3))]).toEqual([97, 98, 99]);
      expect((await reader.read(100, 0)).length).toBe(0);
      for (const [offset, length] of [
        [98, 3],
        [-1, 2],
        [0, -1],
        [0.5, 1],
        [NaN, 1],
        [0, 2 ** 60],
        [101, 0],
      ] as const) {
        await expect(reader.read(offset, length)).rejects.toBeInstanceOf(RandomAccessError);
      }
      await reader.close();
    }
    await expect(readerFromFile(join(folder, "absent"))).rejects.toBeInstanceOf(RandomAccessError);
    await expect(readerFromFile(folder)).rejects.toBeInstanceOf(RandomAccessError);
    const shrinking = await readerFromFile(path);
    await writeFile(path, bytes.subarray(0, 50));
    await expect(shrinking.read(40, 60)).rejects.toThrow("ends at 50");
    await shrinking.close();
    await rm(folder, { recursive: true });
  });
});
