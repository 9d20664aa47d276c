import { type CommandDevice, interruptible, interruption, note, startProgress } from "@frugal/language-model/command-line";
import {
  loadModel, modelFingerprint, openPretrained, type DecoderModel, type ModelParts, type PretrainedModel, type Tokenizer,
  type WeightPrecision, type WeightSource,
} from "@frugal/language-model";
import { SettingsError } from "../errors.ts";

/** What commands that use a model have been told about it. */
export interface ModelArguments {
  readonly model: string;
  readonly tokenizer?: string;
  readonly precision: WeightPrecision;
  readonly device: CommandDevice;
}

/** A model, or parts of one, with what belongs to it. */
export interface LoadedModel {
  readonly model: DecoderModel;
  readonly tokenizer: Tokenizer;
  /** Of the whole model. */
  readonly fingerprint: string;
  /** The weights, open until `dispose`. */
  readonly source: WeightSource;
  /** Frees the model and closes its files. */
  dispose(): Promise<void>;
}

/** Opens a model by its name on the command line. */
export async function openNamedModel({ model, tokenizer }: Pick<ModelArguments, "model" | "tokenizer">): Promise<PretrainedModel> {
  const hub = { onFile: (path: string): void => note(`downloading ${path}`), signal: interruption };
  return await interruptible(() => openPretrained(model, { hub, ...(tokenizer === undefined ? {} : { tokenizer }) }));
}

async function openDevice(device: CommandDevice, silent: boolean): Promise<void> {
  if (device === "cpu") return;
  // Loaded only when asked for: no other command needs the kernels.
  const { webgpu } = await import("@frugal/tensor-core/webgpu");
  const { adapter } = await webgpu();
  if (silent) return;
  const name = adapter.description || adapter.device || adapter.vendor || "an adapter without a name";
  note(`on ${name}${adapter.isSoftware ? ", which computes on the CPU: --device cpu is faster" : ""}`);
}

/**
 * Loads parts of an opened model, showing progress.
 * @throws SettingsError for blocks that it does not have
 */
export async function loadParts(
  source: WeightSource, given: ModelArguments, parts: ModelParts,
  { silent, task }: { readonly silent: boolean; readonly task: string },
): Promise<DecoderModel> {
  await openDevice(given.device, silent);
  const progress = startProgress(`loading ${given.model} to ${task}`, source.descriptors.size, { silent: silent || !process.stderr.isTTY });
  try {
    const onProgress = ({ loaded }: { readonly loaded: number }): void => progress.update(loaded);
    const options = { device: given.device, precision: given.precision, parts, signal: interruption, onProgress };
    return await interruptible(() => loadModel(source, options));
  } finally {
    progress.stop();
  }
}

/** @throws SettingsError when the model has no such block to split before */
export function checkSplit(split: number, { config }: WeightSource): void {
  if (split > config.numHiddenLayers) throw new SettingsError(`--split ${split}; the model has blocks 0 to ${config.numHiddenLayers - 1}`);
}

/**
 * Opens and loads a model with its tokenizer, showing progress.
 * @param task what the command does with it, for people
 * @param parts default: all
 */
export async function loadNamedModel(
  given: ModelArguments, task: string, silent: boolean, parts: ModelParts | ((source: WeightSource) => ModelParts) = {},
): Promise<LoadedModel> {
  const opened = await openNamedModel(given);
  const { source } = opened;
  try {
    const tokenizer = await opened.loadTokenizer();
    const wanted = typeof parts === "function" ? parts(source) : parts;
    const [model, fingerprint] = [await loadParts(source, given, wanted, { silent, task }), await modelFingerprint(source.config)];
    return {
      model, tokenizer, fingerprint, source,
      async dispose() {
        model.dispose();
        await source.close();
      },
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}
