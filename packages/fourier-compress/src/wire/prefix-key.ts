import { webCrypto } from "./web-crypto.ts";

/** What the meaning of a stream's messages depends on, besides their bytes. */
export interface PrefixScope {
  readonly fingerprint: string;
  readonly splitBlock: number;
  readonly codec: string;
  readonly table: string | undefined;
}

async function sha256(...parts: readonly Uint8Array[]): Promise<Uint8Array> {
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return new Uint8Array(await webCrypto().digest("SHA-256", joined));
}

/** Key of a stream that is still empty. */
export function emptyPrefixKey({ fingerprint, splitBlock, codec, table }: PrefixScope): Promise<Uint8Array> {
  return sha256(new TextEncoder().encode(JSON.stringify(["fourier-compress prefix", fingerprint, splitBlock, codec, table ?? null])));
}

/** Key of a stream after one more message: equal keys mean equal key-value caches. SHA-256 of the key before and the message. */
export function nextPrefixKey(before: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
  return sha256(before, message);
}
