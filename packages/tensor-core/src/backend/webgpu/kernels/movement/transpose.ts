/**
 * Copies between layouts with different fast axes. Copied element by element, one of the two sides is touched with large strides, so that
 * each access moves a whole cache line for four bytes; a tile of workgroup memory lets both sides move neighbours.
 */
import { entryPoint, u32, workgroupGrid, type UniformValue } from "../../program.ts";
import type { MergedAxes } from "../../strided.ts";

/** A matrix to be transposed, and the axes along which there are more of them. Strides in elements. */
export interface Transpose {
  /** The axis in which neighbours of the input lie beside each other. */
  readonly inputFast: TransposeAxis;
  /** The same of the output. */
  readonly outputFast: TransposeAxis;
  /** Outermost first. */
  readonly batch: readonly TransposeAxis[];
}

interface TransposeAxis {
  readonly size: number;
  readonly inputStride: number;
  readonly outputStride: number;
}

/** Rows and columns of a tile. */
const tileSize = 32;

/** Invocations of a workgroup: 8 rows of a tile at once. */
const invocations = 256;
const rowsAtOnce = invocations / tileSize;

/** Shortest sides worth a tile: below, most of it is empty. */
const shortestSide = 16;

/** Fewest elements: below, everything stays in caches. */
const fewestElements = 4096;

/** The transposed matrices in a copy of `axes` (strides of input and output), if they are large enough. */
export function findTranspose({ sizes, strides }: MergedAxes): Transpose | undefined {
  const axes = sizes.map((size, axis) => ({ size, inputStride: strides[0]![axis]!, outputStride: strides[1]![axis]! }));
  const inputFast = axes.find(({ inputStride }) => inputStride === 1);
  const outputFast = axes.find(({ outputStride }) => outputStride === 1);
  if (inputFast === undefined || outputFast === undefined || inputFast === outputFast) return undefined;
  if (inputFast.size < shortestSide || outputFast.size < shortestSide) return undefined;
  if (sizes.reduce((product, size) => product * size, 1) < fewestElements) return undefined;
  return { inputFast, outputFast, batch: axes.filter((axis) => axis !== inputFast && axis !== outputFast) };
}

/** What the text of `transposeCode` depends on. */
export function transposeVariant({ batch }: Transpose): string {
  return `${batch.length}`;
}

const tilesAlong = ({ size }: TransposeAxis): number => Math.ceil(size / tileSize);

function countTiles({ inputFast, outputFast, batch }: Transpose): number {
  return batch.reduce((count, { size }) => count * size, tilesAlong(inputFast) * tilesAlong(outputFast));
}

/** One workgroup a tile. */
export function transposeWorkgroups(transpose: Transpose): readonly [x: number, y: number] {
  return workgroupGrid(countTiles(transpose));
}

export function transposeUniforms(transpose: Transpose): Record<string, UniformValue> {
  const { inputFast, outputFast, batch } = transpose;
  const uniforms: Record<string, UniformValue> = {
    tiles: u32(countTiles(transpose)),
    // Elements along the fast axes, and their strides on the other side.
    inputWidth: u32(inputFast.size),
    outputWidth: u32(outputFast.size),
    inputStride: u32(outputFast.inputStride),
    outputStride: u32(inputFast.outputStride),
    inputTiles: u32(tilesAlong(inputFast)),
    outputTiles: u32(tilesAlong(outputFast)),
  };
  for (const [axis, { size, inputStride, outputStride }] of batch.entries()) {
    uniforms[`size${axis}`] = u32(size);
    uniforms[`inputStride${axis}`] = u32(inputStride);
    uniforms[`outputStride${axis}`] = u32(outputStride);
  }
  return uniforms;
}

/** The shader; `bits` is an expression for what becomes of the input's element at `inputPlace`. */
export function transposeCode({ batch }: Transpose, bits: string): string {
  const batchPlaces = batch.map(
    (_, axis) => `  inputBase += (rest % uniforms.size${axis}) * uniforms.inputStride${axis};
  outputBase += (rest % uniforms.size${axis}) * uniforms.outputStride${axis};
  rest /= uniforms.size${axis};`,
  );
  // Rows are one element longer, so that neither rows nor columns meet a memory bank twice.
  const pitch = tileSize + 1;
  return `var<workgroup> tile: array<u32, ${tileSize * pitch}>;
${entryPoint(
  invocations,
  `  if (workgroup >= uniforms.tiles) { return; }
  let outputStart = (workgroup % uniforms.outputTiles) * ${tileSize}u;
  var rest = workgroup / uniforms.outputTiles;
  let inputStart = (rest % uniforms.inputTiles) * ${tileSize}u;
  rest /= uniforms.inputTiles;
  var inputBase = uniforms.inputOffset;
  var outputBase = uniforms.outputOffset;
${batchPlaces.toReversed().join("\n")}
  let x = lane % ${tileSize}u;
  let y = lane / ${tileSize}u;
  for (var row = y; row < ${tileSize}u; row += ${rowsAtOnce}u) {
    if (inputStart + x < uniforms.inputWidth && outputStart + row < uniforms.outputWidth) {
      let inputPlace = inputBase + inputStart + x + (outputStart + row) * uniforms.inputStride;
      tile[row * ${pitch}u + x] = ${bits};
    }
  }
  workgroupBarrier();
  for (var row = y; row < ${tileSize}u; row += ${rowsAtOnce}u) {
    if (outputStart + x < uniforms.outputWidth && inputStart + row < uniforms.inputWidth) {
      output[outputBase + outputStart + x + (inputStart + row) * uniforms.outputStride] = tile[x * ${pitch}u + row];
    }
  }`,
)}`;
}
