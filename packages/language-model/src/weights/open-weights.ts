import { readerFromFile } from "@frugal/tensor-core";
import { nodeModule } from "@frugal/tensor-core/node";
import { MissingResourceError, WeightFormatError } from "../errors.ts";
import { openGgufFile } from "./gguf/gguf.ts";
import { openHuggingFaceFolder } from "./hugging-face.ts";
import { openLlama2cFile } from "./llama2c.ts";
import type { WeightSource } from "./weight-source.ts";

/**
 * Opens a model by path, whatever its format (Node): a Hugging Face folder, a GGUF file (told by its first four bytes) or a llama2.c
 * `.bin`.
 * @throws MissingResourceError if there is nothing at the path; errors of the format's own reader otherwise
 */
export async function openWeights(path: string): Promise<WeightSource> {
  const { stat } = nodeModule("node:fs/promises");
  const status = await stat(path).catch((cause: unknown) => {
    throw new MissingResourceError(`There is no model at ${path}`, "Give a GGUF file, a llama2.c .bin file or a Hugging Face folder", {
      cause,
    });
  });
  if (status.isDirectory()) return await openHuggingFaceFolder(path);
  const reader = await readerFromFile(path);
  let magic: string;
  try {
    magic = new TextDecoder("latin1").decode(await reader.read(0, Math.min(4, reader.byteLength)));
  } finally {
    await reader.close();
  }
  if (magic === "GGUF") return await openGgufFile(path);
  if (path.endsWith(".bin")) return await openLlama2cFile(path);
  throw new WeightFormatError(path, "is neither a GGUF file, a llama2.c .bin file nor a Hugging Face folder");
}
