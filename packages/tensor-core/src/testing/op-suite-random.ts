import { describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { Generator } from "../random/random.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Generators and what they draw. */
export function randomSuite(device: DeviceName): void {
  const valuesOf = async (source: Tensor): Promise<number[]> => [...(await source.data())];

  describe(`random numbers on "${device}"`, () => {
    const drawn = async (run: () => Tensor): Promise<number[]> => {
      using made = run();
      return valuesOf(made);
    };

    it("follow the seed, and go on from where they were", async () => {
      const [a, b] = [new Generator(42), new Generator(42)];
      const whole = await drawn(() => a.normal([6], 0, 1, { device }) as Tensor);
      expect(await drawn(() => b.normal([2, 3], 0, 1, { device }) as Tensor)).toEqual(whole);
      const next = await drawn(() => a.uniform([4], 0, 1, { device }) as Tensor);
      expect(await drawn(() => b.uniform([2], 0, 1, { device }) as Tensor)).toEqual(next.slice(0, 2));
      expect(await drawn(() => b.uniform([2], 0, 1, { device }) as Tensor)).toEqual(next.slice(2));
      const resumed = new Generator(0);
      resumed.state = JSON.parse(JSON.stringify(a.state)) as typeof a.state;
      expect(await drawn(() => resumed.uniform([5], 0, 1, { device }) as Tensor)).toEqual(
        await drawn(() => a.uniform([5], 0, 1, { device }) as Tensor),
      );
      expect(await drawn(() => new Generator(43).normal([6], 0, 1, { device }) as Tensor)).not.toEqual(whole);
      expect(() => new Generator(0.5)).toThrow(RangeError);
    });

    it("have the moments they say", async () => {
      const generator = new Generator(2 ** 40 + 3);
      const many = 20_001;
      const moments = (values: readonly number[]): { mean: number; spread: number } => {
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        return { mean, spread: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
      };
      const uniform = await drawn(() => generator.uniform([many], -2, 4, { device }) as Tensor);
      expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-2);
      expect(Math.max(...uniform)).toBeLessThan(4);
      expect(Math.abs(moments(uniform).mean - 1)).toBeLessThan((5 * Math.sqrt(3)) / Math.sqrt(many));
      expect(moments(uniform).spread).toBeCloseTo(Math.sqrt(3), 1);
      const normal = await drawn(() => generator.normal([many], 3, 0.5, { device }) as Tensor);
      expect(Math.abs(moments(normal).mean - 3)).toBeLessThan((5 * 0.5) / Math.sqrt(many));
      expect(moments(normal).spread).toBeCloseTo(0.5, 1);
      const beyond = normal.filter((value) => Math.abs(value - 3) > 1).length / many;
      expect(Math.abs(beyond - 0.0455)).toBeLessThan(0.008);
      const bits = await drawn(() => generator.bits([1000], { device }) as Tensor);
      const ones = bits.reduce((sum, word) => sum + [...(word >>> 0).toString(2)].filter((bit) => bit === "1").length, 0);
      expect(Math.abs(ones / 32_000 - 0.5)).toBeLessThan(0.015);
      expect(new Set(bits).size).toBe(1000);
    });

    it("never reach the upper bound, also where float32 is coarse", async () => {
      const coarse = await drawn(() => new Generator(1).uniform([4096], 100, 101, { device }) as Tensor);
      const many = await drawn(() => new Generator(3).uniform([1_500_000], 1000, 1001, { device }) as Tensor);
      for (const [values, low, high] of [[coarse, 100, 101], [many, 1000, 1001]] as const) {
        expect(values.every((value) => value >= low && value < high)).toBe(true);
      }
      const below = await drawn(() => new Generator(3).uniform([100_000], -(2 ** 24) - 2, -(2 ** 24), { device }) as Tensor);
      expect(new Set(below)).toEqual(new Set([-(2 ** 24) - 2]));
    });

    it("split into independent streams", async () => {
      const parent = new Generator(1);
      const streams = [parent.split(0), parent.split(1), parent.split(0), new Generator(2).split(0), parent.split(0).split(0)];
      const draws = await Promise.all(streams.map((each) => drawn(() => each.uniform([500], 0, 1, { device }) as Tensor)));
      expect(draws[2]).toEqual(draws[0]);
      const correlation = (a: readonly number[], b: readonly number[]): number =>
        (12 * a.reduce((sum, value, i) => sum + (value - 0.5) * (b[i]! - 0.5), 0)) / a.length;
      const own = await drawn(() => parent.uniform([500], 0, 1, { device }) as Tensor);
      for (const other of [draws[1]!, draws[3]!, draws[4]!, own])
        expect(Math.abs(correlation(draws[0]!, other))).toBeLessThan(5 / Math.sqrt(500));
      // Splitting takes nothing from the parent.
      expect(own).toEqual(await drawn(() => new Generator(1).uniform([500], 0, 1, { device }) as Tensor));
    });

    it("are the same on every device", async () => {
      const pairs = await Promise.all(
        (["reference", device] as const).map(async (place) => {
          const generator = new Generator(77);
          return {
            bits: await drawn(() => generator.bits([33], { device: place }) as Tensor),
            uniform: await drawn(() => generator.uniform([3, 11], 0, 1, { device: place }) as Tensor),
            normal: await drawn(() => generator.normal([35], 1, 2, { device: place }) as Tensor),
            host: [generator.next(), generator.next()],
          };
        }),
      );
      const [reference, other] = pairs as [(typeof pairs)[0], (typeof pairs)[0]];
      expect(other.bits).toEqual(reference.bits);
      expect(other.uniform).toEqual(reference.uniform);
      expect(other.host).toEqual(reference.host);
      other.normal.forEach((value, i) => expect(value).toBeCloseTo(reference.normal[i]!, 5));
    });

    it("draw nothing for empty shapes", async () => {
      const generator = new Generator(1);
      expect(await drawn(() => generator.normal([0, 3], 0, 1, { device }) as Tensor)).toEqual([]);
      expect(generator.state.counter).toBe(0);
      expect(() => generator.uniform([-1], 0, 1, { device })).toThrow(ShapeError);
    });
  });
}
