import { memory, tensor, tidy } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { CodecTargetError } from "../errors.ts";
import { cosineTransform, inverseCosineTransform } from "./cosine-transform.ts";
import { cosineCoder } from "./cosine.ts";
import { squaredNorm } from "./fourier.testing.ts";
import type { FourierShape } from "./fourier.ts";
import { expectHardened, randomValues, relativeError, throughCoder } from "./row-coder.testing.ts";

const lengths = [1, 2, 3, 4, 5, 7, 8, 12, 13, 31, 36];
const shapes: readonly FourierShape[] = [{ kind: "proportional" }, { kind: "fixed", tokens: 4 }, { kind: "tokenShare", tokenShare: 0.3 }];

/** The definition, in float64. */
function direct(values: Float32Array): number[] {
  const n = values.length;
  return Array.from({ length: n }, (_, k) => {
    let sum = 0;
    values.forEach((value, j) => (sum += value * Math.cos((Math.PI * k * (2 * j + 1)) / (2 * n))));
    return Math.sqrt((k === 0 ? 1 : 2) / n) * sum;
  });
}

describe("cosineTransform", () => {
  it.each(lengths)("is the definition for %i points, along both axes, cut anywhere", (length) => {
    const values = randomValues(length, 5);
    const expected = direct(values);
    for (let count = 1; count <= length; count++) {
      const across = tidy(() => cosineTransform(tensor(values, [1, length]), 1, count).dataSync("float32"));
      const down = tidy(() => cosineTransform(tensor(values, [length, 1]), 0, count).dataSync("float32"));
      expect(across.length).toBe(count);
      across.forEach((value, k) => expect(value).toBeCloseTo(expected[k]!, 5));
      down.forEach((value, k) => expect(value).toBeCloseTo(expected[k]!, 5));
    }
  });

  it.each(lengths)("is orthonormal and undone by its inverse for %i points", (length) => {
    const values = randomValues(3 * length, 9);
    tidy(() => {
      const coefficients = cosineTransform(tensor(values, [3, length]), 1, length);
      expect(squaredNorm(coefficients.dataSync("float32")) / squaredNorm(values)).toBeCloseTo(1, 6);
      expect(relativeError(inverseCosineTransform(coefficients, 1, length).dataSync("float32"), values)).toBeLessThan(1e-6);
      // The transform of the inverse is the identity too, and what was cut off comes back as zero.
      for (const count of [1, Math.ceil(length / 2), length]) {
        const kept = tensor(randomValues(count * 2, 4), [count, 2]);
        const again = cosineTransform(inverseCosineTransform(kept, 0, length), 0, length);
        const padded = new Float32Array(2 * length);
        padded.set(kept.dataSync("float32"));
        expect(Math.max(...again.dataSync("float32").map((value, i) => Math.abs(value - padded[i]!)))).toBeLessThan(2e-6);
      }
    });
  });
});

describe("cosineCoder", () => {
  const values = randomValues(24 * 30, 2).map((noise, i) => Math.cos(i / 90) + Math.sin((i % 30) / 7) + 0.1 * noise);

  it.each([
    [1, 1],
    [1, 40],
    [9, 1],
    [7, 11],
    [24, 30],
  ] as const)("carries all of %i × %i rows when bytes allow", async (tokens, hiddenSize) => {
    const whole = randomValues(tokens * hiddenSize);
    for (const shape of shapes) {
      for (const [component, bound] of [
        ["float16", 2 ** -11],
        ["float32", 1e-6],
      ] as const) {
        const target = { kind: "bytes", bytes: (component === "float16" ? 2 : 4) * whole.length + 6 } as const;
        const message = await throughCoder(cosineCoder({ shape, component }), whole, [tokens, hiddenSize], target);
        expect(relativeError(message.values, whole)).toBeLessThan(bound);
        expect(message.elements).toBe(whole.length);
      }
    }
  });

  it("keeps the energy of its block: bytes, elements and errors agree", async () => {
    for (const shape of shapes) {
      const coder = cosineCoder({ shape, component: "float16" });
      const size = [24, 30] as const;
      for (const wanted of [0.5, 0.1, 0.02]) {
        const message = await throughCoder(coder, values, size, { kind: "relativeError", relativeError: wanted });
        const error = relativeError(message.values, values);
        expect(error).toBeLessThanOrEqual(wanted);
        const smaller = await throughCoder(coder, values, size, { kind: "bytes", bytes: message.bytes.length - 1 });
        expect(relativeError(smaller.values, values)).toBeGreaterThan(0.999 * wanted);
        const same = await throughCoder(coder, values, size, { kind: "elements", elements: message.elements });
        expect(same.bytes).toEqual(message.bytes);
        // Parseval: what is missing in the rows is missing in the coefficients.
        expect(squaredNorm(message.values) / squaredNorm(values)).toBeCloseTo(1 - error ** 2, 3);
      }
      await expect(throughCoder(coder, values, size, { kind: "relativeError", relativeError: 1e-5 })).rejects.toThrow(CodecTargetError);
      await expect(throughCoder(coder, values, size, { kind: "bytes", bytes: 4 })).rejects.toThrow(CodecTargetError);
    }
  });

  it("refuses what is no message, and leaves no tensor behind", async () => {
    using rows = tensor(values, [24, 30]);
    const before = memory().allocations;
    for (const component of ["float16", "float32"] as const) {
      const coder = cosineCoder({ shape: shapes[2]!, component });
      await expectHardened(coder, rows, { kind: "bytes", bytes: 200 });
      await coder.encode(rows, { kind: "relativeError", relativeError: 0.3 });
    }
    expect(memory().allocations).toBe(before);
  });
});
