import { sha256 } from "../wire/web-crypto.ts";
import { CODEC_TABLE_VERSION, type CodecTable } from "./codec-table.ts";

/** A table that has no hash yet. */
export type UnhashedCodecTable = Omit<CodecTable, "hash">;

/** Name, shape and values of the tensors of a table, those that are there, in the order that the hash and the file have them. */
export function tableTensors(
  table: UnhashedCodecTable,
): { readonly name: TableTensor; readonly shape: readonly number[]; readonly values: Float32Array }[] {
  const { hiddenSize } = table;
  return TABLE_TENSORS.flatMap(({ name, isMatrix }) => {
    const values = table[name];
    return values === undefined ? [] : [{ name, shape: isMatrix ? [hiddenSize, hiddenSize] : [hiddenSize], values }];
  });
}

/** The tensors that a table may have. */
export const TABLE_TENSORS = [
  { name: "mean", isMatrix: false, isRequired: true },
  { name: "channelScale", isMatrix: false, isRequired: true },
  { name: "secondMoment", isMatrix: false, isRequired: true },
  { name: "beginRow", isMatrix: false, isRequired: false },
  { name: "coefficientScale", isMatrix: false, isRequired: false },
  { name: "fisher", isMatrix: false, isRequired: false },
  { name: "basis", isMatrix: true, isRequired: false },
  { name: "consumerFactor", isMatrix: true, isRequired: false },
] as const;

/** Name of one of them. */
export type TableTensor = (typeof TABLE_TENSORS)[number]["name"];

/** What a table says besides its tensors and its hash, in one fixed order. */
export function tableDescription(table: UnhashedCodecTable): object {
  const { model, block, hiddenSize, rows, spikeNorm, fourierTokenShare } = table;
  const rates = Object.fromEntries(
    Object.entries(table.rates)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([codec, points]) => [
        codec, points.map(({ step, bytesPerToken, relativeError }) => ({ step, bytesPerToken, relativeError })),
      ]),
  );
  return { version: CODEC_TABLE_VERSION, model, block, hiddenSize, rows, spikeNorm, fourierTokenShare, rates };
}

/** SHA-256 in hexadecimal of the description as JSON, then each tensor's name and little-endian bytes. */
export async function hashCodecTable(table: UnhashedCodecTable): Promise<string> {
  const parts: Uint8Array[] = [new TextEncoder().encode(JSON.stringify(tableDescription(table)))];
  for (const { name, values } of tableTensors(table)) {
    parts.push(new TextEncoder().encode(`\n${name}\n`), new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  const digest = await sha256(...parts);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The table with its hash. */
export async function withHash(table: UnhashedCodecTable): Promise<CodecTable> {
  return { ...table, hash: await hashCodecTable(table) };
}
