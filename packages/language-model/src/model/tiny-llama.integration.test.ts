import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { float16BitsToFloat32, tensor, tidy } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { generateText } from "../generation/generate.ts";
import { createGgufTokenizer } from "../tokenizer/gguf-tokenizer.ts";
import { modelCacheFolder } from "../weights/download/cache-folder.ts";
import { TINY_LLAMA } from "../weights/download/tiny-llama.ts";
import { openGgufFile } from "../weights/gguf/gguf.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import { loadModel } from "./load-model.ts";

// 323 MB that not every machine has: these tests run where the model was fetched before (`language-model fetch tinyllama`).
const path = join(await modelCacheFolder(), TINY_LLAMA.fileName);
const present = existsSync(path);
if (!present) console.warn(`SKIPPED: TinyLlama is not at ${path}; fetch it with: language-model fetch tinyllama`);

const indexSchema = z.object({
  hidden: z.literal(2048),
  prompts: z.array(z.object({ row: z.int(), tokens: z.array(z.int()) })).min(20),
});

describe("TinyLlama-1.1B", () => {
  const index = sharedData("tinyllama-1.1b-activations", "index.json");
  const activations = sharedData("tinyllama-1.1b-activations", "test_l1.f16");

  it.skipIf(!present || index === undefined).each(["float32", "file"] as const)(
    "has the recorded activations after its first block, to the precision of float16 (weights as %s)",
    async (precision) => {
      const { prompts } = indexSchema.parse(JSON.parse(await readFile(index!, "utf8")));
      const bytes = await readFile(activations!);
      const recorded = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
      const source = await openGgufFile(path);
      using model = await loadModel(source, { precision, parts: { blocks: [0, 1], head: false } });
      await source.close();
      let squaredError = 0;
      let squaredNorm = 0;
      let worst = 0;
      for (const { row, tokens } of prompts) {
        using input = tensor(Int32Array.from(tokens), [1, tokens.length]);
        using hidden = tidy(() => model.forwardBlocks(model.embed(input), 0, 1));
        const values = await hidden.data("float32");
        for (let i = 0; i < values.length; i++) {
          const expected = float16BitsToFloat32(recorded[row * 2048 + i]!);
          squaredError += (values[i]! - expected) ** 2;
          squaredNorm += expected ** 2;
          // Half a unit in the last place of float16, and what float32 sums of 5,632 products may differ by.
          worst = Math.max(worst, Math.abs(values[i]! - expected) / (2 ** -11 * Math.abs(expected) + 2 ** -14));
        }
      }
      expect(Math.sqrt(squaredError / squaredNorm)).toBeLessThan(2 ** -11);
      expect(worst).toBeLessThan(1);
    },
  );

  it.skipIf(!present)("answers a question sensibly", async () => {
    const source = await openGgufFile(path);
    const tokenizer = createGgufTokenizer(source.metadata);
    using model = await loadModel(source);
    await source.close();
    expect(model.parameterCount).toBe(1_100_048_384);
    const question = "<|user|>\nWhat is the capital of France?</s>\n<|assistant|>\n";
    const encoded = { ...tokenizer, encode: (text: string): number[] => tokenizer.encode(text, { parseSpecial: true }) };
    const { text } = await generateText(model, encoded, question, { maxNewTokens: 24 });
    expect(text).toContain("Paris");
  });
});
