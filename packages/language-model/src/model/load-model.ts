import { Parameter, quantize, QuantizedTensor, tensor, type DeviceName, type QuantizedFormat } from "@frugal/tensor-core";
import { WeightFormatError } from "../errors.ts";
import { canGroup } from "../weights/grouped-quantization.ts";
import { readFloat32Weight, readGroupedWeight } from "../weights/read-weight.ts";
import type { WeightSource } from "../weights/weight-source.ts";
import { DecoderModel, type ModelParts } from "./decoder-model.ts";

/** How weight matrices are held in memory. */
export type WeightPrecision =
  /** As the file has them: block encodings as groups without loss, floats as float32. */
  | "file"
  | "float32"
  | "float16"
  /** Matrices rounded to groups of 32; block encodings keep their own integers. */
  | QuantizedFormat;

/** Options of `loadModel`. */
export interface LoadModelOptions {
  /** Default "cpu". */
  readonly device?: DeviceName;
  /** Default "file". Norms, biases and the embedding stay in floats. */
  readonly precision?: WeightPrecision;
  /** Default: everything. */
  readonly parts?: ModelParts;
  /** Called after each tensor. */
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number; readonly name: string }) => void;
  /** Aborts between tensors. */
  readonly signal?: AbortSignal;
}

const blockName = /^model\.layers\.(\d+)\./;

/** Whether these parts use a tensor. */
function isWanted(name: string, source: WeightSource, { blocks, embedding = true, head = true }: ModelParts): boolean {
  const block = blockName.exec(name)?.[1];
  if (block !== undefined) return blocks === undefined || (Number(block) >= blocks[0] && Number(block) < blocks[1]);
  if (name === "model.embed_tokens.weight") return embedding || (head && source.config.tieWordEmbeddings);
  return head;
}

/** A projection inside a block, or the output head: what may be held in fewer bits. */
function isProjection(name: string): boolean {
  return name.endsWith("_proj.weight") || name === "lm_head.weight";
}

async function readWeight(source: WeightSource, name: string, precision: WeightPrecision, device: DeviceName): Promise<Parameter | QuantizedTensor> {
  const { shape, encoding } = source.descriptors.get(name)!;
  const projection = isProjection(name);
  if (projection && canGroup(encoding) && precision !== "float32" && precision !== "float16") {
    const { format, groupSize, values, scales, minimums } = await readGroupedWeight(source, name);
    const [outputs, inputs] = shape as readonly [number, number];
    const grouped = [outputs, inputs / groupSize];
    return new QuantizedTensor({
      format, groupSize, shape: [outputs, inputs],
      values: tensor(values, [outputs, format === "uint4" ? inputs / 2 : inputs], { device }),
      scales: tensor(scales, grouped, { device }),
      minimums: minimums && tensor(minimums, grouped, { device }),
    });
  }
  const dense = tensor(await readFloat32Weight(source, name), shape, { device });
  if (projection && (precision === "int8" || precision === "uint4")) {
    const rounded = await quantize(dense, { format: precision });
    dense.dispose();
    return rounded;
  }
  if (projection && precision === "float16") {
    const half = dense.cast("float16");
    dense.dispose();
    return new Parameter(half);
  }
  return new Parameter(dense);
}

/**
 * Loads a model, or some of its parts, tensor by tensor: only one tensor is on its way at a time. The source stays open.
 * @throws WeightFormatError for NaN or infinite weights; what was loaded is freed
 */
export async function loadModel(
  source: WeightSource, { device = "cpu", precision = "file", parts = {}, onProgress, signal }: LoadModelOptions = {},
): Promise<DecoderModel> {
  const names = [...source.descriptors.keys()].filter((name) => isWanted(name, source, parts));
  const weights = new Map<string, Parameter | QuantizedTensor>();
  try {
    for (const name of names) {
      signal?.throwIfAborted();
      weights.set(name, await readWeight(source, name, precision, device));
      onProgress?.({ loaded: weights.size, total: names.length, name });
    }
    return new DecoderModel(source.config, (name) => weights.get(name), { device, parts });
  } catch (error) {
    for (const weight of weights.values()) weight.dispose();
    if (error instanceof TypeError) throw new WeightFormatError("weights", error.message, { cause: error });
    throw error;
  }
}
