import { createReferenceBackend } from "../backend/reference/index.ts";
import { ExactBuffer } from "../backend/reference/memory.ts";
import type { Backend, DeviceBuffer } from "../backend/backend.ts";

/**
 * The reference device with float64 storage behind every dtype, so that finite differences of whole operations have ten correct
 * digits. Data written as bytes is taken as float32, or as int32 where it is no ordinary float; tests read `ExactBuffer.values`
 * instead of bytes.
 */
export function createExactBackend(): Backend {
  const live = new Set<DeviceBuffer>();
  return {
    ...createReferenceBackend(),
    allocate(byteLength) {
      // One number a byte is enough for every dtype.
      const buffer = new ExactBuffer(new Float64Array(byteLength));
      live.add(buffer);
      return buffer;
    },
    free(buffer) {
      if (!live.delete(buffer)) throw new Error("freed twice");
    },
    write(buffer, byteOffset, bytes) {
      if (byteOffset !== 0 || bytes.byteLength % 4 !== 0) throw new Error("the exact backend takes whole 4-byte tensors");
      const copy = bytes.slice().buffer;
      const floats = new Float32Array(copy);
      const words = new Int32Array(copy);
      const isInteger = (word: number): boolean => word !== 0 && Math.abs(word) < 2 ** 22;
      floats.forEach((float, i) => ((buffer as ExactBuffer).values[i] = isInteger(words[i]!) ? words[i]! : float));
    },
    memory: () => ({ allocatedBytes: 0, allocations: live.size, reservedBytes: 0, peakBytes: 0 }),
  };
}
