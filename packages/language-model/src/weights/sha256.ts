import type { RandomAccessReader } from "@frugal/tensor-core";
import { nodeModule } from "@frugal/tensor-core/node";

const CHUNK_BYTES = 1 << 22;

/** SHA-256 of a whole reader in hexadecimal, a few megabytes at a time (Node). */
export async function sha256OfReader(reader: RandomAccessReader): Promise<string> {
  const { createHash } = nodeModule("node:crypto");
  const hash = createHash("sha256");
  for (let offset = 0; offset < reader.byteLength; offset += CHUNK_BYTES) {
    hash.update(await reader.read(offset, Math.min(CHUNK_BYTES, reader.byteLength - offset)));
  }
  return hash.digest("hex");
}
