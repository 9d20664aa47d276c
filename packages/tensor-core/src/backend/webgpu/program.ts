/** What a kernel says of one launch: its bindings, its numbers and the body of its shader. The runtime adds the declarations. */
import { DeviceError } from "../../errors.ts";
import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import type { DeviceBuffer, TensorView } from "../backend.ts";

/** A number in the uniform block, by its WGSL type. */
export interface UniformValue {
  readonly type: "u32" | "i32" | "f32";
  readonly value: number;
}

/** A uniform of type u32. */
export const u32 = (value: number): UniformValue => ({ type: "u32", value });
/** A uniform of type i32. */
export const i32 = (value: number): UniformValue => ({ type: "i32", value });
/** A uniform of type f32. */
export const f32 = (value: number): UniformValue => ({ type: "f32", value });

/** Element types of storage arrays. 8-bit and (without the feature) 16-bit dtypes are read and written through "u32" words. */
export type ElementType =
  | "f32"
  | "vec2<f32>"
  | "vec4<f32>"
  | "i32"
  | "vec4<i32>"
  | "u32"
  | "vec2<u32>"
  | "vec4<u32>"
  | "f16"
  | "vec2<f16>"
  | "vec4<f16>"
  | "atomic<u32>"
  | "atomic<i32>";

/** A tensor as one storage array of a shader. */
export interface KernelBinding {
  /** Of this backend. Typed as any device's, so that programs need no declarations of WebGPU to use these types. */
  readonly buffer: DeviceBuffer;
  readonly access: "read" | "write";
  readonly type: ElementType;
  /** Value of the uniform `<name>Offset`: in elements of `type` where it has the dtype's size, else in elements of the dtype. */
  readonly offset: number;
}

const nativeTypes: Readonly<Record<Dtype, ElementType>> = {
  float32: "f32",
  int32: "i32",
  float16: "u32",
  int8: "u32",
  uint8: "u32",
  bool: "u32",
};

const componentsOf = (type: ElementType): number => (type.startsWith("vec") ? Number(type[3]) : 1);
const scalarSize = (type: ElementType): number => (type.endsWith("f16") || type.endsWith("f16>") ? 2 : 4);

/** Whether a view can be bound with an element type of `components` values at once. */
export function isAligned(view: TensorView, components: number): boolean {
  return view.offset % components === 0;
}

function bind(view: TensorView, access: "read" | "write", type: ElementType): KernelBinding {
  const components = itemSize(view.dtype) === scalarSize(type) ? componentsOf(type) : 1;
  if (view.offset % components !== 0) throw new DeviceError(`internal: offset ${view.offset} cannot be bound as ${type}`);
  return { buffer: view.buffer, access, type, offset: view.offset / components };
}

/** An input. */
export function read(view: TensorView, type: ElementType = nativeTypes[view.dtype]): KernelBinding {
  return bind(view, "read", type);
}

/** An output, or a tensor updated in place: the shader may read it too. */
export function write(view: TensorView, type: ElementType = nativeTypes[view.dtype]): KernelBinding {
  return bind(view, "write", type);
}

/** One launch of a kernel. */
export interface KernelLaunch {
  /** Kernel and family, for profiles and labels; also the first part of the pipeline's key. */
  readonly name: string;
  /** Everything else that `code` depends on, bindings and uniforms aside: those are added to the key by name and type. */
  readonly variant?: string;
  /** Storage arrays by WGSL name, at most 8. Each adds a uniform `<name>Offset`. */
  readonly bindings: Readonly<Record<string, KernelBinding>>;
  /** Fields of `uniforms`, at most 64 with the offsets. */
  readonly uniforms?: Readonly<Record<string, UniformValue>>;
  /** Workgroups along each axis, at most 65535; see `workgroupGrid`. Nothing runs when one is 0. */
  readonly workgroups: readonly [x: number, y?: number, z?: number];
  /** What the launch moves and computes at the least, for profiles. */
  readonly work?: { readonly bytes?: number; readonly operations?: number };
  /** WGSL extensions. The adapter must have the feature. */
  readonly enables?: readonly ("f16" | "subgroups" | "chromium_experimental_subgroup_matrix")[];
  /** The shader without its bindings: functions and an entry point `main`. Called once a pipeline. */
  readonly code: () => string;
}

/** Most workgroups along one axis that every adapter takes. */
export const maximumWorkgroups: number = 65_535;

/** Lays `count` workgroups out as a grid that WebGPU takes; `linearWorkgroup` of `entryPoint` counts along it, possibly past `count`. */
export function workgroupGrid(count: number): readonly [x: number, y: number] {
  if (count <= maximumWorkgroups) return [count, 1];
  const rows = Math.ceil(count / maximumWorkgroups);
  return [Math.ceil(count / rows), rows];
}

/**
 * An entry point with the usual names: `workgroup` (linear number of the workgroup), `lane` (of the invocation in it), `index` (of the
 * invocation in all) and `workgroupId`. `body` has to check `index` or `workgroup` against the work: the grid may be larger.
 */
export function entryPoint(size: number, body: string, extraParameters: string = ""): string {
  return `@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) workgroupId: vec3<u32>, @builtin(num_workgroups) workgroupCount: vec3<u32>,
        @builtin(local_invocation_index) lane: u32${extraParameters}) {
  let workgroup = workgroupId.y * workgroupCount.x + workgroupId.x;
  let index = workgroup * ${size}u + lane;
${body}
}
`;
}

/** Names of arrays that share one buffer of which one is written: WebGPU forbids two bindings of it, so they become one variable. */
export type Aliases = ReadonlyMap<string, string>;

/** The whole shader: extensions, uniform block, bindings, body. */
export function assembleShader(launch: KernelLaunch, aliases: Aliases): string {
  const names = Object.keys(launch.bindings);
  const fields = [
    ...names.map((name) => `${name}Offset: u32`),
    ...Object.entries(launch.uniforms ?? {}).map(([name, { type }]) => `${name}: ${type}`),
  ];
  const written = new Set(names.filter((name) => launch.bindings[name]!.access === "write").map((name) => aliases.get(name) ?? name));
  let slot = 1;
  const declarations = names
    .filter((name) => !aliases.has(name))
    .map((name) => {
      const access = written.has(name) ? "read_write" : "read";
      return `@group(0) @binding(${slot++}) var<storage, ${access}> ${name}: array<${launch.bindings[name]!.type}>;`;
    });
  let body = launch.code();
  for (const [name, target] of aliases) body = body.replaceAll(new RegExp(`\\b${name}\\b`, "g"), target);
  return [
    ...(launch.enables ?? []).map((extension) => `enable ${extension};`),
    `struct Uniforms { ${(fields.length > 0 ? fields : ["unused: u32"]).join(", ")} }`,
    "@group(0) @binding(0) var<uniform> uniforms: Uniforms;",
    ...declarations,
    body,
  ].join("\n");
}
