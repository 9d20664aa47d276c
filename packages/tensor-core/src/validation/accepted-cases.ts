import type { DeviceBuffer, KernelArguments, KernelName } from "../backend/backend.ts";
import { itemSize } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import { sampleCase } from "./arbitrary.ts";
import type { KernelTest } from "./kernel-test.ts";
import { isQuantizedSpec, isTensorSpec, type KernelSpec, type TensorSpec } from "./tensor-spec.ts";

/** Cases looked at before giving up. Their data are made only for those accepted, so looking is cheap. */
const maximumDraws = 20_000;

/** Generated cases that a kernel takes, smallest first. */
export interface AcceptedCases<Name extends KernelName> {
  readonly specs: readonly KernelSpec<Name>[];
  /** How many were looked at. */
  readonly drawn: number;
}

/** Draws cases until `wanted` of them with something to compute are accepted. The same seed gives the same cases. */
export function acceptedCases<Name extends KernelName>(
  test: KernelTest<Name>,
  accepts: (spec: KernelSpec<Name>) => boolean,
  wanted: number,
  seed: number,
): AcceptedCases<Name> {
  const specs: KernelSpec<Name>[] = [];
  let drawn = 0;
  for (let found = 0; found < wanted && drawn < maximumDraws; ) {
    const spec = sampleCase(test.cases, seed, drawn++);
    if (!accepts(spec)) continue;
    specs.push(spec);
    if (outputElements(test, spec) > 0) found++;
  }
  return { specs: specs.sort((a, b) => elementsOf(a) - elementsOf(b)), drawn };
}

/** Elements that a case computes. */
export function outputElements<Name extends KernelName>(test: KernelTest<Name>, spec: KernelSpec<Name>): number {
  const values = test.outputs.map((field) => (spec as Record<PropertyKey, unknown>)[field]);
  return values.reduce<number>((sum, value) => sum + (isTensorSpec(value) ? sizeOf(value.shape) : 0), 0);
}

/** Elements of all tensors of a case. */
export function elementsOf(spec: object): number {
  return tensorsOf(spec).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

/** The tensors of a case, those of quantized matrices included. */
export function tensorsOf(spec: object): TensorSpec[] {
  return Object.values(spec).flatMap((value: unknown) => {
    if (isTensorSpec(value)) return [value];
    return isQuantizedSpec(value) ? tensorsOf(value) : [];
  });
}

/** The case with every tensor replaced. */
export function mapTensors<Name extends KernelName>(spec: KernelSpec<Name>, replace: (tensor: TensorSpec) => object): KernelSpec<Name> {
  const entries = Object.entries(spec).map(([field, value]: [string, unknown]) => {
    if (isTensorSpec(value)) return [field, replace(value)];
    return [field, isQuantizedSpec(value) ? mapTensors(value as unknown as KernelSpec<Name>, replace) : value];
  });
  return Object.fromEntries(entries) as KernelSpec<Name>;
}

const smallestNormal = 1.1754943508222875e-38;
const isDenormal = (value: unknown): boolean => typeof value === "number" && value !== 0 && Math.abs(value) < smallestNormal;

/** Whether a number among the arguments is one that WGSL may take for zero. */
export function hasDenormalScalar(spec: object): boolean {
  return Object.values(spec).some(isDenormal);
}

/** The tensor with zeros for float32 numbers that WGSL may take for zero; the built-in kernels keep them, others need not. */
export function withoutDenormals(tensor: TensorSpec): TensorSpec {
  if (tensor.dtype !== "float32" || !tensor.storage.some(isDenormal)) return tensor;
  return { ...tensor, storage: tensor.storage.map((value) => (isDenormal(value) ? 0 : value)) };
}

/** The arguments as a kernel sees them, but in no device's memory: for questions about shapes. */
export function argumentsOf<Name extends KernelName>(spec: KernelSpec<Name>): KernelArguments[Name] {
  return mapTensors(spec, (tensor) => {
    const buffer: DeviceBuffer = {
      get byteLength() {
        return tensor.storage.length * itemSize(tensor.dtype);
      },
    };
    return { buffer, dtype: tensor.dtype, shape: tensor.shape, strides: tensor.strides, offset: tensor.offset };
  }) as unknown as KernelArguments[Name];
}
