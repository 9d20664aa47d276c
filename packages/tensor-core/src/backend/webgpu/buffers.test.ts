import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutOfMemoryError } from "../../errors.ts";
import { BufferPool, capacityFor, type BufferSource } from "./buffers.ts";
import { ErrorScopes } from "./error-scopes.ts";

/** A driver that counts, and refuses as many buffers as it is told to. */
class CountingDriver implements BufferSource {
  readonly limits = { maxBufferSize: 2 ** 20 + 2, maxStorageBufferBindingSize: 2 ** 31 };
  created: number[] = [];
  destroyed = 0;
  refuse = 0;
  readonly #scopes: (GPUError | null)[] = [];

  createBuffer({ size }: GPUBufferDescriptor): GPUBuffer {
    this.created.push(size);
    if (this.refuse > 0) {
      this.refuse--;
      this.#scopes[this.#scopes.length - 2] = { message: "no memory" };
    }
    return { size, destroy: () => void this.destroyed++ } as unknown as GPUBuffer;
  }

  pushErrorScope(): undefined {
    this.#scopes.push(null);
  }

  popErrorScope(): Promise<GPUError | null> {
    return Promise.resolve(this.#scopes.pop() ?? null);
  }
}

describe("capacityFor", () => {
  it("is at least the size, wastes a quarter at most, and never falls", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 36, noNaN: true }), fc.nat(1000), (exponent, more) => {
        const size = Math.floor(2 ** exponent);
        const capacity = capacityFor(size);
        expect(capacity).toBeGreaterThanOrEqual(size);
        if (size >= 2 ** 20) expect(capacity).toBeLessThanOrEqual(Math.ceil(size * 1.125) + 16);
        else if (size > 256) expect(capacity).toBeLessThanOrEqual(Math.ceil(size * 1.25) + 16);
        expect(capacity % 16).toBe(0);
        expect(capacityFor(size + more)).toBeGreaterThanOrEqual(capacity);
        expect(capacityFor(capacity)).toBe(capacity);
      }),
    );
  });

  it("has few classes", () => {
    const classes = new Set(Array.from({ length: 2 ** 16 }, (_, size) => capacityFor(size)));
    expect(classes.size).toBe(1 + 8 * 4);
  });
});

describe("BufferPool", () => {
  function poolOf(driver: CountingDriver, maximumIdleBytes = 2 ** 20): { pool: BufferPool; scopes: ErrorScopes; refusals: Error[] } {
    const refusals: Error[] = [];
    const scopes = new ErrorScopes(driver as never);
    return { pool: new BufferPool(driver, scopes, maximumIdleBytes, (error) => void refusals.push(error)), scopes, refusals };
  }

  it("hands memory out again, by size class", () => {
    const driver = new CountingDriver();
    const { pool } = poolOf(driver);
    const first = pool.allocate(1000);
    pool.free(first);
    expect(pool.needsNew(900)).toBe(false);
    expect(pool.needsNew(2000)).toBe(true);
    const second = pool.allocate(900);
    expect(second.pooled).toBe(first.pooled);
    expect(second).not.toBe(first);
    expect(driver.created).toEqual([1024]);
  });

  it("counts bytes asked for, reserved and at most", () => {
    const { pool } = poolOf(new CountingDriver());
    const [a, b] = [pool.allocate(300), pool.allocate(5)];
    expect(pool.usage()).toEqual({ allocatedBytes: 305, allocations: 2, reservedBytes: 320 + 256, peakBytes: 305 });
    pool.free(a);
    pool.free(b);
    expect(pool.usage()).toEqual({ allocatedBytes: 0, allocations: 0, reservedBytes: 576, peakBytes: 305 });
    pool.trim();
    expect(pool.usage()).toEqual({ allocatedBytes: 0, allocations: 0, reservedBytes: 0, peakBytes: 305 });
  });

  it("keeps as much idle memory as was in use at a time, and destroys the rest when told that nothing uses it", () => {
    const driver = new CountingDriver();
    const { pool } = poolOf(driver, 2048);
    const buffers = Array.from({ length: 5 }, () => pool.allocate(1024));
    for (const buffer of buffers) pool.free(buffer);
    expect(pool.usage().reservedBytes).toBe(5 * 1024);
    pool.free(pool.allocate(4096));
    expect(driver.destroyed).toBe(0);
    expect(pool.usage().reservedBytes).toBe(5 * 1024);
    pool.releaseSurplus();
    expect(driver.destroyed).toBe(1);
  });

  it("keeps a little idle memory however little was in use", () => {
    const driver = new CountingDriver();
    const { pool } = poolOf(driver, 2048);
    for (const size of [256, 512, 1024]) pool.free(pool.allocate(size));
    pool.releaseSurplus();
    expect(driver.destroyed).toBe(0);
  });

  it("says at once what no buffer can hold, and takes exactly the limit", () => {
    const driver = new CountingDriver();
    const { pool } = poolOf(driver);
    expect(() => pool.allocate(2 ** 20 + 1)).toThrow(OutOfMemoryError);
    expect(() => pool.allocate(2 ** 20 + 1)).toThrow(/1048577 bytes .* \(1048576\)/);
    expect(pool.allocate(2 ** 20).pooled.capacity).toBe(2 ** 20);
    expect(pool.usage().allocations).toBe(1);
  });

  it("marks what the driver refuses, and does not hand it out again", async () => {
    const driver = new CountingDriver();
    const { pool, scopes, refusals } = poolOf(driver);
    driver.refuse = 1;
    const refused = pool.allocate(1000);
    // Freed and given to another tensor before anybody knows.
    pool.free(refused);
    const other = pool.allocate(1000);
    pool.free(other);
    await Promise.all(scopes.takeVerdicts());
    expect(refused.failure).toBeInstanceOf(OutOfMemoryError);
    expect(other.failure).toBe(refused.failure);
    expect(refusals).toEqual([refused.failure]);
    const fresh = pool.allocate(1000);
    expect(fresh.pooled).not.toBe(refused.pooled);
    expect(fresh.failure).toBe(undefined);
    expect(pool.usage()).toMatchObject({ allocatedBytes: 1000, reservedBytes: 1024 });
  });
});
