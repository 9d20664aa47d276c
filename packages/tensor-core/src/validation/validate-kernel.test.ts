import { describe, expect, it } from "vitest";
import type { KernelArguments, KernelName } from "../backend/backend.ts";
import { createReferenceBackend } from "../backend/reference/index.ts";
import { kernelNames, kernelTests } from "./kernel-tests.ts";
import type { KernelTest } from "./kernel-test.ts";
import { sizeOf } from "../tensor/shape.ts";
import { outputSpec, tensorSpec } from "./tensor-spec.ts";
import { acceptedCases, tensorsOf } from "./accepted-cases.ts";
import { KernelValidationError } from "./errors.ts";
import { validateKernel, type KernelCandidate, type ValidationOptions, type ValidationReport } from "./validate-kernel.ts";

const backend = createReferenceBackend();

function validate<Name extends KernelName>(
  kernel: Name,
  candidate: Partial<KernelCandidate<Name>> = {},
  options: ValidationOptions<Name> = {},
): Promise<ValidationReport<Name>> {
  const run = (parameters: KernelArguments[Name]): void => backend.kernels[kernel](parameters);
  const whole = { kernel, name: "trial", supports: () => true, run, afterRun: async () => {}, ...candidate };
  return validateKernel(backend, whole, options, (byteLength) => Math.ceil(byteLength / 256) * 256);
}

describe("acceptedCases", () => {
  it.each(kernelNames)("gives %s odd and even, small and large sizes, and offsets, the same each time", (name) => {
    const test = kernelTests[name] as KernelTest<"fill">;
    const draw = (): object[] => [...acceptedCases(test, () => true, 60, 1).specs];
    const specs = draw();
    const sizes = specs.flatMap((spec) => tensorsOf(spec).map(({ shape }) => sizeOf(shape)));
    expect(specs.length).toBeGreaterThanOrEqual(60);
    expect(Math.max(...sizes)).toBeGreaterThan(500);
    expect(sizes.some((size) => size % 2 === 1)).toBe(true);
    expect(sizes.some((size) => size > 0 && size % 4 === 0)).toBe(true);
    expect(specs.some((spec) => tensorsOf(spec).some(({ offset }) => offset > 0))).toBe(true);
    expect(draw().map(shapesOf)).toEqual(specs.map(shapesOf));
  });

  it("finds sizes that only some kernels take", () => {
    const { specs } = acceptedCases(kernelTests.rmsNorm, ({ columns, weight }) => columns % 128 === 0 && weight !== undefined, 40, 1);
    expect(specs.length).toBeGreaterThanOrEqual(40);
    const squares = acceptedCases(kernelTests.matmul, ({ a, b }) => [...a.shape, ...b.shape].every((size) => size > 0 && size % 16 === 0), 12, 1);
    expect(squares.specs).toHaveLength(12);
  });
});

const shapesOf = (spec: object): string => JSON.stringify(tensorsOf(spec).map(({ shape, offset }) => [shape, offset]));

describe("validateKernel", () => {
  it("accepts what is right, in every kernel", { timeout: 120_000 }, async () => {
    for (const name of kernelNames) {
      const report = await validate(name, {}, { generatedCases: 4, tolerance: 0, runs: 1 });
      expect(report.cases).toBeGreaterThanOrEqual(4);
      expect(report.largestError).toBe(0);
    }
    expect(backend.memory().allocations).toBe(0);
  });

  it("says what is wrong, and frees everything", async () => {
    const late = (parameters: KernelArguments["fill"]): void => backend.kernels.fill({ ...parameters, value: parameters.value + 1 });
    const error = await validate("fill", { run: late }).catch((thrown: unknown) => thrown as KernelValidationError);
    expect(error).toBeInstanceOf(KernelValidationError);
    expect(error).toMatchObject({ reason: "wrong", kernel: "fill", kernelName: "trial", mismatch: { tensor: "output" } });
    await expect(validate("fill", { supports: () => false })).rejects.toMatchObject({ reason: "unchecked" });
    const throwing = (): void => {
      throw new RangeError("no such luck");
    };
    await expect(validate("fill", { run: throwing })).rejects.toThrow("no such luck");
    expect(backend.memory().allocations).toBe(0);
  });

  it("runs the cases that it is given, which must be supported", async () => {
    const cases = [{ gate: tensorSpec("float32", [3], (i) => i), up: tensorSpec("float32", [3], (i) => -i), output: outputSpec("float32", [3]) }];
    expect(await validate("swiglu", {}, { cases, generatedCases: 0 })).toMatchObject({ cases: 1, largestCaseElements: 3 });
    await expect(validate("swiglu", { supports: () => false }, { cases })).rejects.toMatchObject({ reason: "unchecked" });
  });
});
