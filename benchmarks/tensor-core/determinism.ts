import {
  Generator,
  matmul,
  multiply,
  scaledDotProductAttention,
  setThreads,
  softmax,
  sum,
  tensor,
  tidy,
  valueAndGrad,
  type Tensor,
} from "@frugal/tensor-core";
import { createModel, createTokenDataset, smallModelConfiguration, Trainer } from "@frugal/language-model";
import { availableParallelism } from "node:os";
import { tokenIds, uniform } from "../src/inputs.ts";

/** Odd sizes, so that threads get unequal shares. */
const computations: Readonly<Record<string, () => readonly Tensor<"cpu">[]>> = {
  gemm: () => [matmul(tensor(uniform(515 * 389, 1), [515, 389]), tensor(uniform(389 * 611, 2), [389, 611]))],
  softmax: () => [softmax(tensor(uniform(777 * 1031, 3), [777, 1031]))],
  sum: () => {
    const input = tensor(uniform(1009 * 997, 4), [1009, 997]);
    return [sum(input), sum(input, 0), sum(input, 1)];
  },
  attention: () => {
    const parts = [5, 6, 7].map((seed) => tensor(uniform(2 * 4 * 131 * 48, seed), [2, 4, 131, 48]));
    const attended = (): Tensor => scaledDotProductAttention(parts[0]!, parts[1]!, parts[2]!, { causal: true });
    const [, gradients] = valueAndGrad(() => sum(multiply(attended(), attended())))(parts);
    return [attended(), ...gradients] as Tensor<"cpu">[];
  },
};

/** Words of all parameters after two training steps. */
async function trainedWords(): Promise<Uint32Array[]> {
  const model = createModel(
    smallModelConfiguration({ vocabularySize: 300, hiddenSize: 96, numHiddenLayers: 2, numAttentionHeads: 4, maxPositionEmbeddings: 64 }),
    { generator: new Generator(3) },
  );
  const trainer = new Trainer(model, createTokenDataset(tokenIds(5000, 300), { batchSize: 5, sequenceLength: 61 }), { totalSteps: 10 });
  await trainer.step();
  await trainer.step();
  const words: Uint32Array[] = [];
  for (const parameter of model.parameters()) words.push(words32(await parameter.data("float32")));
  trainer.dispose();
  model.dispose();
  return words;
}

const words32 = (values: Float32Array): Uint32Array => new Uint32Array(values.slice().buffer);

async function results(threads: number): Promise<Uint32Array[]> {
  setThreads(threads);
  const words = Object.values(computations).flatMap((compute) =>
    tidy(() => compute().map((result) => words32(result.dataSync("float32")))),
  );
  return [...words, ...(await trainedWords())];
}

/** Elements of GEMM, softmax, sums, attention with its gradients and a trained model that differ in any bit between one thread and more. */
export async function countThreadDifferences(): Promise<{ readonly value: number; readonly note: string }> {
  const expected = await results(1);
  let compared = 0;
  let different = 0;
  const counts = [...new Set([2, 3, Math.min(8, availableParallelism())])].filter((threads) => threads > 1);
  for (const threads of counts) {
    for (const [i, words] of (await results(threads)).entries()) {
      compared += words.length;
      if (words.length !== expected[i]!.length) different += words.length;
      else for (let j = 0; j < words.length; j++) if (words[j] !== expected[i]![j]) different++;
    }
  }
  setThreads(1);
  return { value: different, note: `${compared} elements at 1 and ${counts.join(", ")} threads` };
}
