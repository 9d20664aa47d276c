import { readFloat32Weight, type WeightSource } from "@frugal/language-model";
import { matmul, multiply, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { cholesky } from "@frugal/tensor-core/linalg";
import { CodecTableError } from "../errors.ts";

/** What reads the activations at a block's input: its own projections, and those of its feed-forward, which sees the residual beside. */
const READERS = [
  { norm: "input_layernorm", matrices: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"] },
  { norm: "post_attention_layernorm", matrices: ["mlp.gate_proj", "mlp.up_proj"] },
] as const;

/** Added to the diagonal in proportion to its mean, so that directions no matrix reads still have a factor. */
const RIDGE = 1e-4;

/**
 * Lower triangular L [hiddenSize, hiddenSize] with L·Lᵀ = Σ diag(g)·Wᵀ·W·diag(g) over the matrices W of a block that read its input, behind
 * norms with weights g (the norms' division by the row's length is left out: it scales a row's errors alike). For
 * `CodecTable.consumerFactor`.
 * @throws CodecTableError when the source does not have the block
 */
export async function consumerFactor(source: WeightSource, block: number): Promise<Float32Array> {
  const { hiddenSize } = source.config;
  let gram: Tensor | undefined;
  try {
    for (const { norm, matrices } of READERS) {
      using scale = tensor(await readFloat32Weight(source, nameOf(source, block, norm)), [hiddenSize]);
      for (const matrix of matrices) {
        const values = await readFloat32Weight(source, nameOf(source, block, matrix));
        const before: Tensor | undefined = gram;
        gram = tidy(() => {
          const weight = multiply(tensor(values, [values.length / hiddenSize, hiddenSize]), scale);
          const product = matmul(weight.transpose(), weight);
          return before === undefined ? product : product.add(before);
        });
        before?.dispose();
      }
    }
    const entries = await gram!.data("float32");
    let trace = 0;
    for (let i = 0; i < hiddenSize; i++) trace += entries[i * (hiddenSize + 1)]!;
    for (let i = 0; i < hiddenSize; i++) entries[i * (hiddenSize + 1)]! += (RIDGE * trace) / hiddenSize;
    using regular = tensor(entries, [hiddenSize, hiddenSize]);
    using factor = await cholesky(regular);
    return await factor.data("float32");
  } finally {
    gram?.dispose();
  }
}

function nameOf(source: WeightSource, block: number, part: string): string {
  const name = `model.layers.${block}.${part}.weight`;
  if (!source.descriptors.has(name)) throw new CodecTableError(`the model has no ${name}; what reads block ${block} is not known`);
  return name;
}
