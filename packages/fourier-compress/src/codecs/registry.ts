import { SettingsError } from "../errors.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import { channelCoder } from "./channel.ts";
import type { CodecMode } from "./codec-mode.ts";
import { CODEC_IDS, type CodecName } from "./codec-names.ts";
import type { CompressionCodec } from "./compression-codec.ts";
import { cosineCoder } from "./cosine.ts";
import { createCodecOf } from "./create-codec.ts";
import { fourierCoder, type FourierShape } from "./fourier.ts";
import { groupIntegerCoder } from "./group-integers.ts";
import { hadamardCoder } from "./hadamard.ts";
import { karhunenLoeveCoder } from "./karhunen-loeve.ts";
import { lowRankCoder } from "./low-rank.ts";
import { principalComponentsCoder } from "./principal-components.ts";
import { rawCoder } from "./raw.ts";
import type { RowCoder } from "./row-coder.ts";
import { topKCoder } from "./top-k.ts";
import { weightedLowRankCoder } from "./weighted-low-rank.ts";

/** Settings of a codec; each codec looks at those that concern it. */
export interface CodecOptions {
  /** What to aim for. Required, except by float32, float16, bfloat16, int8 and int4, whose rate is fixed. */
  readonly mode?: CodecMode | undefined;
  /** Statistics of the split; with one, begin rows and spikes are sent exactly by every codec. Required by codecs that `needsTable`. */
  readonly table?: CodecTable | undefined;
  /** int8, int4: values that share a scale. Default 64 and 32. */
  readonly groupSize?: number;
  /** fourier-*, cosine: the shape of the block. Default: calibrated with a table, otherwise 0.2 of the tokens. */
  readonly shape?: FourierShape;
  /** fourier-*, cosine: of each kept coefficient. Default float16. */
  readonly component?: "float16" | "float32";
}

/** How a codec is made. */
export interface CodecDefinition {
  readonly name: string;
  /** First byte of its messages; 48 to 63 are free for codecs of one's own. */
  readonly id: number;
  /** Whether it works only with a table. */
  readonly needsTable: boolean;
  /** Whether its rate is fixed, so that it takes no mode. */
  readonly isFixedRate: boolean;
  create(options: CodecOptions): RowCoder;
}

/** The table. @throws SettingsError without one */
function tableOf(name: string, table: CodecTable | undefined): CodecTable {
  if (table === undefined) throw new SettingsError(`the ${name} codec needs a codec table; make one with \`fourier-compress calibrate\``);
  return table;
}

/** 0.2 of the tokens is near the best of all shapes on the activations that we measured. */
const UNCALIBRATED_SHAPE: FourierShape = { kind: "tokenShare", tokenShare: 0.2 };

function shapeOf({ shape, table }: CodecOptions): FourierShape {
  if (shape !== undefined) return shape;
  return table === undefined ? UNCALIBRATED_SHAPE : { kind: "tokenShare", tokenShare: table.fourierTokenShare };
}

const factories: { readonly [Name in CodecName]: (options: CodecOptions) => RowCoder } = {
  float32: () => rawCoder("float32"),
  float16: () => rawCoder("float16"),
  bfloat16: () => rawCoder("bfloat16"),
  int8: ({ groupSize = 64 }) => groupIntegerCoder("int8", { groupSize }),
  int4: ({ groupSize = 32 }) => groupIntegerCoder("int4", { groupSize }),
  channel: ({ table }) => channelCoder(tableOf("channel", table)),
  klt: ({ table }) => karhunenLoeveCoder(tableOf("klt", table)),
  hadamard: () => hadamardCoder(),
  "fourier-literal": (options) => fourierCoder("literal", { shape: shapeOf(options), component: options.component ?? "float16" }),
  "fourier-hermitian": (options) => fourierCoder("hermitian", { shape: shapeOf(options), component: options.component ?? "float16" }),
  "fourier-lowpass": (options) => fourierCoder("lowpass", { shape: shapeOf(options), component: options.component ?? "float16" }),
  cosine: (options) => cosineCoder({ shape: shapeOf(options), component: options.component ?? "float16" }),
  "top-k": () => topKCoder(),
  svd: () => lowRankCoder("svd"),
  qr: () => lowRankCoder("qr"),
  fwsvd: ({ table }) => weightedLowRankCoder("fwsvd", tableOf("fwsvd", table)),
  asvd: ({ table }) => weightedLowRankCoder("asvd", tableOf("asvd", table)),
  "svd-llm": ({ table }) => weightedLowRankCoder("svd-llm", tableOf("svd-llm", table)),
  "pca-float16": ({ table }) => principalComponentsCoder(tableOf("pca-float16", table), "float16"),
  "pca-int8": ({ table }) => principalComponentsCoder(tableOf("pca-int8", table), "int8"),
};

const TABLE_CODECS: ReadonlySet<string> = new Set<CodecName>(["channel", "klt", "fwsvd", "asvd", "svd-llm", "pca-float16", "pca-int8"]);
const FIXED_RATE_CODECS: ReadonlySet<string> = new Set<CodecName>(["float32", "float16", "bfloat16", "int8", "int4"]);

const definitions = new Map<string, CodecDefinition>(
  Object.entries(factories).map(([name, create]) => [
    name,
    {
      name, create, id: CODEC_IDS[name as CodecName],
      needsTable: TABLE_CODECS.has(name), isFixedRate: FIXED_RATE_CODECS.has(name),
    },
  ]),
);

/** Lowest id of codecs that do not come with this package. */
const FIRST_FREE_ID = 48;
const LAST_ID = 63;

/** Names that `createCodec` knows. */
export function codecNames(): string[] {
  return [...definitions.keys()];
}

/** @throws SettingsError for a name that is not registered */
export function codecDefinition(name: string): CodecDefinition {
  const definition = definitions.get(name);
  if (definition === undefined) throw new SettingsError(`codec ${JSON.stringify(name)}; known are ${codecNames().join(", ")}`);
  return definition;
}

/**
 * Adds a codec of one's own under a name and an id, on both ends of a split.
 * @throws SettingsError when the name or the id is taken, or the id outside 48 to 63
 */
export function registerCodec(definition: CodecDefinition): void {
  const { name, id } = definition;
  if (!Number.isInteger(id) || id < FIRST_FREE_ID || id > LAST_ID) {
    throw new SettingsError(`codec ${name}: id ${id}; use ${FIRST_FREE_ID} to ${LAST_ID}`);
  }
  const taken = [...definitions.values()].find((other) => other.name === name || other.id === id);
  if (taken !== undefined) throw new SettingsError(`codec ${name}: its name or its id ${id} is that of ${taken.name}`);
  definitions.set(name, definition);
}

/**
 * A codec by name. Both ends make it with the same name, table and shape; the mode concerns the encoder alone.
 * @throws SettingsError for unknown names, missing tables and modes that the codec does not have
 */
export function createCodec(name: string, options: CodecOptions = {}): CompressionCodec {
  return createCodecOf(codecDefinition(name).create(options), options);
}
