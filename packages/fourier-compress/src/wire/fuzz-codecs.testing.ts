import type { ActivationContext } from "@frugal/language-model";
import { memory, tensor, type Tensor } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import type { CompressionCodec } from "../codecs/compression-codec.ts";
import { codecDefinition, codecNames, createCodec } from "../codecs/registry.ts";
import { CodecMessageError, CodecTargetError, SettingsError } from "../errors.ts";
import { FuzzRandom } from "./fuzz-random.testing.ts";
import type { FuzzOutcome } from "./fuzz-wire.testing.ts";

/** A good message of a codec, and who reads it. */
export interface CodecSample {
  readonly name: string;
  readonly id: number;
  readonly table: CodecTable | undefined;
  readonly decoder: CompressionCodec;
  readonly tokens: number;
  readonly bytes: Uint8Array;
}

const MODES: readonly CodecMode[] = [
  { kind: "ratio", ratio: 4 }, { kind: "relativeError", relativeError: 0.3 }, { kind: "bytesPerToken", bytes: 40 },
  { kind: "step", step: 0.4 },
];

const contextOf = (block: number, tokens: number, hiddenSize: number): ActivationContext => ({
  kind: "activation", block, streamId: "", sequences: [{ positionOffset: 0, tokens }], limits: { tokens: 64, hiddenSize },
});

/** Messages of every registered codec, in every mode it has, for 1, 3 and 9 tokens; of codecs that can do without a table also without. */
export async function codecSamples(table: CodecTable): Promise<CodecSample[]> {
  const samples: CodecSample[] = [];
  const random = new FuzzRandom(table.block, 77);
  for (const name of codecNames()) {
    const { id, needsTable, isFixedRate } = codecDefinition(name);
    let count = 0;
    for (const used of needsTable ? [table] : [table, undefined]) {
      for (const tokens of [1, 3, 9]) {
        for (const mode of isFixedRate ? [undefined] : MODES) {
          const values = Float32Array.from({ length: tokens * table.hiddenSize }, () => (random.word() / 2 ** 31 - 1) * 1.5);
          // The second row is a spike, which is sent exactly.
          if (tokens > 1) values.fill(40, table.hiddenSize, 2 * table.hiddenSize);
          using hidden = tensor(values, [tokens, table.hiddenSize]);
          try {
            const bytes = await createCodec(name, { mode, table: used }).encode(hidden, contextOf(table.block, tokens, table.hiddenSize));
            samples.push({ name, id, table: used, decoder: createCodec(name, { table: used }), tokens, bytes });
            count++;
          } catch (error) {
            // Not every codec has every mode, and small messages cannot always reach a target.
            if (!(error instanceof CodecTargetError || error instanceof SettingsError)) throw error;
          }
        }
      }
    }
    if (count === 0) throw new Error(`no message of the ${name} codec could be made`);
  }
  return samples;
}

/** Decodes one spoiled message. @throws what is no CodecMessageError, results of another shape, and tensors left behind: crashes */
export async function fuzzCodec(
  random: FuzzRandom, samples: readonly CodecSample[], table: CodecTable, begin: (strategy: string, input: Uint8Array) => void,
): Promise<FuzzOutcome> {
  const sample = random.pick(samples);
  const spoiled = random.oneIn(12) ? new Uint8Array([sample.bytes[0]!, ...random.bytes(random.length(300))]) : random.spoil(sample.bytes);
  const input = random.oneIn(50) ? sample.bytes : spoiled;
  const tokens = random.oneIn(10) ? 1 + random.below(12) : sample.tokens;
  const strategy = `${sample.name} codec, ${sample.table === undefined ? "no table" : "table"}, ${tokens} tokens`;
  begin(strategy, input);
  const before = memory().allocations;
  let accepted = await decodes(sample, input, tokens, table);
  if (memory().allocations !== before) {
    // The first time may have made tables that stay; a second time must not.
    const once = memory().allocations;
    accepted = await decodes(sample, input, tokens, table);
    if (memory().allocations !== once) throw new Error(`${memory().allocations - once} tensors were left behind`);
  }
  if (!accepted && input === sample.bytes && tokens === sample.tokens) throw new Error("a good message was refused");
  return { strategy, input, accepted };
}

async function decodes({ decoder }: CodecSample, input: Uint8Array, tokens: number, { block, hiddenSize }: CodecTable): Promise<boolean> {
  let hidden: Tensor;
  try {
    hidden = await decoder.decode(input, contextOf(block, tokens, hiddenSize), "cpu");
  } catch (error) {
    if (error instanceof CodecMessageError) return false;
    throw error;
  }
  try {
    if (hidden.rank !== 2 || hidden.shape[0] !== tokens || hidden.shape[1] !== hiddenSize || hidden.dtype !== "float32") {
      throw new Error(`decoded to ${hidden.dtype} [${hidden.shape.join(", ")}] where [${tokens}, ${hiddenSize}] was due`);
    }
    if (!(await hidden.data("float32")).every(Number.isFinite)) throw new Error("decoded to values that are not finite");
    return true;
  } finally {
    hidden.dispose();
  }
}
