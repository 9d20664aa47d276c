/**
 * Program of a child process for the claims about WebGPU, started with the environment of a lane: `generate` or `leak`. Prints one line of
 * JSON and has to end by itself: nothing here ends the process.
 */
import { add, exp, memory, softmax, synchronize, tensor, tidy } from "@frugal/tensor-core";
import { webgpu, type WebGpuDevice } from "@frugal/tensor-core/webgpu";
import { generateTokens, loadLlamaTokenizer, loadModel, openStories15m } from "@frugal/language-model";
import { laneGpu } from "./webgpu-lane.ts";

/** Of `generate`: share of the expected text from its start, and submissions a token once all kernels are compiled. */
export interface GenerateReport {
  readonly matchingShare: number;
  readonly tokens: number;
  readonly mostSubmissions: number;
  readonly meanSubmissions: number;
}

/** Of `leak`: allocations more than before. */
export interface LeakReport {
  readonly afterOperations: number;
  readonly afterCycles: number;
  readonly operations: number;
  readonly cycles: number;
  /** Resident memory gained from the tenth cycle to the last, in MiB. */
  readonly grownMebibytes: number;
}

const expected =
  ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";

async function generate(device: WebGpuDevice): Promise<GenerateReport> {
  const source = await openStories15m();
  const model = await loadModel(source, { device: "webgpu" });
  await source.close();
  const tokenizer = await loadLlamaTokenizer();
  const prompt = tokenizer.encode("Once upon a time");
  const maxNewTokens = tokenizer.encode(`Once upon a time${expected}`).length - prompt.length;
  const ids: number[] = [];
  const submissions: number[] = [];
  // The first time compiles, which takes a submission for each new kernel.
  for (const counted of [false, true]) {
    let last = device.statistics().submissions;
    for await (const { id } of generateTokens(model, prompt, { maxNewTokens })) {
      const now = device.statistics().submissions;
      if (counted) submissions.push(now - last);
      else ids.push(id);
      last = now;
    }
  }
  model.dispose();
  const decoder = tokenizer.streamDecoder({ continuation: true });
  const text = ids.map((id) => decoder.push(id)).join("") + decoder.end();
  let matching = 0;
  while (matching < expected.length && text[matching] === expected[matching]) matching++;
  return {
    matchingShare: matching / expected.length,
    tokens: submissions.length,
    mostSubmissions: Math.max(...submissions),
    meanSubmissions: submissions.reduce((total, count) => total + count, 0) / submissions.length,
  };
}

const allocations = (): number => memory("webgpu").allocations;

async function leak(first: WebGpuDevice, gpu: GPU): Promise<LeakReport> {
  const [operations, cycles] = [10_000, 100];
  const before = allocations();
  const [a, b] = [1, 2].map((value) => tensor(new Float32Array(64).fill(value / 10), [8, 8], { device: "webgpu" })) as [
    ReturnType<typeof tensor>,
    ReturnType<typeof tensor>,
  ];
  for (let i = 0; i < operations; i += 3) tidy(() => void softmax(exp(add(a, b))));
  a.dispose();
  b.dispose();
  await synchronize("webgpu");
  const afterOperations = allocations() - before;
  first.destroy();
  let afterCycles = 0;
  let tenth = 0;
  for (let cycle = 1; cycle <= cycles; cycle++) {
    const device = await webgpu({ gpu });
    const start = allocations();
    const input = tensor([1, 2, 3], { device: "webgpu" });
    const result = exp(input);
    const [value] = await result.data();
    if (!(Math.abs(value! - Math.E) < 1e-5)) throw new Error(`cycle ${cycle}: exp(1) is ${value}`);
    input.dispose();
    result.dispose();
    afterCycles += allocations() - start;
    device.destroy();
    await device.lost;
    if (cycle === 10) tenth = process.memoryUsage().rss;
  }
  return { afterOperations, afterCycles, operations, cycles, grownMebibytes: (process.memoryUsage().rss - tenth) / 2 ** 20 };
}

const gpu = await laneGpu();
const device = await webgpu({ gpu });
const report = process.argv[2] === "leak" ? await leak(device, gpu) : await generate(device);
console.log(JSON.stringify(report));
