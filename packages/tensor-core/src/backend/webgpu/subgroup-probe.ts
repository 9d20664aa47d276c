import { bufferUsage, mapModeRead } from "./gpu-constants.ts";

const lanes = 256;

const shader = `enable subgroups;
@group(0) @binding(0) var<storage, read_write> seen: array<vec4<u32>>;
@compute @workgroup_size(${lanes})
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_size) size: u32, @builtin(subgroup_invocation_id) place: u32) {
  seen[lane] = vec4<u32>(size, place, subgroupShuffleXor(lane, 1u), u32(subgroupAdd(1u)));
}`;

/**
 * Whether subgroups lie in a workgroup as the row reductions take them to: neighbouring lanes in order, all subgroups whole. WGSL does not
 * promise it, so it is tried, once a device; where it does not hold (or the trial fails), kernels do without subgroups.
 */
export async function hasOrderedSubgroups(device: GPUDevice): Promise<boolean> {
  if (!device.features.has("subgroups")) return false;
  const byteLength = lanes * 16;
  const seen = device.createBuffer({ size: byteLength, usage: bufferUsage.storage | bufferUsage.copySource });
  const staging = device.createBuffer({ size: byteLength, usage: bufferUsage.mapRead | bufferUsage.copyDestination });
  try {
    const module = device.createShaderModule({ label: "subgroup probe", code: shader });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const entries = [{ binding: 0, resource: { buffer: seen } }];
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(seen, 0, staging, 0, byteLength);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(mapModeRead);
    return isOrdered(new Uint32Array(staging.getMappedRange().slice(0)));
  } catch {
    return false;
  } finally {
    seen.destroy();
    staging.destroy();
  }
}

/** Whether each lane reports a place of `lane % size`, its neighbour beside it, and a whole subgroup. */
export function isOrdered(seen: Uint32Array): boolean {
  const size = seen[0]!;
  if (size < 2 || lanes % size !== 0) return false;
  for (let lane = 0; lane < lanes; lane++) {
    const [width, place, neighbour, active] = seen.subarray(4 * lane, 4 * lane + 4);
    if (width !== size || place !== lane % size || neighbour !== (lane ^ 1) || active !== size) return false;
  }
  return true;
}
