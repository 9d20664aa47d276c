import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { unpackKernels } from "../runtime-instance.ts";
import { baselineKernels } from "./baseline.wasm.ts";
import { kernelNames } from "./kernel-exports.ts";
import { decodeLzma } from "./lzma.ts";
import { relaxedKernels } from "./relaxed.wasm.ts";
import { joinModule, splitModule } from "./wasm-streams.ts";

/** `printf 'the cat sat on the mat, the cat sat on the hat' | xz --format=lzma -9 | base64` */
const xzStream = "XQAAAAT//////////wA6GgjOdkliH4NoP/O1o1S0jWvNjoUlWZOd/osyH//75SAA";
const require = createRequire(import.meta.url);
const { LZMA } = require("lzma/src/lzma_worker.js") as { LZMA: { compress(bytes: Uint8Array, level: number): number[] } };

describe("decodeLzma", () => {
  it("gives back what was compressed: noise, runs, repeats near and far", () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.tuple(fc.nat(255), fc.nat(600)).map(([value, length]) => new Uint8Array(length).fill(value)),
      fc
        .tuple(fc.uint8Array({ minLength: 1, maxLength: 9 }), fc.nat(60))
        .map(([unit, times]) => Uint8Array.from({ length: unit.length * times }, (_, i) => unit[i % unit.length]!)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom(1, 5, 9), (pieces, level) => {
        const bytes = Uint8Array.from(pieces.flatMap((part) => [...part]));
        fc.pre(bytes.length > 0);
        expect(Buffer.compare(decodeLzma(Uint8Array.from(LZMA.compress(bytes, level))), bytes)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("reads what xz writes", () => {
    const stream = Buffer.from(xzStream, "base64");
    const text = "the cat sat on the mat, the cat sat on the hat";
    // xz leaves the length open (all ones) and ends with a marker; say the length instead.
    stream.writeBigUInt64LE(BigInt(text.length), 5);
    expect(Buffer.from(decodeLzma(stream)).toString()).toBe(text);
  });

  it("refuses a match from before the start", () => {
    const stream = Uint8Array.from(LZMA.compress(new Uint8Array(1000).fill(7), 9));
    stream.fill(0xff, 14);
    expect(() => decodeLzma(stream)).toThrow(/damaged/);
  });
});

describe("the stored kernels", () => {
  it.each([
    ["baseline", baselineKernels],
    ["relaxed", relaxedKernels],
  ])("%s are a module that splits and joins again", (_, stored) => {
    const binary = unpackKernels(stored);
    expect(WebAssembly.Module.exports(new WebAssembly.Module(binary)).map(({ name }) => name)).toEqual(kernelNames);
    expect(Buffer.compare(joinModule(splitModule(binary)), binary)).toBe(0);
  });

  it("a module with instructions that the walk does not know is refused", () => {
    // (func (atomic.fence)), never emitted by AssemblyScript for these kernels.
    const module = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 7, 1, 5, 0, 0xfe, 3, 0, 0x0b);
    expect(() => splitModule(module)).toThrow(/unexpected instruction/);
  });
});
