import type { WebGpuBuffer } from "./buffers.ts";
import { entryPoint, u32, workgroupGrid } from "./program.ts";
import type { WebGpuRuntime } from "./runtime.ts";

/**
 * Sends bytes to a buffer. WebGPU writes whole words only: a tail that ends the buffer is padded (the padding belongs to nobody); bytes
 * amid others go through a kernel that leaves their neighbours alone.
 */
export function writeBytes(runtime: WebGpuRuntime, buffer: WebGpuBuffer, byteOffset: number, bytes: Uint8Array): void {
  const { byteLength } = bytes;
  if (byteLength === 0) return;
  const endsBuffer = byteOffset + byteLength === buffer.byteLength;
  if (byteOffset % 4 === 0 && (byteLength % 4 === 0 || endsBuffer)) {
    runtime.queue.write(buffer, byteOffset, padded(bytes));
    return;
  }
  const source = runtime.allocate(byteLength);
  runtime.queue.write(source, 0, padded(bytes));
  runtime.launch({
    name: "writeBytes",
    bindings: {
      source: { buffer: source, access: "read", type: "u32", offset: 0 },
      target: { buffer, access: "write", type: "atomic<u32>", offset: byteOffset },
    },
    uniforms: { count: u32(byteLength) },
    workgroups: workgroupGrid(Math.ceil(byteLength / 64)),
    code: () =>
      entryPoint(
        64,
        `  if (index >= uniforms.count) { return; }
  let byte = (source[index / 4u] >> (8u * (index % 4u))) & 0xffu;
  let place = index + uniforms.targetOffset;
  let shift = 8u * (place % 4u);
  atomicAnd(&target[place / 4u], ~(0xffu << shift));
  atomicOr(&target[place / 4u], byte << shift);`,
      ),
  });
  runtime.free(source);
}

/** Whole words on memory that WebGPU accepts (not shared between threads). */
function padded(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.byteLength % 4 === 0 && bytes.buffer instanceof ArrayBuffer) return bytes as Uint8Array<ArrayBuffer>;
  const copy = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  copy.set(bytes);
  return copy;
}
