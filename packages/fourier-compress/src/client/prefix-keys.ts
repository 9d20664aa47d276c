import { FRAME_FLAGS } from "../wire/frame.ts";
import { emptyPrefixKey, nextPrefixKey } from "../wire/prefix-key.ts";
import type { KeptMessages } from "./kept-messages.ts";
import type { SessionScope } from "./session-scope.ts";

/** Keys that an `open` can hold. */
const MOST_PREFIXES = 256;

const toHex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Keys of a stream's first messages, as far as they follow one another and want no value: what the server may know already. */
export async function prefixKeysOf(
  kept: Pick<KeptMessages, "all">, { prefixReuse, fingerprint, splitBlock, codec, table }: SessionScope,
): Promise<string[]> {
  // Pages that are no secure context have no SHA-256: they do without.
  if (!prefixReuse || globalThis.crypto?.subtle === undefined) return [];
  const keys: string[] = [];
  let key = await emptyPrefixKey({ fingerprint, splitBlock, codec: codec.name, table });
  let position = 0;
  // Those of now: more may have come meanwhile.
  for (const message of kept.all) {
    const wantsValue = !message.isAcknowledged && (message.flags & FRAME_FLAGS.value) !== 0;
    if (wantsValue || message.position !== position || keys.length === MOST_PREFIXES) break;
    key = await nextPrefixKey(key, message.payload);
    keys.push(toHex(key));
    position += message.tokens;
  }
  return keys;
}
