/**
 * Trains a small network on the GPU, or on the CPU where there is none: the code is the same. On a GPU it keeps the compiled kernels for
 * the next run, and shows where the time of a step goes. Needs the package "webgpu" for the GPU. Run: node examples/webgpu-training.ts
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import {
  AdamW,
  DeviceError,
  Generator,
  Linear,
  Sequential,
  clipByGlobalNorm,
  crossEntropy,
  memory,
  tensor,
  tidy,
  valueAndGrad,
  type Tensor,
} from "@frugal/tensor-core";
import { loadPipelines, savePipelines, webgpu, type WebGpuDevice } from "@frugal/tensor-core/webgpu";

async function openGpu(): Promise<WebGpuDevice | undefined> {
  try {
    return await webgpu();
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    console.log(`on the CPU: ${error.message}`);
    return undefined;
  }
}

const gpu = await openGpu();
const device = gpu === undefined ? "cpu" : "webgpu";
if (gpu !== undefined) console.log(`on ${gpu.adapter.description || gpu.adapter.device}`);
// What an earlier run compiled is compiled at once and in parallel, not kernel by kernel as training gets to them.
const pipelines = join(tmpdir(), "frugal-webgpu-training.json");
if (gpu !== undefined) console.log("saved pipelines:", await loadPipelines(gpu, pipelines));

// Three arms of a spiral.
const arms = 3;
const perArm = 300;
const random = new Generator(11);
const noise = await random.normal([arms * perArm], 0, 0.15).data();
const points = Array.from({ length: arms * perArm }, (_, i) => {
  const radius = (i % perArm) / perArm;
  const angle = 4 * radius + (Math.floor(i / perArm) * 2 * Math.PI) / arms + noise[i]!;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
});
const inputs: Tensor = tensor(points, { device });
const classes: Tensor = tensor(Int32Array.from({ length: arms * perArm }, (_, i) => Math.floor(i / perArm)), { device });

const model = new Sequential(
  Linear.create(2, 128, { generator: random, activation: "silu", device }),
  Linear.create(128, 128, { generator: random, activation: "silu", device }),
  Linear.create(128, arms, { generator: random, device }),
);
const optimizer = new AdamW(model.parameters(), { learningRate: 0.01 });

/** One step over all points. Nothing waits for the GPU in here. */
function train(): Tensor {
  return tidy(() => {
    const [loss, gradients] = valueAndGrad(() => crossEntropy(model.forward(inputs), classes))(optimizer.parameters);
    optimizer.step(clipByGlobalNorm(gradients, 1).gradients);
    return loss;
  });
}

const steps = 150;
const start = performance.now();
for (let step = 0; step < steps; step++) {
  const loss = train();
  // Reading waits for the GPU, so now and then is enough.
  if (step % 30 === 0) console.log(`step ${String(step).padStart(3)}: loss ${(await loss.item()).toFixed(4)}`);
  loss.dispose();
}
const accuracy: Tensor = tidy(() => model.forward(inputs).argmax(1).equal(classes).cast("float32").mean());
console.log(`accuracy ${(100 * (await accuracy.item())).toFixed(1)} % after ${((performance.now() - start) / 1000).toFixed(1)} s`);
accuracy.dispose();

if (gpu !== undefined) {
  const { launches, submissions } = gpu.statistics();
  console.log(`${launches} launches in ${submissions} submissions`);
  if (gpu.features.timestamps) {
    const { profile } = await gpu.profile(() => train().dispose());
    console.log(profile.toTable(8));
    const trace = join(tmpdir(), "frugal-webgpu-training-trace.json");
    await writeFile(trace, JSON.stringify(profile.toChromeTrace()));
    console.log(`the same on a time line: open ${trace} in ui.perfetto.dev`);
  }
  console.log("pipelines kept:", await savePipelines(gpu, pipelines));
}
for (const each of [inputs, classes, model, optimizer]) each.dispose();
console.log(`tensors left: ${memory(device).allocations}`);
