import { sha256 } from "./web-crypto.ts";

/** What the meaning of a stream's messages depends on, besides their bytes. */
export interface PrefixScope {
  readonly fingerprint: string;
  readonly splitBlock: number;
  readonly codec: string;
  readonly table: string | undefined;
}

/** Key of a stream that is still empty. */
export function emptyPrefixKey({ fingerprint, splitBlock, codec, table }: PrefixScope): Promise<Uint8Array> {
  return sha256(new TextEncoder().encode(JSON.stringify(["fourier-compress prefix", fingerprint, splitBlock, codec, table ?? null])));
}

/** Key of a stream after one more message: equal keys mean equal key-value caches. SHA-256 of the key before and the message. */
export function nextPrefixKey(before: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
  return sha256(before, message);
}
