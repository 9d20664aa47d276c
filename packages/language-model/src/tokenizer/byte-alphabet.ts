/**
 * GPT-2's spelling of bytes as printable characters: printable Latin-1 bytes stand for themselves, the others for the characters
 * from U+0100 on. Byte-level vocabularies in `tokenizer.json` and GGUF are written in it.
 */
function makeAlphabet(): string[] {
  const characters: string[] = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    characters.push(String.fromCharCode(printable ? byte : next++));
  }
  return characters;
}

/** The character that spells each byte. */
export const BYTE_CHARACTERS: readonly string[] = makeAlphabet();

const BYTE_BY_CHARACTER: ReadonlyMap<string, number> = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

/** The bytes that a token's spelling stands for, or undefined if it has characters outside the alphabet. */
export function bytesOfSpelling(spelling: string): Uint8Array | undefined {
  const bytes = new Uint8Array(spelling.length);
  for (let index = 0; index < spelling.length; index++) {
    const byte = BYTE_BY_CHARACTER.get(spelling.charAt(index));
    if (byte === undefined) return undefined;
    bytes[index] = byte;
  }
  return bytes;
}
