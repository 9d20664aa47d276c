import { describe, expect, it } from "vitest";
import { isOrdered } from "./subgroup-probe.ts";

describe("subgroups", () => {
  const report = (of: (lane: number) => readonly [size: number, place: number, neighbour: number, active: number]): Uint32Array =>
    Uint32Array.from(Array.from({ length: 256 }, (_, lane) => of(lane)).flat());

  it.each([4, 8, 32, 64, 128])("of %i neighbours in order can be used", (size) => {
    expect(isOrdered(report((lane) => [size, lane % size, lane ^ 1, size]))).toBe(true);
  });

  it("in another order, of other sizes or with lanes missing cannot", () => {
    expect(isOrdered(report((lane) => [32, Math.floor(lane / 8), lane ^ 1, 32]))).toBe(false);
    expect(isOrdered(report((lane) => [32, lane % 32, lane ^ 2, 32]))).toBe(false);
    expect(isOrdered(report((lane) => [lane < 128 ? 32 : 16, lane % 32, lane ^ 1, 32]))).toBe(false);
    expect(isOrdered(report((lane) => [64, lane % 64, lane ^ 1, 32]))).toBe(false);
    expect(isOrdered(report(() => [0, 0, 0, 0]))).toBe(false);
  });
});
