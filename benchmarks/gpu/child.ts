/** Program of a child process: one group of workloads on the GPU. Its one argument is a `ChildRequest`; it answers by messages. */
import { add, exp, softmax, synchronize, tensor, tidy } from "@frugal/tensor-core";
import type { WebGpuDevice } from "@frugal/tensor-core/webgpu";
import { disagreement, tolerance } from "../src/agreement.ts";
import { openGpu } from "./device.ts";
import { fullGpuEffort, quickGpuEffort, timeCalls, type GpuEffort } from "./measure.ts";
import type { ChildMessage, ChildRequest, GpuMeasurement } from "./messages.ts";
import { prepareGeneration, prepareTraining } from "./models.ts";
import { expectedSample, prepareOperation, type OperationTask } from "./operations.ts";
import { measurePeaks } from "./peak.ts";
import { fullGroups, trialGroups, type GpuWorkload } from "./workloads.ts";

const request = JSON.parse(process.argv[2]!) as ChildRequest;

function say(message: ChildMessage): Promise<void> {
  return new Promise((resolve, reject) => process.send!(message, (error: Error | null) => (error ? reject(error) : resolve())));
}

/** @throws Error when the GPU computes something else than the CPU */
async function check(task: OperationTask): Promise<string> {
  const operation = prepareOperation(task, "webgpu");
  let actual: Float32Array;
  try {
    actual = await operation.sample();
  } finally {
    operation.dispose();
  }
  const expected = await expectedSample(task);
  const difference = disagreement([...expected], [...actual]);
  if (!(difference <= tolerance))
    throw new Error(`wrong numbers: they differ from the CPU's by ${difference.toPrecision(2)} of the largest`);
  return `differs from the CPU by ${difference.toPrecision(1)} of the largest value`;
}

/** Small operations as programs have them: a dependent chain that is fused, with a row-wise operation every third. */
async function measureOverhead(device: WebGpuDevice, operations: number): Promise<Omit<GpuMeasurement, "id">> {
  const [a, b] = [
    tensor(new Float32Array(64).fill(0.5), [8, 8], { device: "webgpu" }),
    tensor(new Float32Array(64).fill(0.1), [8, 8], { device: "webgpu" }),
  ];
  const round = (): void => tidy(() => void softmax(exp(add(a, b))));
  for (let i = 0; i < 200; i++) round();
  await synchronize("webgpu");
  const before = device.statistics();
  const started = performance.now();
  for (let i = 0; i < operations / 3; i++) round();
  const recording = (performance.now() - started) / 1000;
  await synchronize("webgpu");
  const wall = (performance.now() - started) / 1000;
  const after = device.statistics();
  a.dispose();
  b.dispose();
  const launches = after.launches - before.launches;
  return {
    wallSeconds: wall / launches,
    gpuSeconds: null,
    launches,
    submissions: after.submissions - before.submissions,
    slowestKernel: null,
    checked: `${operations} small operations in ${launches} launches`,
    recordingMicroseconds: (recording / launches) * 1e6,
  };
}

async function measureWorkload(device: WebGpuDevice, { task, work }: GpuWorkload, effort: GpuEffort): Promise<Omit<GpuMeasurement, "id">> {
  if (task.kind === "overhead") return await measureOverhead(device, task.operations);
  if (task.kind === "generate" || task.kind === "train") {
    const model =
      task.kind === "train" ? await prepareTraining(task.shape) : await prepareGeneration(task, () => device.statistics().submissions);
    try {
      const timing = await timeCalls(device, () => model.run(), { ...effort, maximumCalls: 1 });
      return {
        ...timing,
        // For one token or step, not for the whole text.
        launches: timing.launches / (task.kind === "generate" ? work : 1),
        submissions: timing.submissions / (task.kind === "generate" ? work : 1),
        checked: model.note,
        ...(model.submissionsPerToken !== undefined && { submissionsPerToken: model.submissionsPerToken }),
      };
    } finally {
      model.dispose();
    }
  }
  const checked = await check(task);
  const operation = prepareOperation(task, "webgpu");
  try {
    return { ...(await timeCalls(device, () => operation.run(), effort)), checked };
  } finally {
    operation.dispose();
  }
}

// The parent is gone, or has all answers.
process.on("disconnect", () => process.exit());

const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);

const { adapter, report, device } = await openGpu();
await say({ type: "adapter", report });
if (request.group === undefined) {
  await say({ type: "peaks", peaks: await measurePeaks(adapter, report.software) });
} else {
  const only = new RegExp(request.only);
  const groups = request.scale === "full" ? fullGroups : trialGroups;
  for (const workload of groups[request.group]!.filter(({ id }) => only.test(id))) {
    const { id, largestBuffer } = workload;
    try {
      if (largestBuffer > report.maximumBufferBytes) {
        throw new Error(
          `needs a buffer of ${mebibytes(largestBuffer)} MiB, the adapter has ${mebibytes(report.maximumBufferBytes)} MiB`,
        );
      }
      await say({ type: "started", id });
      const measured = await measureWorkload(device, workload, request.quick ? quickGpuEffort : fullGpuEffort);
      await say({ type: "measured", measurement: { id, ...measured } });
    } catch (error) {
      await say({ type: "failed", id, reason: error instanceof Error ? error.message.split("\n", 1)[0]! : String(error) });
    }
  }
}
device.destroy();
process.disconnect!();
