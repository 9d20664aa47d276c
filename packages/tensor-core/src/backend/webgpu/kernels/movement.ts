import { itemSize } from "../../../tensor/dtype.ts";
import { contiguousStrides, sizeOf } from "../../../tensor/shape.ts";
import type { KernelArguments, Kernels, TensorView } from "../../backend.ts";
import type { WebGpuBuffer } from "../buffers.ts";
import {
  bitsOf,
  convertExpression,
  elementsPerWord,
  loadBitsFunction,
  loadFunction,
  storeBitsFunction,
  storeType,
  type WgslSource,
} from "../elements.ts";
import { entryPoint, f32, i32, read, u32, workgroupGrid, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { mergeAxes, stridedPlaces, stridedUniforms, stridedVariant } from "../strided.ts";
import { mathSource } from "../wgsl/math.ts";
import { float32ToFloat16Bits } from "../../../tensor/dtype.ts";
import { indexingKernels } from "./indexing.ts";
import { findTranspose, transposeCode, transposeUniforms, transposeVariant, transposeWorkgroups } from "./movement/transpose.ts";
import { bytesOf } from "../work.ts";

const workgroupSize = 256;

/** Filling and copying; `indexing.ts` gathers and scatters. */
export function movementKernels(
  runtime: WebGpuRuntime,
): Pick<Kernels, "fill" | "arange" | "copy" | "gather" | "scatterAdd" | "gatherElements" | "scatterElementsAdd"> {
  return {
    fill: ({ output, value }) => fill(runtime, output, bitsOfNumber(output, value)),

    arange({ output, start, step }) {
      const count = sizeOf(output.shape);
      const isFloat = output.dtype === "float32";
      const number = isFloat ? f32 : i32;
      runtime.launch({
        name: "arange",
        variant: output.dtype,
        bindings: { output: write(output) },
        uniforms: { count: u32(count), start: number(start), step: number(step) },
        workgroups: workgroupGrid(Math.ceil(count / workgroupSize)),
        code: () =>
          entryPoint(
            workgroupSize,
            `  if (index >= uniforms.count) { return; }
  output[uniforms.outputOffset + index] = uniforms.start + ${isFloat ? "f32" : "i32"}(index) * uniforms.step;`,
          ),
      });
    },

    copy: (parameters) => copy(runtime, parameters),

    ...indexingKernels(runtime),
  };
}

/** The bits of one element, as a kernel argument. */
function bitsOfNumber({ dtype }: TensorView, value: number): number {
  switch (dtype) {
    case "float32":
      return new Uint32Array(new Float32Array([value]).buffer)[0]!;
    case "float16":
      return float32ToFloat16Bits(Math.fround(value));
    case "bool":
      return value === 0 ? 0 : 1;
    case "int32":
      return saturate(value, -(2 ** 31), 2 ** 31 - 1);
    case "int8":
      return saturate(value, -128, 127) & 0xff;
    case "uint8":
      return saturate(value, 0, 255);
  }
}

function saturate(value: number, low: number, high: number): number {
  return Number.isNaN(value) ? 0 : Math.min(Math.max(Math.trunc(value), low), high);
}

/** Whether each storage word of a contiguous output belongs to it alone, the padding at the end of its buffer included. */
function ownsWords(view: TensorView, count: number): boolean {
  const perWord = elementsPerWord(view.dtype);
  const ends = (view.offset + count) * itemSize(view.dtype) === (view.buffer as WebGpuBuffer).byteLength;
  return view.offset % perWord === 0 && (count % perWord === 0 || ends);
}

function isDense(view: TensorView): boolean {
  const strides = contiguousStrides(view.shape);
  return view.shape.every((size, axis) => size === 1 || view.strides[axis] === strides[axis]);
}

function fill(runtime: WebGpuRuntime, output: TensorView, bits: number): void {
  const count = sizeOf(output.shape);
  const size = itemSize(output.dtype);
  if (ownsWords(output, count)) {
    const word = size === 4 ? bits : size === 2 ? bits * 0x10001 : bits * 0x1010101;
    const words = Math.ceil(count / (4 / size));
    runtime.launch({
      name: "fill",
      bindings: { output: { buffer: output.buffer as WebGpuBuffer, access: "write", type: "u32", offset: (output.offset * size) / 4 } },
      uniforms: { count: u32(words), word: u32(word) },
      workgroups: workgroupGrid(Math.ceil(words / workgroupSize)),
      work: { bytes: 4 * words },
      code: () =>
        entryPoint(workgroupSize, "  if (index < uniforms.count) { output[uniforms.outputOffset + index] = uniforms.word; }"),
    });
    return;
  }
  runtime.launch({
    name: "fill",
    variant: `bytes ${size}`,
    bindings: { output: write(output, storeType(size)) },
    uniforms: { count: u32(count), bits: u32(bits) },
    workgroups: workgroupGrid(Math.ceil(count / workgroupSize)),
    code: () =>
      `${storeBitsFunction("output", size)}
${entryPoint(workgroupSize, "  if (index < uniforms.count) { storeBits_output(uniforms.outputOffset + index, uniforms.bits); }")}`,
  });
}

/** Copies with conversion. One invocation writes one word of a dense output, or one element of any other. */
function copy(runtime: WebGpuRuntime, { input, output }: KernelArguments["copy"]): void {
  const count = sizeOf(output.shape);
  if (count === 0) return;
  const same = input.dtype === output.dtype;
  const size = itemSize(output.dtype);
  const bytes = count * size;
  // A large block needs no shader; small ones would end the compute pass for little.
  const isBlock = same && isDense(input) && isDense(output) && input.buffer !== output.buffer;
  if (isBlock && bytes >= 65_536 && [input.offset * size, output.offset * size, bytes].every((at) => at % 4 === 0)) {
    runtime.copyBytes(input.buffer as WebGpuBuffer, input.offset * size, output.buffer as WebGpuBuffer, output.offset * size, bytes);
    return;
  }
  const axes = mergeAxes(output.shape, [input.strides, output.strides]);
  const words = size < 4 && isDense(output) && ownsWords(output, count);
  // Both sides as words of bits where nothing is converted, so that every bit arrives.
  const load: WgslSource = same ? { code: loadBitsFunction("input", size), needs: [] } : loadFunction("input", input.dtype);
  const value = same ? "loadBits_input(inputPlace)" : "load_input(inputPlace)";
  const converted = same ? { expression: value, needs: [] } : convertExpression(input.dtype, output.dtype, value);
  const bits = same ? converted : bitsOf(output.dtype, converted.expression);
  const transpose = itemSize(input.dtype) === 4 && size === 4 ? findTranspose(axes) : undefined;
  if (transpose !== undefined) {
    runtime.launch({
      name: "copyTransposed",
      variant: `${input.dtype} ${output.dtype} ${transposeVariant(transpose)}`,
      bindings: { input: read(input, same ? "u32" : undefined), output: write(output, "u32") },
      uniforms: transposeUniforms(transpose),
      workgroups: transposeWorkgroups(transpose),
      work: { bytes: bytesOf([input, output]) },
      code: () => `${mathSource([...load.needs, ...converted.needs, ...bits.needs])}
${load.code}
${transposeCode(transpose, bits.expression)}`,
    });
    return;
  }
  const perWord = elementsPerWord(output.dtype);
  const invocations = words ? Math.ceil(count / perWord) : count;
  const { offset } = output;
  runtime.launch({
    name: "copy",
    variant: `${input.dtype} ${output.dtype} ${stridedVariant(axes)} ${words ? "words" : "elements"}`,
    bindings: {
      input: read(input, same ? "u32" : undefined),
      output: { buffer: output.buffer as WebGpuBuffer, access: "write", type: words ? "u32" : storeType(size), offset },
    },
    uniforms: { count: u32(count), ...stridedUniforms(axes, ["input", "output"]) },
    workgroups: workgroupGrid(Math.ceil(invocations / workgroupSize)),
    work: { bytes: bytesOf([input, output]) },
    code: () => {
      const needs = [...load.needs, ...converted.needs, ...bits.needs];
      const element = (number: string): string => `${stridedPlaces(axes, ["input", "output"], number)}`;
      if (!words) {
        return `${mathSource(needs)}
${load.code}
${storeBitsFunction("output", size)}
${entryPoint(workgroupSize, `  if (index >= uniforms.count) { return; }\n${element("index")}\n  storeBits_output(outputPlace, ${bits.expression});`)}`;
      }
      return `${mathSource(needs)}
${load.code}
fn bitsAt(number: u32) -> u32 {
${stridedPlaces({ sizes: axes.sizes, strides: axes.strides.slice(0, 1) }, ["input"], "number")}
  return ${bits.expression};
}
${entryPoint(
  workgroupSize,
  `  let first = index * ${perWord}u;
  if (first >= uniforms.count) { return; }
  var word = 0u;
  for (var i = 0u; i < ${perWord}u && first + i < uniforms.count; i++) {
    word |= bitsAt(first + i) << (i * ${8 * size}u);
  }
  output[uniforms.outputOffset / ${perWord}u + index] = word;`,
)}`;
    },
  });
}
