/** Castagnoli's polynomial, reflected. */
const POLYNOMIAL = 0x82f63b78;

/** Slicing by 8: entry [k · 256 + b] is the checksum of byte b followed by k zeros. */
const table: Uint32Array = makeTable();

function makeTable(): Uint32Array {
  const entries = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    entries[byte] = value;
  }
  for (let index = 256; index < entries.length; index++) {
    const before = entries[index - 256]!;
    entries[index] = (before >>> 8) ^ entries[before & 0xff]!;
  }
  return entries;
}

/** CRC-32C (RFC 3720, appendix B.4) of `bytes`, continued from `start`, the checksum of what came before. */
export function crc32c(bytes: Uint8Array, start: number = 0): number {
  let crc = ~start;
  let index = 0;
  for (; index + 8 <= bytes.length; index += 8) {
    const low = crc ^ (bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24));
    crc =
      table[0x700 + (low & 0xff)]! ^ table[0x600 + ((low >>> 8) & 0xff)]! ^ table[0x500 + ((low >>> 16) & 0xff)]! ^
      table[0x400 + (low >>> 24)]! ^ table[0x300 + bytes[index + 4]!]! ^ table[0x200 + bytes[index + 5]!]! ^
      table[0x100 + bytes[index + 6]!]! ^ table[bytes[index + 7]!]!;
  }
  for (; index < bytes.length; index++) crc = (crc >>> 8) ^ table[(crc ^ bytes[index]!) & 0xff]!;
  return ~crc >>> 0;
}
