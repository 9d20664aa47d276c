/**
 * wllama: llama.cpp compiled to WebAssembly (64-bit memory, SIMD, threads). Made for browsers; here it gets their `Worker`, a data
 * address for its module, and Node's flag for suspending WebAssembly.
 */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findPackageJSON } from "node:module";
import { loadLlamaTokenizer } from "@frugal/language-model";
import { stories15mGguf } from "../src/gguf-file.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared } from "../src/workload.ts";
import { prompt } from "./frugal-generation.ts";
import { installWebWorker } from "./web-worker.cjs";

/** As much of its interface as is used; the package's main file does not exist, so its types are out of reach too. */
interface Wllama {
  loadModel(files: readonly Blob[], settings: Readonly<Record<string, unknown>>): Promise<void>;
  createCompletion(request: Readonly<Record<string, unknown>>): Promise<{ readonly choices: readonly { readonly text: string }[] }>;
  exit(): Promise<void>;
}
type WllamaModule = { readonly Wllama: new (paths: { readonly default: string }, settings: Readonly<Record<string, unknown>>) => Wllama };

async function prepareGeneration({ Wllama }: WllamaModule, wasm: string, threads: number, tokens: number): Promise<Prepared> {
  // Caches are for downloads, which there are none of.
  const wllama = new Wllama({ default: wasm }, { suppressNativeLog: true, cacheManager: {}, modelManager: {} });
  await wllama.loadModel([await stories15mGguf()], {
    n_threads: threads,
    n_ctx: 256,
    n_gpu_layers: 0,
    n_parallel: 1,
    cache_type_k: "f32",
    cache_type_v: "f32",
  });
  const tokenizer = await loadLlamaTokenizer();
  const generate = async (): Promise<string> =>
    (await wllama.createCompletion({ prompt, max_tokens: tokens, temperature: 0, ignore_eos: true })).choices[0]!.text;
  return {
    runAsync: async () => void (await generate()),
    // It returns text; its tokens are those of the text.
    sample: async () => tokenizer.encode(prompt + (await generate())).slice(tokenizer.encode(prompt).length),
    dispose: () => wllama.exit(),
  };
}

export const adapter: Adapter = {
  async open(threads) {
    installWebWorker(threads);
    Object.assign(globalThis, { self: globalThis, location: { href: "file:///" } });
    const folder = dirname(findPackageJSON("@wllama/wllama", import.meta.url)!);
    const module = (await import(join(folder, "esm", "index.js"))) as WllamaModule;
    const wasm = `data:application/wasm;base64,${(await readFile(join(folder, "esm", "wasm", "wllama.wasm"))).toString("base64")}`;
    return {
      version: packageVersion("@wllama/wllama"),
      prepare: async (task) => (task.kind === "generate" ? await prepareGeneration(module, wasm, threads, task.tokens) : undefined),
    };
  },
};
