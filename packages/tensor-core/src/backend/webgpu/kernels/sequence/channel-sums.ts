/** The second half of sums over batch and time: many rows of partial sums, channels innermost, become gradients of weights. */
import type { TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";

const workgroupSize = 64;

/** Threads that keep a large device busy. */
const wantedThreads = 2 ** 16;

/** Rows that one thread may add up before the sum is worth a launch more. */
const rowsPerThread = 16;

/** What is summed, and where the sums go. */
export interface ChannelSums {
  /** float32 rows of [planes + 1, channels], `rowStride` elements apart. The last plane belongs to `vector`. */
  readonly partials: TensorView;
  readonly rows: number;
  readonly rowStride: number;
  readonly planes: number;
  readonly channels: number;
  /** Contiguous [all channels, planes]: plane p of channel c goes to [channelStart + c, p]. */
  readonly matrix: TensorView;
  /** Contiguous [all channels]. */
  readonly vector?: TensorView | undefined;
  readonly channelStart: number;
  /** Add to what is there instead of overwriting it. */
  readonly accumulate: boolean;
}

const columnSum = `
fn columnSum(column: u32, start: u32, end: u32) -> f32 {
  let stride = uniforms.rowStride;
  var sums = vec4<f32>();
  var row = start;
  for (; row + 4u <= end; row += 4u) {
    let place = uniforms.partialsOffset + row * stride + column;
    sums += vec4<f32>(partials[place], partials[place + stride], partials[place + 2u * stride], partials[place + 3u * stride]);
  }
  for (; row < end; row++) {
    sums.x += partials[uniforms.partialsOffset + row * stride + column];
  }
  return (sums.x + sums.y) + (sums.z + sums.w);
}
`;

/** Sums rows in an order that depends on the shape alone. No rows give zeros. */
export function sumByChannel(runtime: WebGpuRuntime, sums: ChannelSums): void {
  const columns = (sums.planes + 1) * sums.channels;
  const segments = Math.min(Math.ceil(sums.rows / rowsPerThread), Math.ceil(wantedThreads / columns));
  if (segments <= 1) {
    storeSums(runtime, sums);
    return;
  }
  const shorter = runtime.temporary("float32", [segments, columns]);
  runtime.launch({
    name: "channelSums rows",
    bindings: { partials: read(sums.partials), segmentSums: write(shorter) },
    uniforms: {
      rows: u32(sums.rows),
      rowStride: u32(sums.rowStride),
      columns: u32(columns),
      segments: u32(segments),
      segmentRows: u32(Math.ceil(sums.rows / segments)),
    },
    workgroups: workgroupGrid(Math.ceil((segments * columns) / workgroupSize)),
    code: () =>
      columnSum +
      entryPoint(
        workgroupSize,
        `  let segment = index / uniforms.columns;
  if (segment >= uniforms.segments) { return; }
  let start = min(segment * uniforms.segmentRows, uniforms.rows);
  let end = min(start + uniforms.segmentRows, uniforms.rows);
  segmentSums[uniforms.segmentSumsOffset + index] = columnSum(index % uniforms.columns, start, end);`,
      ),
  });
  storeSums(runtime, { ...sums, partials: shorter, rows: segments, rowStride: columns });
  runtime.release(shorter);
}

function storeSums(runtime: WebGpuRuntime, sums: ChannelSums): void {
  const { partials, matrix, vector, planes, channels } = sums;
  const columns = (vector === undefined ? planes : planes + 1) * channels;
  const store = (name: string, place: string): string => `    let place = uniforms.${name}Offset + ${place};
    if (uniforms.accumulate != 0u) { total += ${name}[place]; }
    ${name}[place] = total;`;
  runtime.launch({
    name: "channelSums store",
    variant: vector === undefined ? "" : "vector",
    bindings: { partials: read(partials), matrix: write(matrix), ...(vector && { vector: write(vector) }) },
    uniforms: {
      rows: u32(sums.rows),
      rowStride: u32(sums.rowStride),
      columns: u32(columns),
      planes: u32(planes),
      channels: u32(channels),
      channelStart: u32(sums.channelStart),
      accumulate: u32(Number(sums.accumulate)),
    },
    workgroups: workgroupGrid(Math.ceil(columns / workgroupSize)),
    code: () =>
      columnSum +
      entryPoint(
        workgroupSize,
        `  if (index >= uniforms.columns) { return; }
  let plane = index / uniforms.channels;
  let channel = uniforms.channelStart + index % uniforms.channels;
  var total = columnSum(index, 0u, uniforms.rows);
  if (plane < uniforms.planes) {
${store("matrix", "channel * uniforms.planes + plane")}
  }${
    vector === undefined
      ? ""
      : ` else {
${store("vector", "channel")}
  }`
  }`,
      ),
  });
}
