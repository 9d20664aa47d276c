/** General compressors on the same quantised activations, as one byte a value. */
import {
  brotliCompressSync, brotliDecompressSync, constants, deflateRawSync, inflateRawSync, zstdCompressSync, zstdDecompressSync,
} from "node:zlib";
import { quantizedActivations } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

interface Compressor {
  readonly version: string;
  compress(bytes: Uint8Array): Uint8Array;
  decompress(bytes: Uint8Array): Uint8Array;
}

async function openCompressor(name: string | undefined): Promise<Compressor> {
  switch (name) {
    case "zstd-wasm": {
      const { init, compress, decompress } = await import("@bokuweb/zstd-wasm");
      await init();
      return { version: packageVersion("@bokuweb/zstd-wasm"), compress: (bytes) => compress(bytes, 3), decompress };
    }
    case "zstd":
      return { version: process.versions["zstd"] ?? "", compress: (bytes) => zstdCompressSync(bytes), decompress: zstdDecompressSync };
    case "brotli": {
      // Its default takes seconds; 5 is what servers use on the fly.
      const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } };
      return {
        version: process.versions["brotli"] ?? "",
        compress: (bytes) => brotliCompressSync(bytes, options),
        decompress: brotliDecompressSync,
      };
    }
    case "deflate":
      return { version: process.versions["zlib"] ?? "", compress: (bytes) => deflateRawSync(bytes), decompress: inflateRawSync };
    default:
      throw new Error(`no compressor called ${name}`);
  }
}

async function prepare(task: Task, { compress, decompress }: Compressor): Promise<Prepared | undefined> {
  if (task.kind !== "entropy") return undefined;
  const symbols = quantizedActivations(task.shape, task.step);
  const bytes = new Uint8Array(symbols.buffer);
  const compressed = compress(bytes);
  if (Buffer.compare(decompress(compressed), bytes) !== 0) throw new Error("does not give back what it was given");
  return {
    run: task.part === "encode" ? () => void compress(bytes) : () => void decompress(compressed),
    // It is lossless, as checked above; ours reconstructs values, not these bytes.
    sample: () => [],
    bytes: compressed.length,
  };
}

export const adapter: Adapter = {
  async open(_threads, variant) {
    const compressor = await openCompressor(variant);
    return { version: compressor.version, prepare: (task) => prepare(task, compressor) };
  },
};
