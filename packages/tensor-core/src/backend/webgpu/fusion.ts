import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import { contiguousStrides, sameShape, sizeOf } from "../../tensor/shape.ts";
import type { TensorView } from "../backend.ts";
import type { WebGpuBuffer } from "./buffers.ts";
import { bytesOf } from "./work.ts";
import { bitsOf, loadFunction, storeBitsFunction, valueType } from "./elements.ts";
import { entryPoint, f32, i32, u32, workgroupGrid, type ElementType, type KernelBinding, type UniformValue } from "./program.ts";
import type { DeferredWork, WebGpuRuntime } from "./runtime.ts";
import { mergeAxes, stridedPlaces, stridedUniforms, stridedVariant, type MergedAxes } from "./strided.ts";
import type { WgslExpression } from "./wgsl/expressions.ts";
import { mathSource, type MathFunction } from "./wgsl/math.ts";

/** One element-wise operation: an expression over one element of each operand. */
export interface ElementwiseStep {
  /** Name and everything else the expression depends on, operand dtypes aside. */
  readonly operation: string;
  readonly operands: readonly TensorView[];
  /** Numbers of the expression, in the type of the result's arithmetic. */
  readonly scalars?: readonly UniformValue[];
  /** Contiguous; may be an operand too (in place). */
  readonly output: TensorView;
  /** The expression, of `valueType(output.dtype)`, from the WGSL names of operands and scalars. */
  readonly expression: (operands: readonly string[], scalars: readonly string[]) => WgslExpression;
}

/** Steps of one launch. Longer chains gain little and compile slowly. */
const maximumSteps = 24;
/** Storage arrays of one launch; the WebGPU baseline. */
const maximumArrays = 8;
/** Uniform words left for scalars and strides once count and offsets have theirs. */
const maximumUniforms = 48;
/** From here on four elements an invocation: below, the wider loads save nothing. */
const vectorThreshold = 4096;
const workgroupSize = 256;

/** An array that the chain reads. */
interface ChainInput {
  readonly view: TensorView;
}

/** An array that the chain writes, and the step whose value it gets. */
interface ChainOutput {
  readonly view: TensorView;
  step: number;
  live: boolean;
}

type OperandReference = `input${number}` | `value${number}`;

interface ChainStep {
  readonly step: ElementwiseStep;
  readonly references: readonly OperandReference[];
}

/**
 * Element-wise operations on one shape that follow each other become one launch. They are held back until something else is recorded;
 * intermediate results stay in registers, and are not stored at all when their tensors were freed meanwhile.
 */
export class ElementwiseFusion implements DeferredWork {
  readonly #runtime: WebGpuRuntime;
  #shape: readonly number[] = [];
  #steps: ChainStep[] = [];
  #inputs: ChainInput[] = [];
  #outputs = new Map<WebGpuBuffer, ChainOutput>();
  #uniformWords = 0;
  readonly #kept: WebGpuBuffer[] = [];

  constructor(runtime: WebGpuRuntime) {
    this.#runtime = runtime;
  }

  /** Adds an operation to the chain, or starts a new chain with it. @throws DeviceLostError */
  add(step: ElementwiseStep): void {
    this.#runtime.checkAlive();
    if (sizeOf(step.output.shape) === 0) return;
    if (!this.#joins(step)) this.flush();
    if (this.#steps.length === 0) this.#shape = step.output.shape;
    const references = step.operands.map((operand) => this.#reference(operand));
    this.#uniformWords += step.scalars?.length ?? 0;
    this.#steps.push({ step, references });
    const buffer = step.output.buffer as WebGpuBuffer;
    this.#outputs.set(buffer, { view: viewOf(step.output), step: this.#steps.length - 1, live: true });
  }

  keep(buffer: WebGpuBuffer): boolean {
    const output = this.#outputs.get(buffer);
    if (output !== undefined) output.live = false;
    else if (!this.#inputs.some(({ view }) => view.buffer === buffer)) return false;
    this.#kept.push(buffer);
    return true;
  }

  flush(): void {
    if (this.#steps.length === 0) return;
    const chain = { shape: this.#shape, steps: this.#steps, inputs: this.#inputs, outputs: [...this.#outputs.values()] };
    const kept = this.#kept.splice(0);
    this.#steps = [];
    this.#inputs = [];
    this.#outputs = new Map();
    this.#uniformWords = 0;
    launchChain(this.#runtime, chain);
    for (const buffer of kept) this.#runtime.pool.recycle(buffer);
  }

  /** Whether a step fits into the chain: same elements, room for its arrays, and no array read at other places than it is written. */
  #joins(step: ElementwiseStep): boolean {
    if (this.#steps.length === 0) return true;
    if (this.#steps.length >= maximumSteps || !sameShape(step.output.shape, this.#shape)) return false;
    const arrays = new Set<string>();
    for (const { view } of this.#inputs) arrays.add(keyOf(view));
    let outputs = this.#outputs.size;
    for (const operand of step.operands) {
      const pending = this.#outputs.get(operand.buffer as WebGpuBuffer);
      if (pending === undefined) arrays.add(keyOf(operand));
      else if (keyOf(operand) !== keyOf(pending.view)) return false;
    }
    const target = step.output.buffer as WebGpuBuffer;
    const pending = this.#outputs.get(target);
    if (pending === undefined) outputs++;
    else if (keyOf(pending.view) !== keyOf(step.output)) return false;
    if (this.#inputs.some(({ view }) => view.buffer === target && keyOf(view) !== keyOf(step.output))) return false;
    const strideWords = arrays.size * Math.max(1, this.#shape.length);
    return arrays.size + outputs <= maximumArrays && this.#uniformWords + strideWords + (step.scalars?.length ?? 0) <= maximumUniforms;
  }

  #reference(operand: TensorView): OperandReference {
    const pending = this.#outputs.get(operand.buffer as WebGpuBuffer);
    if (pending !== undefined) return `value${pending.step}`;
    const key = keyOf(operand);
    let at = this.#inputs.findIndex(({ view }) => keyOf(view) === key);
    if (at < 0) at = this.#inputs.push({ view: viewOf(operand) }) - 1;
    return `input${at}`;
  }
}

interface Chain {
  readonly shape: readonly number[];
  readonly steps: readonly ChainStep[];
  readonly inputs: readonly ChainInput[];
  readonly outputs: readonly ChainOutput[];
}

/** Tensors may be freed before the chain is launched, and freed tensors do not give their buffer: a view of our own. */
function viewOf({ buffer, dtype, shape, strides, offset }: TensorView): TensorView {
  return { buffer, dtype, shape, strides, offset };
}

/** Equal for views of the same elements in the same order. */
function keyOf({ buffer, dtype, shape, strides, offset }: TensorView): string {
  let key = `${(buffer as WebGpuBuffer).pooled.id} ${dtype} ${offset}`;
  for (let axis = 0; axis < shape.length; axis++) if (shape[axis] !== 1) key += ` ${shape[axis]}:${strides[axis]}`;
  return key;
}

function launchChain(runtime: WebGpuRuntime, chain: Chain): void {
  const outputs = chain.outputs.filter(({ live }) => live);
  if (outputs.length === 0) return;
  const count = sizeOf(chain.shape);
  const inputNames = chain.inputs.map((_, i) => `input${i}`);
  const outputNames = outputs.map(({ step }) => `output${step}`);
  const axes = mergeAxes(chain.shape, [...chain.inputs.map(({ view }) => view.strides), contiguousStrides(chain.shape)]);
  const inputAxes: MergedAxes = { sizes: axes.sizes, strides: axes.strides.slice(0, -1) };
  // Bools go by fours however few they are: single bytes take two atomics each.
  const wantsGroups = count >= vectorThreshold || outputs.some(({ view }) => view.dtype === "bool");
  const vector = wantsGroups && outputs.every(({ view }) => ownsGroups(view, count));
  const isWide = (view: TensorView, strides: readonly number[]): boolean =>
    vector && itemSize(view.dtype) === 4 && axes.sizes.length === 1 && strides[0] === 1 && view.offset % 4 === 0;
  const wide = chain.inputs.map(({ view }, i) => isWide(view, inputAxes.strides[i]!));

  const bindings: Record<string, KernelBinding> = {};
  for (const [i, { view }] of chain.inputs.entries()) bindings[inputNames[i]!] = bindInput(view, wide[i]!);
  for (const [i, { view }] of outputs.entries()) bindings[outputNames[i]!] = bindOutput(view, vector);
  const uniforms: Record<string, UniformValue> = { count: u32(count), ...stridedUniforms(inputAxes, inputNames) };
  let variant = `${stridedVariant(inputAxes)} ${vector ? "vector" : ""}${wide.map(Number).join("")}`;
  for (const [number, { step, references }] of chain.steps.entries()) {
    for (const [i, scalar] of (step.scalars ?? []).entries()) uniforms[`scalar${number}_${i}`] = scalar;
    variant += `;${step.operation}(${references.join(",")}):${step.output.dtype}`;
  }
  variant += `>${outputNames.join()}`;
  const groups = vector ? Math.ceil(count / 4) : count;
  runtime.launchNow({
    name: chain.steps.length === 1 ? "elementwise" : "fused elementwise",
    variant,
    bindings,
    uniforms,
    workgroups: workgroupGrid(Math.ceil(groups / workgroupSize)),
    work: { bytes: bytesOf([...chain.inputs, ...outputs].map(({ view }) => view)), operations: count * chain.steps.length },
    code: () => chainSource(chain, outputs, inputAxes, wide, vector),
  });
}

/** Whether groups of four elements of a contiguous output are whole vectors (32-bit) or words (bool) of its own. */
function ownsGroups({ dtype, offset, buffer }: TensorView, count: number): boolean {
  return offset % 4 === 0 && (count % 4 === 0 || (offset + count) * itemSize(dtype) === (buffer as WebGpuBuffer).byteLength);
}

const vectorType = (dtype: Dtype): ElementType => (dtype === "int32" ? "vec4<i32>" : "vec4<f32>");

function bindInput(view: TensorView, wide: boolean): KernelBinding {
  const scalar: ElementType = view.dtype === "float32" ? "f32" : view.dtype === "int32" ? "i32" : "u32";
  const type = wide ? vectorType(view.dtype) : scalar;
  return { buffer: view.buffer as WebGpuBuffer, access: "read", type, offset: wide ? view.offset / 4 : view.offset };
}

function bindOutput(view: TensorView, vector: boolean): KernelBinding {
  const buffer = view.buffer as WebGpuBuffer;
  if (view.dtype === "bool") {
    return { buffer, access: "write", type: vector ? "u32" : "atomic<u32>", offset: vector ? view.offset / 4 : view.offset };
  }
  if (vector) return { buffer, access: "write", type: vectorType(view.dtype), offset: view.offset / 4 };
  return { buffer, access: "write", type: view.dtype === "int32" ? "i32" : "f32", offset: view.offset };
}

const components = ["x", "y", "z", "w"] as const;

function chainSource(chain: Chain, outputs: readonly ChainOutput[], axes: MergedAxes, wide: readonly boolean[], vector: boolean): string {
  const needs: MathFunction[] = [];
  const loads = chain.inputs.map(({ view }, i) => (wide[i] ? { code: "", needs: [] } : loadFunction(`input${i}`, view.dtype)));
  const names = chain.inputs.map((_, i) => `input${i}`);
  const parameters = chain.inputs.map(({ view }, i) => `element${i}: ${valueType(view.dtype)}`).join(", ");
  const body = chain.steps.map(({ step, references }, number) => {
    const operands = references.map((reference) => reference.replace("input", "element"));
    const { expression, needs: needed } = step.expression(
      operands,
      (step.scalars ?? []).map((_, i) => `uniforms.scalar${number}_${i}`),
    );
    needs.push(...needed);
    return `  let value${number} = ${expression};`;
  });
  const results = outputs.map(({ step, view }) => ({ name: `value${step}`, array: `output${step}`, dtype: view.dtype }));
  for (const { needs: needed } of loads) needs.push(...needed);
  const placed = axes.strides.map((_, i) => i).filter((i) => !wide[i]);
  const places = stridedPlaces(
    { sizes: axes.sizes, strides: placed.map((i) => axes.strides[i]!) },
    placed.map((i) => names[i]!),
    "element",
  );
  const call = (lane: number): string =>
    `chain(${names.map((name, i) => (wide[i] ? `${name}Group.${components[lane]}` : `load_${name}(${name}Place)`)).join(", ")})`;
  const stores = storeFunctions(results, vector);
  const main = vector
    ? `  if (index * 4u >= uniforms.count) { return; }
${names.flatMap((name, i) => (wide[i] ? [`  let ${name}Group = ${name}[uniforms.${name}Offset + index];`] : [])).join("\n")}
  var results: array<Results, 4>;
${components.map((_, lane) => `  {\n  let element = index * 4u + ${lane}u;\n${places}\n  results[${lane}] = ${call(lane)};\n  }`).join("\n")}
${results.map((result) => storeGroup(result)).join("\n")}`
    : `  if (index >= uniforms.count) { return; }
  let element = index;
${places}
  let results = ${call(0)};
${results.map((result) => storeElement(result)).join("\n")}`;
  return `${mathSource(needs)}
${loads.map(({ code }) => code).join("\n")}
${stores}
struct Results { ${results.map(({ name, dtype }) => `${name}: ${valueType(dtype)}`).join(", ")} }
fn chain(${parameters}) -> Results {
${body.join("\n")}
  return Results(${results.map(({ name }) => name).join(", ")});
}
${entryPoint(workgroupSize, main)}`;
}

interface Result {
  readonly name: string;
  readonly array: string;
  readonly dtype: Dtype;
}

function storeFunctions(results: readonly Result[], vector: boolean): string {
  return vector ? "" : results.flatMap(({ array, dtype }) => (dtype === "bool" ? [storeBitsFunction(array, 1)] : [])).join("\n");
}

function storeElement({ name, array, dtype }: Result): string {
  if (dtype === "bool") return `  storeBits_${array}(uniforms.${array}Offset + index, ${bitsOf(dtype, `results.${name}`).expression});`;
  return `  ${array}[uniforms.${array}Offset + index] = results.${name};`;
}

function storeGroup({ name, array, dtype }: Result): string {
  const values = components.map((_, lane) => `results[${lane}].${name}`);
  if (dtype !== "bool") return `  ${array}[uniforms.${array}Offset + index] = ${vectorType(dtype)}(${values.join(", ")});`;
  return `  ${array}[uniforms.${array}Offset + index] = ${values.map((value, lane) => `(${value} << ${8 * lane}u)`).join(" | ")};`;
}

/** A scalar of a dtype's arithmetic. */
export function scalarOf(dtype: Dtype, value: number): UniformValue {
  return dtype === "int32" ? i32(value) : f32(value);
}

