/** ONNX Runtime; the variant is "web" (WebAssembly with SIMD and threads) or "node" (native). */
import type * as Onnx from "onnxruntime-common";
import { sampleOf, uniform } from "../src/inputs.ts";
import { onnxModel, type Graph, type Initializer } from "../src/onnx-model.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";
import { prepareOnnxGeneration } from "./onnxruntime-generation.ts";

/** What the web and the native package have in common. */
export type Runtime = typeof Onnx;

/** Graph of one operator: two-input operators take a and b, the others x. */
function graphOf(
  task: Task,
): { readonly graph: Graph; readonly feeds: Readonly<Record<string, readonly [Float32Array, readonly number[]]>> } | undefined {
  const binary = (operator: string, shape: readonly number[]): ReturnType<typeof graphOf> => {
    const size = shape.reduce((product, length) => product * length, 1);
    return {
      graph: {
        nodes: [{ operator, inputs: ["a", "b"], outputs: ["y"] }],
        inputs: [
          { name: "a", type: "float32", shape },
          { name: "b", type: "float32", shape },
        ],
        outputs: [{ name: "y", type: "float32", shape }],
      },
      feeds: { a: [uniform(size, 1), shape], b: [uniform(size, 2), shape] },
    };
  };
  const unary = (
    operator: string,
    shape: readonly number[],
    initializers: readonly Initializer[] = [],
    integers: Readonly<Record<string, number>> = {},
    floats: Readonly<Record<string, number>> = {},
  ): ReturnType<typeof graphOf> => ({
    graph: {
      nodes: [{ operator, inputs: ["x", ...initializers.map(({ name }) => name)], outputs: ["y"], integers, floats }],
      inputs: [{ name: "x", type: "float32", shape }],
      outputs: [{ name: "y", type: "float32", shape }],
      initializers,
    },
    feeds: {
      x: [
        uniform(
          shape.reduce((product, length) => product * length, 1),
          1,
        ),
        shape,
      ],
    },
  });
  switch (task.kind) {
    case "gemm":
      return binary("MatMul", [task.size, task.size]);
    case "add":
      return binary("Add", [task.size]);
    case "smallAdd":
      return binary("Add", [8, 8]);
    case "exp":
      return unary("Exp", [task.size]);
    case "softmax":
      return unary("Softmax", [task.rows, task.columns], [], { axis: -1 });
    case "layerNorm":
    case "rmsNorm": {
      const weight = { name: "weight", shape: [task.columns], values: uniform(task.columns, 2) };
      const bias = { name: "bias", shape: [task.columns], values: uniform(task.columns, 3) };
      return task.kind === "layerNorm"
        ? unary("LayerNormalization", [task.rows, task.columns], [weight, bias], { axis: -1 }, { epsilon: 1e-5 })
        : unary("SimplifiedLayerNormalization", [task.rows, task.columns], [weight], { axis: -1 }, { epsilon: 1e-5 });
    }
    default:
      return undefined;
  }
}

/** Settings of sessions. */
export function sessionOptions(threads: number): Onnx.InferenceSession.SessionOptions {
  return { intraOpNumThreads: threads, interOpNumThreads: 1, executionMode: "sequential", graphOptimizationLevel: "all" };
}

async function prepare(runtime: Runtime, providers: readonly string[], threads: number, task: Task): Promise<Prepared | undefined> {
  if (task.kind === "generate") return await prepareOnnxGeneration(runtime, providers, threads, task.tokens);
  const described = graphOf(task);
  if (described === undefined) return undefined;
  const session = await runtime.InferenceSession.create(onnxModel(described.graph), {
    ...sessionOptions(threads),
    executionProviders: providers,
  });
  const feeds = Object.fromEntries(
    Object.entries(described.feeds).map(([name, [values, shape]]) => [name, new runtime.Tensor("float32", values, shape)]),
  );
  let result: Onnx.Tensor | undefined;
  return {
    runAsync: async () => void (result = (await session.run(feeds))["y"]),
    sample: () => sampleOf(result!.data as Float32Array),
    dispose: () => session.release(),
  };
}

export const adapter: Adapter = {
  async open(threads, variant = "web") {
    if (variant === "node") {
      const { default: runtime } = (await import("onnxruntime-node")) as unknown as { default: Runtime };
      return { version: packageVersion("onnxruntime-node"), prepare: (task) => prepare(runtime, ["cpu"], threads, task) };
    }
    const runtime = (await import("onnxruntime-web")) as unknown as Runtime;
    runtime.env.wasm.numThreads = threads;
    runtime.env.wasm.proxy = false;
    return { version: packageVersion("onnxruntime-web"), prepare: (task) => prepare(runtime, ["wasm"], threads, task) };
  },
};
