import type { DecoderModel } from "../model/decoder-model.ts";
import { loadModel, type WeightPrecision } from "../model/load-model.ts";
import { openPretrained, type PretrainedModel } from "../pretrained/open-pretrained.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { CommandDevice } from "../command-line/arguments.ts";
import { openDevice, type OpenDevice } from "./device.ts";
import { interruptible, interruption } from "../command-line/run-to-end.ts";
import { note, startProgress } from "../command-line/terminal.ts";

/** What commands that use a model have been told about it. */
export interface ModelArguments {
  readonly model: string;
  readonly tokenizer?: string;
  readonly precision: WeightPrecision;
  readonly device: CommandDevice;
}

/** Opens a model by its name on the command line. */
export async function openNamedModel({ model, tokenizer }: Pick<ModelArguments, "model" | "tokenizer">): Promise<PretrainedModel> {
  const hub = { onFile: (path: string): void => note(`downloading ${path}`), signal: interruption };
  return await interruptible(() => openPretrained(model, { hub, ...(tokenizer === undefined ? {} : { tokenizer }) }));
}

/** Opens and loads a model with its tokenizer, showing progress. */
export async function loadNamedModel(
  given: ModelArguments, task: string, silent: boolean,
): Promise<{ model: DecoderModel; tokenizer: Tokenizer; device: OpenDevice }> {
  const device = await openDevice(given.device, `${task} ${given.model} ${given.precision}`, silent);
  const opened = await openNamedModel(given);
  const { source } = opened;
  const progress = startProgress(`loading ${given.model}`, source.descriptors.size, { silent: silent || !process.stderr.isTTY });
  try {
    const tokenizer = await opened.loadTokenizer();
    const onProgress = ({ loaded }: { readonly loaded: number }): void => progress.update(loaded);
    const options = { device: given.device, precision: given.precision, signal: interruption, onProgress };
    return { model: await interruptible(() => loadModel(source, options)), tokenizer, device };
  } finally {
    progress.stop();
    await source.close();
  }
}
