import { readerFromFile, type RandomAccessReader } from "@frugal/tensor-core";
import { TokenizerError } from "../errors.ts";
import { createScoredPairTokenizer } from "./scored-pair-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Far above any llama2.c vocabulary (32,000 tokens are 434 kB); the file is read whole. */
const LARGEST_FILE_BYTES = 1 << 26;
const LARGEST_TOKEN_BYTES = 1 << 12;
/** Ids 0, 1 and 2 are unknown, begin and end; byte b follows at b + 3. */
const FIRST_BYTE_ID = 3;
const BOS = 1;
const EOS = 2;

interface Entry {
  readonly score: number;
  readonly bytes: Uint8Array;
}

function readEntries(file: Uint8Array, source: string): Entry[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const longest = view.getInt32(0, true);
  if (longest < 1 || longest > LARGEST_TOKEN_BYTES) {
    throw new TokenizerError(`${source}: longest token ${longest} is not between 1 and ${LARGEST_TOKEN_BYTES}; not a llama2.c tokenizer`);
  }
  const entries: Entry[] = [];
  let offset = 4;
  while (offset < file.byteLength) {
    if (offset + 8 > file.byteLength) throw new TokenizerError(`${source}: ends inside token ${entries.length}`);
    const score = view.getFloat32(offset, true);
    const length = view.getInt32(offset + 4, true);
    if (length < 0 || length > longest) {
      throw new TokenizerError(`${source}: token ${entries.length} has length ${length}, the header allows ${longest}`);
    }
    if (!Number.isFinite(score)) throw new TokenizerError(`${source}: token ${entries.length} has score ${score}`);
    offset += 8;
    if (offset + length > file.byteLength) throw new TokenizerError(`${source}: ends inside token ${entries.length}`);
    entries.push({ score, bytes: file.subarray(offset, offset + length) });
    offset += length;
  }
  return entries;
}

/** Byte tokens are written `<0x0A>`; older copies of the file hold the raw byte, which text must not match either. */
function isByteToken(id: number, { bytes }: Entry): boolean {
  const byte = id - FIRST_BYTE_ID;
  if (byte < 0 || byte > 255) return false;
  if (bytes.length === 1) return bytes[0] === byte;
  const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
  return bytes.length === name.length && bytes.every((value, at) => value === name.charCodeAt(at));
}

/**
 * Opens a llama2.c `tokenizer.bin`: int32 longest token, then for each token float32 score, int32 length, bytes. Its id 1 begins
 * and id 2 ends a text, ids 3 to 258 are bytes. The reader is closed.
 * @throws TokenizerError if the file is malformed
 */
export async function openLlama2cTokenizer(reader: RandomAccessReader): Promise<Tokenizer> {
  const source = reader.description;
  try {
    if (reader.byteLength < 12 || reader.byteLength > LARGEST_FILE_BYTES) {
      throw new TokenizerError(`${source}: ${reader.byteLength} bytes is not the size of a llama2.c tokenizer`);
    }
    const entries = readEntries(await reader.read(0, reader.byteLength), source);
    if (entries.length <= EOS) throw new TokenizerError(`${source}: ${entries.length} tokens are too few for the begin and end tokens`);
    const byteTokenIds = new Int32Array(256).fill(-1);
    const specialTokenIds = new Set([0, BOS, EOS]);
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const pieces = entries.map((entry, id) => {
      if (specialTokenIds.has(id)) return "";
      if (isByteToken(id, entry)) {
        byteTokenIds[id - FIRST_BYTE_ID] = id;
        return "";
      }
      try {
        return utf8.decode(entry.bytes);
      } catch (cause) {
        throw new TokenizerError(`${source}: token ${id} is not UTF-8`, { cause });
      }
    });
    return createScoredPairTokenizer({
      pieces,
      scores: Float32Array.from(entries, (entry) => entry.score),
      byteTokenIds,
      specialTokenIds,
      specialTokenNames: new Map([
        ["<s>", BOS],
        ["</s>", EOS],
      ]),
      bosTokenId: BOS,
      // Models trained with llama2.c separate documents by the begin token, and its own loop stops there.
      eosTokenIds: [EOS, BOS],
      unknownTokenId: 0,
      addSpacePrefix: true,
      metaspaceIsSpace: false,
    });
  } finally {
    await reader.close();
  }
}

/** Opens a llama2.c `tokenizer.bin` by path (Node). Errors as `openLlama2cTokenizer`. */
export async function openLlama2cTokenizerFile(path: string): Promise<Tokenizer> {
  return await openLlama2cTokenizer(await readerFromFile(path));
}
