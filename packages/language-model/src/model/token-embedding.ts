import {
  add,
  cast,
  concatenate,
  embedding,
  expandDims,
  floor,
  linear,
  Module,
  multiply,
  QuantizedTensor,
  remainder,
  tidy,
  type Parameter,
  type Tensor,
} from "@frugal/tensor-core";

/**
 * The table of token vectors, which is also the output head where the two are tied. In groups it takes a quarter of the memory: rows are
 * dequantised as they are looked up, for inference.
 */
export class TokenEmbedding extends Module {
  /** [vocabularySize, hiddenSize]. */
  weight: Parameter | QuantizedTensor;

  constructor(weight: Parameter | QuantizedTensor) {
    super();
    this.weight = weight;
  }

  /** ids int32 [...] → float32 [..., hiddenSize]. */
  forward(ids: Tensor): Tensor {
    const { weight } = this;
    return weight instanceof QuantizedTensor ? quantizedRows(weight, ids) : tidy(() => embedding(weight as Tensor, ids).cast("float32"));
  }

  /** hidden [..., hiddenSize] → logits [..., vocabularySize]. */
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.weight);
  }
}

/** Rows of a quantised table by id: scale · q + minimum, group by group. */
function quantizedRows(table: QuantizedTensor, ids: Tensor): Tensor {
  const [, features] = table.shape;
  const grouped = (part: Tensor): Tensor => expandDims(embedding(part, ids), -1);
  const codes = cast(embedding(table.values, ids), "float32");
  const values = table.format === "int8" ? codes : unpackNibbles(codes);
  const groups = values.reshape([...ids.shape, features / table.groupSize, table.groupSize]);
  const scaled = multiply(groups, grouped(table.scales));
  return (table.minimums === undefined ? scaled : add(scaled, grouped(table.minimums))).reshape([...ids.shape, features]);
}

/** Two numbers from 0 to 15 out of each byte, the low one first: [..., n] → [..., n, 2]. */
function unpackNibbles(bytes: Tensor): Tensor {
  const low = remainder(bytes, 16);
  const high = floor(multiply(bytes, 1 / 16));
  return concatenate([expandDims(low, -1), expandDims(high, -1)], -1);
}
