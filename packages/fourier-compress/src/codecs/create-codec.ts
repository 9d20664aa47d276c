import type { ActivationContext, SequenceRows } from "@frugal/language-model";
import { absolute, concatenate, DtypeError, max, ShapeError, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import { CodecTargetError, FourierCompressError, SettingsError } from "../errors.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { checkMode, type CodecMode } from "./codec-mode.ts";
import type { CompressedActivation, CompressionCodec } from "./compression-codec.ts";
import { findExactRows, joinRows, NO_EXACT_ROWS, pickCodedRows, readExactRows, writeExactRows } from "./exact-rows.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";

/** What codecs have besides a coder. */
export interface CodecFrame {
  /** What to aim for. Codecs of a fixed rate take none; others need it to encode. */
  readonly mode?: CodecMode | undefined;
  /** Tells begin rows and spikes apart, which are sent exactly. Both ends have to hold the same one. */
  readonly table?: CodecTable | undefined;
}

/** Bits of the first byte beside the coder's id. */
const EXACT_ROWS = 0x40;
const PADDED = 0x80;

/**
 * Messages of `coder`. Layout: id and flags (1 byte), tokens and hiddenSize (varints), then for each sequence its exact rows (where a table
 * is used) and the coder's body of the others; zeros to the end where bytes for a token are fixed. Sequences are coded one by one, so
 * that no transform mixes them, and nothing is allocated before it is held against the context's limits.
 * Encoding throws FourierCompressError for activations that are not finite.
 * @throws SettingsError for a mode out of range, or one that the coder cannot work towards
 */
export function createCodecOf(coder: RowCoder, { mode, table }: CodecFrame): CompressionCodec {
  if (mode !== undefined) checkTarget(coder, mode);
  const compress = async (hidden: Tensor, context: ActivationContext): Promise<CompressedActivation> => {
    if (mode === undefined && coder.targets.length > 0) {
      throw new SettingsError(`${coder.name} codec: without a mode it only decodes; give one, as { kind: "ratio", ratio: 7.6 }`);
    }
    const [tokens, hiddenSize] = checkHidden(coder, hidden, table);
    const largest = await largestMagnitude(hidden);
    if (!Number.isFinite(largest)) {
      throw new FourierCompressError(`${coder.name} codec: the activations hold ${largest}; the model overflowed before the split`);
    }
    const asked = {
      withSpikes: mode?.kind !== "bytesPerToken", relativeError: mode?.kind === "relativeError" ? mode.relativeError : undefined,
    };
    const flags = (table === undefined ? 0 : EXACT_ROWS) | (mode?.kind === "bytesPerToken" ? PADDED : 0);
    const writer = new ByteWriter();
    writer.uint8(coder.id | flags);
    writer.varint(tokens);
    writer.varint(hiddenSize);
    let elements = 0;
    let first = 0;
    /** Rows coded so far, and what the message spent beside them: exact rows come on top of a ratio. */
    let coded = 0;
    let exactBytes = 0;
    let exactElements = 0;
    for (const sequence of sequencesOf(coder, context, tokens)) {
      using rows = hidden.slice([first, first + sequence.tokens]);
      const exact = table === undefined ? NO_EXACT_ROWS : await findExactRows(rows, sequence, table, asked);
      if (table !== undefined) {
        const before = writer.length;
        writeExactRows(writer, exact, sequence);
        exactBytes += exact.rows.length > 0 ? writer.length - before : 0;
        exactElements += exact.rows.length * hiddenSize;
      }
      using others = pickCodedRows(rows, exact);
      if (others !== undefined) {
        coded += others.shape[0]!;
        const budgetTokens = mode?.kind === "bytesPerToken" ? first + sequence.tokens : coded;
        // A fixed number of bytes holds everything.
        const bytes = mode?.kind === "bytesPerToken" ? writer.length : writer.length - exactBytes;
        const target = targetOf(mode, { tokens: budgetTokens, hiddenSize, bytes, elements: elements - exactElements });
        const body = await coder.encode(others, target);
        elements += body.elements;
        writer.append(body.bytes);
      }
      elements += exact.rows.length * hiddenSize;
      first += sequence.tokens;
    }
    if (mode?.kind === "bytesPerToken") {
      const padding = mode.bytes * tokens - writer.length;
      if (padding < 0) {
        throw new CodecTargetError(`${coder.name} codec: ${writer.length} bytes for ${tokens} tokens of ${mode.bytes} bytes`);
      }
      writer.append(new Uint8Array(padding));
    }
    return { bytes: writer.finish(), elements };
  };
  return {
    name: coder.name,
    compress,
    encode: async (hidden, context) => (await compress(hidden, context)).bytes,
    decode: (bytes, context, device) => decodeMessage(coder, table, bytes, context, device),
  };
}

/** Largest |value|; NaN or Infinity where there is one. */
async function largestMagnitude(hidden: Tensor): Promise<number> {
  using largest = tidy(() => max(absolute(hidden)));
  return await largest.item();
}

async function decodeMessage(
  coder: RowCoder, table: CodecTable | undefined, bytes: Uint8Array, context: ActivationContext, device: DeviceName,
): Promise<Tensor> {
  const reader = new ByteReader(coder.name, bytes);
  const first = reader.uint8();
  const id = first & ~(EXACT_ROWS | PADDED);
  if (id !== coder.id) reader.fail(`the message is of codec ${id}, not ${coder.id}`);
  const hasExactRows = (first & EXACT_ROWS) !== 0;
  if (hasExactRows && table === undefined) reader.fail("the message needs the codec table that it was encoded with");
  const tokens = reader.varint();
  const hiddenSize = reader.varint();
  const { limits, sequences } = context;
  const announced = sequences.reduce((total, sequence) => total + sequence.tokens, 0);
  if (tokens < 1 || tokens > limits.tokens || tokens !== announced || hiddenSize !== limits.hiddenSize) {
    const due = `[${announced}, ${limits.hiddenSize}] of at most ${limits.tokens} tokens`;
    reader.fail(`[${tokens}, ${hiddenSize}] is not the ${due} that is due`);
  }
  if (coder.maxTokens !== undefined && tokens > coder.maxTokens) reader.fail(`${tokens} tokens exceed the ${coder.maxTokens} of a message`);
  const parts: Tensor[] = [];
  try {
    for (const sequence of sequences) {
      const exact = hasExactRows ? readExactRows(reader, sequence, hiddenSize, table!) : NO_EXACT_ROWS;
      const coded = sequence.tokens - exact.rows.length;
      using others = coded > 0 ? await coder.decode(reader, coded, hiddenSize, device) : undefined;
      parts.push(joinRows(others, exact, sequence.tokens, hiddenSize, device));
    }
    const rest = reader.bytes(reader.remaining);
    if (rest.length > 0 && ((first & PADDED) === 0 || rest.some((byte) => byte !== 0))) reader.fail(`${rest.length} bytes are left over`);
    const whole = parts.length === 1 ? parts.pop()! : concatenate(parts, 0);
    try {
      if (!Number.isFinite(await largestMagnitude(whole))) reader.fail("the decoded activations are not finite");
    } catch (cause) {
      whole.dispose();
      throw cause;
    }
    return whole;
  } finally {
    for (const part of parts) part.dispose();
  }
}

/** What has been spent, and on how many tokens, when the next body is due. */
interface Spent {
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly bytes: number;
  readonly elements: number;
}

function checkTarget(coder: RowCoder, mode: CodecMode): void {
  if (coder.targets.length === 0) throw new SettingsError(`${coder.name} codec: its rate is fixed; leave the mode ${mode.kind} out`);
  const { kind } = targetOf(checkMode(mode), { tokens: 1, hiddenSize: 1, bytes: 0, elements: 0 });
  if (kind !== "none" && coder.targets.includes(kind)) return;
  const asked = mode.kind === "ratio" && mode.of === "elements" ? "a ratio of elements" : mode.kind;
  throw new SettingsError(`${coder.name} codec: no mode for ${asked}; it can aim for ${coder.targets.join(", ")}`);
}

/** What is left of the mode's budget for the rows up to now: sequences share the budget of their message. */
function targetOf(mode: CodecMode | undefined, { tokens, hiddenSize, bytes, elements }: Spent): RowTarget {
  switch (mode?.kind) {
    case undefined:
      return { kind: "none" };
    case "ratio":
      if (mode.of === "elements") return { kind: "elements", elements: Math.floor((tokens * hiddenSize) / mode.ratio) - elements };
      return { kind: "bytes", bytes: Math.floor((2 * tokens * hiddenSize) / mode.ratio) - bytes };
    case "bytesPerToken":
      return { kind: "bytes", bytes: mode.bytes * tokens - bytes };
    case "relativeError":
    case "step":
      return mode;
  }
}

function checkHidden(coder: RowCoder, hidden: Tensor, table: CodecTable | undefined): readonly [tokens: number, hiddenSize: number] {
  if (hidden.rank !== 2 || hidden.size === 0) {
    throw new ShapeError(`${coder.name} codec: expected [tokens, hiddenSize], got [${hidden.shape.join(", ")}]`);
  }
  if (hidden.dtype !== "float32") throw new DtypeError(`${coder.name} codec: expected float32, got ${hidden.dtype}`);
  const [tokens, hiddenSize] = hidden.shape as readonly [number, number];
  if (table !== undefined && table.hiddenSize !== hiddenSize) {
    throw new SettingsError(`${coder.name} codec: its table is for hiddenSize ${table.hiddenSize}, the activations have ${hiddenSize}`);
  }
  return [tokens, hiddenSize];
}

function sequencesOf(coder: RowCoder, { sequences }: ActivationContext, tokens: number): readonly SequenceRows[] {
  const total = sequences.reduce((sum, sequence) => sum + sequence.tokens, 0);
  if (total !== tokens || sequences.some((sequence) => sequence.tokens < 1)) {
    const lengths = sequences.map((each) => each.tokens).join(", ");
    throw new ShapeError(`${coder.name} codec: ${tokens} rows, but sequences of [${lengths}] tokens`);
  }
  return sequences;
}
