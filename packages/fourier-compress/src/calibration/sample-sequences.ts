import { generateTokens, type NextTokenModel } from "@frugal/language-model";

/** How a model's own text is sampled. */
export interface SampleOptions {
  readonly count: number;
  /** Longest sequence, the begin token included. */
  readonly maxTokens: number;
  /** Default 0.9. */
  readonly temperature?: number;
  /** Of the first sequence; the others follow it. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (sequences: number) => void;
}

/**
 * Text that a model writes by itself from its begin token: calibration without data, and on the distribution that the model knows best.
 * Sequences shorter than two tokens are left out.
 */
export async function sampleSequences(model: NextTokenModel, beginToken: number, options: SampleOptions): Promise<number[][]> {
  const { count, maxTokens, temperature = 0.9, seed = 0, signal, onProgress } = options;
  const sequences: number[][] = [];
  for (let index = 0; index < count; index++) {
    signal?.throwIfAborted();
    const ids = [beginToken];
    const stopTokenIds = [...new Set([beginToken, ...model.config.eosTokenIds])];
    const settings = {
      temperature, seed: seed + index, maxNewTokens: maxTokens - 1, stopTokenIds, ...(signal === undefined ? {} : { signal }),
    };
    for await (const { id } of generateTokens(model, [beginToken], settings)) ids.push(id);
    if (ids.length > 1) sequences.push(ids);
    onProgress?.(index + 1);
  }
  return sequences;
}
