import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { Heap, type HeapBuffer } from "./heap.ts";

describe("Heap", () => {
  it("gives aligned blocks that never overlap, whatever the order of allocation and release", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 3_000_000 }), fc.boolean()), { maxLength: 60 }), (steps) => {
        const heap = new Heap();
        const live: HeapBuffer[] = [];
        for (const [byteLength, release] of steps) {
          const buffer = heap.allocate(byteLength);
          expect(buffer.pointer % 64).toBe(0);
          expect(buffer.capacity).toBeGreaterThanOrEqual(byteLength);
          expect(buffer.pointer + buffer.capacity).toBeLessThanOrEqual(heap.memory.buffer.byteLength);
          for (const other of live) {
            const apart = buffer.pointer + buffer.capacity <= other.pointer || other.pointer + other.capacity <= buffer.pointer;
            expect(apart).toBe(true);
          }
          live.push(buffer);
          if (release) heap.free(live.splice(live.length >> 1, 1)[0]!);
        }
        for (const buffer of live) heap.free(buffer);
        expect(heap.usage().allocations).toBe(0);
        expect(heap.usage().allocatedBytes).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  it("reuses what was freed: the same work twice does not grow the memory", () => {
    const heap = new Heap();
    const work = (): void => {
      const buffers = [100, 5000, 70_000, 900_000, 1_100_000, 8_000_000, 33_000_000].map((size) => heap.allocate(size));
      for (const buffer of buffers) heap.free(buffer);
    };
    work();
    const reserved = heap.usage().reservedBytes;
    for (let i = 0; i < 10; i++) work();
    expect(heap.usage().reservedBytes).toBe(reserved);
  });

  it("takes blocks of no bytes back too", () => {
    const heap = new Heap();
    heap.free(heap.allocate(0));
    const { pointer } = heap.allocate(0);
    for (let i = 0; i < 1000; i++) {
      const buffer = heap.allocate(0);
      heap.free(buffer);
      expect(buffer.pointer - pointer).toBe(64);
    }
  });

  it("refuses what cannot fit with a typed error and stays usable", () => {
    const heap = new Heap();
    expect(() => heap.allocate(5 * 2 ** 30)).toThrow(/heap cannot grow/);
    expect(heap.allocate(64).capacity).toBe(64);
  });
});
