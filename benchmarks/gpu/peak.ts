/**
 * What the card can do at most, measured by two small kernels of our own on a device of their own: fused multiply-adds in registers, and a
 * copy. Shares in the tables are of these, not of a data sheet.
 */
import { median } from "../src/measure.ts";

/** GFLOP/s and GB/s; null where the adapter lacks the type. */
export interface CardPeaks {
  readonly float32: number;
  readonly float16: number | null;
  readonly bandwidth: number;
}

const storage = 128;
const copySource = 4;
const mapRead = 1;
const copyDestination = 8;
const queryResolve = 512;

/** 8 independent chains of vec4 a loop turn, so that latency is hidden. */
function multiplyAddSource(type: "f32" | "f16", turns: number): string {
  const chains = Array.from({ length: 8 }, (_, i) => i);
  return `${type === "f16" ? "enable f16;" : ""}
@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let seed = ${type}(f32(id.x & 255u) * 0.001);
  let factor = vec4<${type}>(${type}(0.999), ${type}(0.998), ${type}(0.997), ${type}(0.996));
  ${chains.map((i) => `var x${i} = vec4<${type}>(seed + ${type}(${i}));`).join(" ")}
  for (var turn = 0u; turn < ${turns}u; turn++) {
    ${chains.map((i) => `x${i} = fma(x${i}, factor, vec4<${type}>(seed));`).join(" ")}
  }
  let total = ${chains.map((i) => `x${i}`).join(" + ")};
  output[id.x & 65535u] = f32(total.x + total.y + total.z + total.w);
}`;
}

const copyKernel = `
@group(0) @binding(0) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                                      @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * 256u + lane;
  if (index < arrayLength(&input)) { output[index] = input[index]; }
}`;

/** Median seconds of a launch: by timestamps where there are any, else by the clock over several. */
async function timeLaunch(
  device: GPUDevice,
  code: string,
  buffers: readonly GPUBuffer[],
  workgroups: readonly [number, number],
  repeats: number,
): Promise<number> {
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const timed = device.features.has("timestamp-query");
  const queries = timed ? device.createQuerySet({ type: "timestamp", count: 2 }) : undefined;
  const resolved = timed ? device.createBuffer({ size: 16, usage: queryResolve | copySource }) : undefined;
  const staging = timed ? device.createBuffer({ size: 16, usage: mapRead | copyDestination }) : undefined;
  const launches = 5;
  const seconds: number[] = [];
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass(
      queries && { timestampWrites: { querySet: queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } },
    );
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < launches; i++) pass.dispatchWorkgroups(...workgroups);
    pass.end();
    if (queries && resolved && staging) {
      encoder.resolveQuerySet(queries, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
    }
    const started = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    let elapsed = (performance.now() - started) / 1000;
    if (staging) {
      await staging.mapAsync(mapRead);
      const [begin, end] = new BigUint64Array(staging.getMappedRange());
      // Drivers may give nonsense after a change of clock.
      if (end! > begin!) elapsed = Number(end! - begin!) / 1e9;
      staging.unmap();
    }
    // The first one warms up.
    if (repeat > 0) seconds.push(elapsed / launches);
  }
  queries?.destroy();
  resolved?.destroy();
  staging?.destroy();
  return median(seconds);
}

/** Measures an adapter. `software` makes the work small. @throws when a kernel does not run */
export async function measurePeaks(adapter: GPUAdapter, software: boolean): Promise<CardPeaks> {
  const wanted = ["shader-f16", "timestamp-query"] as const;
  const size = software ? 2 ** 22 : Math.min(2 ** 29, adapter.limits.maxStorageBufferBindingSize, adapter.limits.maxBufferSize);
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((name) => adapter.features.has(name)),
    requiredLimits: { maxBufferSize: Math.max(size, 2 ** 28), maxStorageBufferBindingSize: Math.max(size, 2 ** 27) },
  });
  const buffers = [0, 1].map(() => device.createBuffer({ size, usage: storage }));
  const repeats = software ? 2 : 9;
  const [turns, groups] = software ? [64, 64] : [2048, 8192];
  const flops = 8 * 4 * 2 * turns * 256 * groups;
  const arithmetic = async (type: "f32" | "f16"): Promise<number> =>
    flops / (await timeLaunch(device, multiplyAddSource(type, turns), [buffers[0]!], [groups, 1], repeats)) / 1e9;
  try {
    const vectors = Math.floor(size / 16 / 256);
    const rows = Math.ceil(vectors / 65_535);
    const copying = await timeLaunch(device, copyKernel, buffers, [Math.ceil(vectors / rows), rows], repeats);
    return {
      float32: await arithmetic("f32"),
      float16: device.features.has("shader-f16") ? await arithmetic("f16") : null,
      bandwidth: (2 * size) / copying / 1e9,
    };
  } finally {
    device.destroy();
  }
}
