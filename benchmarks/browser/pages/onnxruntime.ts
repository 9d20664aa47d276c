/** ONNX Runtime Web on its WebGPU execution provider; inputs and outputs stay in GPU buffers. */
import * as ort from "onnxruntime-web/webgpu";
import { onnxModel, type Graph, type Node } from "../../src/onnx-model.ts";
import type { PageTask, PreparedPage } from "./contract.ts";
import { offer, uniform } from "./page.ts";

const storage = 128;
const copySource = 4;
const copyDestination = 8;

/** Its own inputs are named x0, x1, … and its output y. */
function graphOf(task: PageTask): { readonly graph: Graph; readonly inputs: readonly (readonly number[])[] } | undefined {
  const graph = (
    shapes: readonly (readonly number[])[],
    output: readonly number[],
    nodes: readonly Node[],
    constants: Graph["initializers"] = [],
  ) => ({
    inputs: shapes,
    graph: {
      nodes,
      inputs: shapes.map((shape, i) => ({ name: `x${i}`, type: "float32" as const, shape })),
      outputs: [{ name: "y", type: "float32" as const, shape: output }],
      initializers: constants,
    },
  });
  switch (task.kind) {
    case "gemm": {
      const shape = [task.size, task.size];
      return graph([shape, shape], shape, [{ operator: "MatMul", inputs: ["x0", "x1"], outputs: ["y"] }]);
    }
    case "add":
      return graph([[task.size], [task.size]], [task.size], [{ operator: "Add", inputs: ["x0", "x1"], outputs: ["y"] }]);
    case "softmax": {
      const shape = [task.rows, task.columns];
      return graph([shape], shape, [{ operator: "Softmax", inputs: ["x0"], outputs: ["y"], integers: { axis: -1 } }]);
    }
    case "attention": {
      const shape = [1, task.heads, task.length, task.headDim];
      // Keys are fed as columns already: this writer knows no list attributes, and so no permutation.
      return graph(
        [shape, [1, task.heads, task.headDim, task.length], shape],
        shape,
        [
          { operator: "MatMul", inputs: ["x0", "x1"], outputs: ["scores"] },
          { operator: "Mul", inputs: ["scores", "scale"], outputs: ["scaled"] },
          { operator: "Softmax", inputs: ["scaled"], outputs: ["weights"], integers: { axis: -1 } },
          { operator: "MatMul", inputs: ["weights", "x2"], outputs: ["y"] },
        ],
        [{ name: "scale", shape: [], values: Float32Array.of(1 / Math.sqrt(task.headDim)) }],
      );
    }
    case "gradient":
      // Its training package ended with 1.19.
      return undefined;
  }
}

/** Each [length, width] matrix transposed. */
function columnsOf(rows: Float32Array, length: number, width: number): Float32Array<ArrayBuffer> {
  const size = length * width;
  return Float32Array.from(rows, (_, i) => rows[Math.floor(i / size) * size + (i % length) * width + Math.floor((i % size) / length)]!);
}

async function prepare(task: PageTask): Promise<PreparedPage | undefined> {
  const described = graphOf(task);
  if (described === undefined) return undefined;
  const session = await ort.InferenceSession.create(onnxModel(described.graph), {
    executionProviders: ["webgpu"],
    preferredOutputLocation: "gpu-buffer",
  });
  const device = (await ort.env.webgpu.device) as GPUDevice;
  const buffers: GPUBuffer[] = [];
  const feeds = Object.fromEntries(
    described.inputs.map((shape, i) => {
      const rows = uniform(
        shape.reduce((product, length) => product * length, 1),
        i + 1,
      );
      const values = task.kind === "attention" && i === 1 ? columnsOf(rows, task.length, task.headDim) : rows;
      const buffer = device.createBuffer({ size: Math.ceil(values.byteLength / 16) * 16, usage: storage | copySource | copyDestination });
      device.queue.writeBuffer(buffer, 0, values);
      buffers.push(buffer);
      return [`x${i}`, ort.Tensor.fromGpuBuffer(buffer as never, { dataType: "float32", dims: [...shape] })];
    }),
  );
  let last: ort.Tensor | undefined;
  return {
    async run() {
      last?.dispose();
      last = (await session.run(feeds))["y"]!;
      await device.queue.onSubmittedWorkDone();
    },
    result: async () => (await last!.getData()) as Float32Array,
    dispose() {
      last?.dispose();
      for (const buffer of buffers) buffer.destroy();
      void session.release();
    },
  };
}

offer(async () => {
  ort.env.wasm.wasmPaths = "/onnxruntime/";
  ort.env.wasm.numThreads = 1;
  return { prepare };
});
