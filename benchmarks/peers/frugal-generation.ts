import { generateTokens, loadLlamaTokenizer, loadModel, openStories15m, type WeightPrecision } from "@frugal/language-model";
import type { Prepared } from "../src/workload.ts";

/** The text that every library continues. */
export const prompt = "Once upon a time";

/** Greedy continuation of stories15M; the sample is the token ids. */
export async function prepareGeneration(tokens: number, precision: string | undefined): Promise<Prepared> {
  const source = await openStories15m();
  const model = await loadModel(source, { precision: precision as WeightPrecision });
  await source.close();
  const tokenizer = await loadLlamaTokenizer();
  const promptIds = tokenizer.encode(prompt);
  const generate = async (): Promise<number[]> => {
    const ids: number[] = [];
    for await (const { id } of generateTokens(model, promptIds, { maxNewTokens: tokens, temperature: 0, stopTokenIds: [] })) ids.push(id);
    return ids;
  };
  return {
    runAsync: async () => void (await generate()),
    sample: generate,
    dispose: () => model.dispose(),
  };
}
