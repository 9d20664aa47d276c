import { Parameter, quantize, QuantizedTensor, tensor, type DeviceName, type QuantizedFormat, type Tensor } from "@frugal/tensor-core";
import { UnsupportedModelError } from "../errors.ts";
import { breathe } from "../scheduling/event-loop.ts";
import { canGroup } from "../weights/grouped-quantization.ts";
import { readFloat32Weight, readGroupedWeight } from "../weights/read-weight.ts";
import type { WeightSource } from "../weights/weight-source.ts";
import { blockRangeOf, DecoderModel, type ModelParts } from "./decoder-model.ts";

/** How weight matrices are held in memory. */
export type WeightPrecision =
  /** As the file has them: block encodings as groups without loss, floats as float32. */
  | "file"
  | "float32"
  | "float16"
  /**
   * Floats rounded to groups of 32, 16 or 8, `uint4` in blocks only: embedding and head suffer more and take `int8`. Block encodings keep
   * their own integers.
   */
  | QuantizedFormat;

/** Options of `loadModel`. */
export interface LoadModelOptions {
  /** Default "cpu". */
  readonly device?: DeviceName;
  /** Default "file". Norms and biases stay in float32. */
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

const isProjection = (name: string): boolean => name.endsWith("_proj.weight");
const isTable = (name: string): boolean => name === "lm_head.weight" || name === "model.embed_tokens.weight";

/** Rounds a matrix to the largest groups that fit its rows. */
async function rounded(name: string, dense: Tensor, format: QuantizedFormat): Promise<QuantizedTensor> {
  const inputs = dense.shape[1]!;
  const groupSize = [32, 16, 8].find((size) => inputs % size === 0);
  if (groupSize === undefined) {
    throw new UnsupportedModelError(name, `rows of ${inputs} cannot be cut into groups of 8, 16 or 32; use precision float16 or float32`);
  }
  return await quantize(dense, { format, groupSize });
}

async function readWeight(
  source: WeightSource, name: string, precision: WeightPrecision, device: DeviceName,
): Promise<Parameter | QuantizedTensor> {
  const { shape, encoding } = source.descriptors.get(name)!;
  const matrix = isProjection(name) || isTable(name);
  if (matrix && canGroup(encoding) && precision !== "float32" && precision !== "float16") {
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
  if (!matrix || precision === "file" || precision === "float32") return new Parameter(dense);
  try {
    return precision === "float16" ? new Parameter(dense.cast("float16")) : await rounded(name, dense, isTable(name) ? "int8" : precision);
  } finally {
    dense.dispose();
  }
}

/**
 * Loads a model, or some of its parts, tensor by tensor: only one tensor is on its way at a time. The source stays open.
 * @throws SettingsError for blocks that the model does not have, WeightFormatError for missing, NaN or infinite weights,
 * UnsupportedModelError for matrices that cannot be grouped; what was loaded is freed
 */
export async function loadModel(
  source: WeightSource, { device = "cpu", precision = "file", parts = {}, onProgress, signal }: LoadModelOptions = {},
): Promise<DecoderModel> {
  blockRangeOf(source.config, parts);
  const names = [...source.descriptors.keys()].filter((name) => isWanted(name, source, parts));
  const weights = new Map<string, Parameter | QuantizedTensor>();
  try {
    for (const name of names) {
      await breathe();
      signal?.throwIfAborted();
      weights.set(name, await readWeight(source, name, precision, device));
      onProgress?.({ loaded: weights.size, total: names.length, name });
    }
    return new DecoderModel(source.config, (name) => weights.get(name), { device, parts });
  } catch (error) {
    for (const weight of weights.values()) weight.dispose();
    throw error;
  }
}
