import { afterAll, describe, expect, it } from "vitest";
import { getThreads, setThreads } from "../backend/cpu.ts";
import { memory } from "../backend/inspection.ts";
import {
  AdamW,
  add,
  causalConv1d,
  clipByGlobalNorm,
  crossEntropy,
  embedding,
  Generator,
  irfft2,
  linear,
  mean,
  Parameter,
  permute,
  reshape,
  rfft2,
  rmsNorm,
  scaledDotProductAttention,
  selectiveScan,
  scope,
  split,
  square,
  swiglu,
  tensor,
  valueAndGrad,
  type Tensor,
} from "../index.ts";

const [batch, sequence, width, heads, vocabulary, stateSize] = [3, 129, 64, 4, 301, 5];

/** Two training steps of a network that uses every family of kernels; the bits of all parameters afterwards. */
async function train(threads: number): Promise<Uint8Array[]> {
  setThreads(threads);
  const generator = new Generator(4);
  const weight = (...shape: number[]): Parameter => new Parameter(generator.normal(shape, 0, 0.1));
  const table = weight(vocabulary, width);
  const [qkv, out, gate, up, down] = [
    weight(3 * width, width),
    weight(width, width),
    weight(170, width),
    weight(170, width),
    weight(width, 170),
  ];
  const [convolution, states] = [weight(width, 4), weight(width, stateSize)];
  const [toInput, toOutput, toDelta] = [weight(stateSize, width), weight(stateSize, width), weight(width, width)];
  const parameters = [table, qkv, out, gate, up, down, convolution, states, toInput, toOutput, toDelta];
  const optimizer = new AdamW(parameters, { learningRate: 0.01 });
  const ids = tensor(
    Int32Array.from({ length: batch * sequence }, (_, i) => (i * 37) % vocabulary),
    [batch, sequence],
  );
  const forward = (): Tensor => {
    let hidden: Tensor = embedding(table as Tensor, ids as Tensor);
    const parts = split(linear(rmsNorm(hidden), qkv), 3, -1).map((part) =>
      permute(reshape(part, [batch, sequence, heads, -1]), [0, 2, 1, 3]),
    );
    const [query, key, value] = parts as [Tensor, Tensor, Tensor];
    const mixed = permute(scaledDotProductAttention(query, key, value, { causal: true }), [0, 2, 1, 3]);
    hidden = add(hidden, linear(reshape(mixed, hidden.shape), out));
    hidden = add(hidden, linear(swiglu(linear(hidden, gate), linear(hidden, up)), down));
    const input = causalConv1d(hidden, convolution, { silu: true });
    const scanned = selectiveScan({
      input,
      delta: linear(input, toDelta),
      stateMatrix: square(states).negative(),
      inputMatrix: linear(input, toInput),
      outputMatrix: linear(input, toOutput),
      deltaSoftplus: true,
    });
    const { real, imaginary } = rfft2(scanned.output, { norm: "ortho" });
    const filtered = irfft2({ real: real.multiply(0.9), imaginary }, { norm: "ortho" });
    return add(crossEntropy(linear(add(hidden, filtered), table as Tensor), ids as Tensor), mean(square(hidden)));
  };
  for (let step = 0; step < 2; step++) {
    using _ = scope();
    const [, gradients] = valueAndGrad(forward)(parameters);
    optimizer.step(clipByGlobalNorm(gradients, 1).gradients);
  }
  const values = await Promise.all(parameters.map((parameter) => parameter.data()));
  for (const made of [...parameters, optimizer, ids]) made.dispose();
  return values.map((value) => new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
}

describe("training on the CPU", () => {
  const threads = getThreads();
  afterAll(() => setThreads(threads));

  it("gives the same bits for any number of threads", async () => {
    const before = memory("cpu").allocations;
    const single = await train(1);
    const several = await train(3);
    single.forEach((bits, i) => expect(Buffer.compare(bits, several[i]!), `parameter ${i}`).toBe(0));
    expect(memory("cpu").allocations).toBe(before);
  });
});
