/** Whether the matrix units of a device compute what they should: tried once, before any product uses them. */
import { itemSize, type Dtype } from "../../../../tensor/dtype.ts";
import { contiguousStrides, sizeOf } from "../../../../tensor/shape.ts";
import type { TensorView } from "../../../backend.ts";
import type { WebGpuBackend } from "../../backend.ts";
import { hasLanguageFeature } from "../../device.ts";
import { layoutOf } from "./choose.ts";
import { matmulProblems } from "./problem.ts";
import {
  experimentalDialect,
  launchSubgroupMatrix,
  usableUnits,
  useUnits,
  type MatrixDialect,
  type SubgroupMatrixConfig,
  type SubgroupMatrixUnit,
} from "./subgroup-matrix.ts";

/** Whether products use matrix units, and if they were asked to and do not, why. */
export type SubgroupMatrixState = "off" | "validated" | `refused: ${string}`;

/** What adapters with the feature say, which not all type declarations know. */
interface MatrixAdapterInfo {
  readonly subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig>;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
}

const howToGetIt =
  'Chrome needs --enable-unsafe-webgpu, Dawn for Node create(["enable-dawn-features=allow_unsafe_apis"]), given as the option gpu';

/** Sizes of the trial: several tiles, and a rest of each size. */
const trial = { m: 74, k: 84, n: 92 } as const;

/**
 * Lets a backend's products use matrix units, if the device has units that give right results. A product of small integers is right only
 * when it is right in every bit, also by units that round to float16.
 */
export async function enableSubgroupMatrix(
  backend: WebGpuBackend,
  dialect: MatrixDialect = experimentalDialect,
): Promise<SubgroupMatrixState> {
  const { device, features, limits } = backend.runtime;
  if (!features.subgroupMatrix) {
    return `refused: the device has no "chromium-experimental-subgroup-matrix"; ${howToGetIt}`;
  }
  if (!device.features.has("subgroups") || !hasLanguageFeature(device, "subgroup_id")) return "refused: shaders do not know their subgroups (subgroup_id)";
  const info = device.adapterInfo as unknown as MatrixAdapterInfo;
  const configs = [...(info.subgroupMatrixConfigs ?? [])].filter(({ componentType }) => features.f16 || componentType !== "f16");
  const { subgroupMinSize: minimum = 0, subgroupMaxSize: maximum = 0 } = info;
  const units = Object.values(usableUnits(configs, { minimum, maximum }, limits));
  if (units.length === 0) {
    const names = configs.map(({ componentType, resultComponentType, M, N, K }) => `${componentType} ${M}x${N}x${K} to ${resultComponentType}`);
    return `refused: no shape to float32 that this kernel knows among [${names.join(", ")}], in subgroups of ${minimum} to ${maximum}`;
  }
  const problems: string[] = [];
  const good: Partial<Record<SubgroupMatrixUnit["component"], SubgroupMatrixUnit>> = {};
  for (const unit of units) {
    const problem = await problemOf(backend, unit, dialect);
    if (problem === undefined) good[unit.component] = unit;
    else problems.push(`${unit.component}: ${problem}`);
  }
  if (Object.keys(good).length === 0) return `refused: ${problems.join("; ")}`;
  useUnits(backend.runtime, good);
  return "validated";
}

const integer = (index: number, seed: number): number => (((index + seed) * 7919) % 17) - 8;

async function problemOf(backend: WebGpuBackend, unit: SubgroupMatrixUnit, dialect: MatrixDialect): Promise<string | undefined> {
  const { m, k, n } = trial;
  const made: TensorView[] = [];
  const make = (dtype: Dtype, shape: readonly number[], seed: number): TensorView => {
    const size = sizeOf(shape);
    const view = { buffer: backend.allocate(size * itemSize(dtype)), dtype, shape, strides: contiguousStrides(shape), offset: 0 };
    made.push(view);
    const values = Array.from({ length: size }, (_, i) => integer(i, seed));
    const data = dtype === "float16" ? Uint16Array.from(values, smallIntegerBits) : Float32Array.from(values);
    backend.write(view.buffer, 0, new Uint8Array(data.buffer));
    return view;
  };
  try {
    const a = make("float32", [m, k], 1);
    const b = make(unit.component === "f16" ? "float16" : "float32", [k, n], 2);
    const output = make("float32", [m, n], 3);
    for (const problem of matmulProblems({ a, b, output })) {
      const destination = { view: problem.output, epilogue: problem };
      const layout = layoutOf(problem, backend.runtime.features);
      launchSubgroupMatrix(backend.runtime, problem, layout, { kind: "subgroupMatrix", unit, splits: 1 }, destination, dialect);
    }
    const actual = new Float32Array((await backend.read(output.buffer, 0, 4 * m * n)).slice().buffer);
    for (let place = 0; place < m * n; place++) {
      const [row, column] = [Math.floor(place / n), place % n];
      let expected = 0;
      for (let step = 0; step < k; step++) expected += integer(row * k + step, 1) * integer(step * n + column, 2);
      if (actual[place] !== expected) return `element [${row}, ${column}] of a trial product is ${actual[place]} instead of ${expected}`;
    }
    return undefined;
  } catch (error) {
    backend.runtime.checkAlive();
    return error instanceof Error ? error.message : String(error);
  } finally {
    for (const { buffer } of made) backend.free(buffer);
  }
}

/** Bits of an integer from -8 to 8 as float16. */
function smallIntegerBits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | ((Math.abs(value) / 2 ** exponent - 1) * 1024);
}
