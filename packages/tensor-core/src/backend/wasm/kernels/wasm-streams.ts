/**
 * A WebAssembly module as one stream for each kind of byte: opcodes, local indices, memory offsets, constants, … Each kind repeats itself
 * far more than their mixture,
 * so the streams compress to two thirds of what the module does.
 *
 * Splitting and joining are one walk over the instructions: what comes next depends only on bytes already seen, whichever side they came
 * from. The walk knows what
 * AssemblyScript emits (SIMD, relaxed SIMD and bulk memory); the kernel build checks that joining gives its module back.
 */
import { TensorError } from "../../../errors.ts";

/** Kinds of bytes. */
const kinds = {
  structure: 0,
  opcode: 1,
  local: 2,
  global: 3,
  block: 4,
  branch: 5,
  call: 6,
  memory: 7,
  integer: 8,
  constant: 9,
  lane: 10,
} as const;
/** Streams that a module is split into. */
export const streamCount = 11;
const preambleBytes = 8;
const codeSection = 10;

/** Walks a module. `read(kind)` gives its next byte; the walk tells what kind that is before it asks. */
function walk(byteLength: number, read: (kind: number) => number): void {
  let position = 0;
  const byte = (kind: number): number => {
    position++;
    return read(kind);
  };
  const bytes = (kind: number, count: number): void => {
    for (let i = 0; i < count; i++) byte(kind);
  };
  /** A LEB128 number; signed ones are only skipped, so their value does not matter. */
  const number = (kind: number): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const next = byte(kind);
      value |= (next & 127) << shift;
      if (next < 128) return value;
    }
  };
  const memoryArgument = (): void => {
    number(kinds.memory);
    number(kinds.memory);
  };

  const vectorInstruction = (): void => {
    const code = number(kinds.opcode);
    // Loads and stores; v128.const and i8x16.shuffle; lane access; loads and stores of one lane.
    if (code < 12 || code === 92 || code === 93) memoryArgument();
    else if (code < 14) bytes(kinds.constant, 16);
    else if (code >= 21 && code < 35) byte(kinds.lane);
    else if (code >= 84 && code < 92) {
      memoryArgument();
      byte(kinds.lane);
    }
  };

  const instruction = (): void => {
    const code = byte(kinds.opcode);
    if (code === 0xfd) vectorInstruction();
    else if (code === 0xfc) {
      const extended = number(kinds.opcode);
      if (extended > 7) bytes(kinds.structure, extended === 10 ? 2 : 1);
    } else if (code >= 0x28 && code < 0x3f) memoryArgument();
    else if (code === 0x3f || code === 0x40) byte(kinds.structure);
    else if (code === 0x41 || code === 0x42) number(kinds.integer);
    else if (code === 0x43 || code === 0x44) bytes(kinds.constant, code === 0x43 ? 4 : 8);
    else if (code >= 0x20 && code < 0x23) number(kinds.local);
    else if (code === 0x23 || code === 0x24) number(kinds.global);
    else if (code === 0x10) number(kinds.call);
    else if (code === 0x0c || code === 0x0d) number(kinds.branch);
    else if (code === 0x0e) for (let targets = number(kinds.branch); targets >= 0; targets--) number(kinds.branch);
    else if (code > 1 && code < 5) number(kinds.block);
    else if ((code > 0x10 && code < 0x1a) || code > 0xc4) throw new TensorError(`kernel module: unexpected instruction ${code}`);
  };

  bytes(kinds.structure, preambleBytes);
  while (position < byteLength) {
    const section = byte(kinds.structure);
    const sectionBytes = number(kinds.structure);
    const end = position + sectionBytes;
    if (section === codeSection) {
      for (let functions = number(kinds.structure); functions > 0; functions--) {
        const bodyBytes = number(kinds.structure);
        const bodyEnd = position + bodyBytes;
        for (let groups = number(kinds.structure); groups > 0; groups--) {
          number(kinds.structure);
          byte(kinds.structure);
        }
        while (position < bodyEnd) instruction();
      }
    }
    bytes(kinds.structure, end - position);
  }
}

/** The streams of a module, one after another, behind the lengths of the module and of each stream as 32-bit little-endian numbers. */
export function splitModule(module: Uint8Array): Uint8Array<ArrayBuffer> {
  const streams: number[][] = Array.from({ length: streamCount }, () => []);
  let position = 0;
  walk(module.length, (kind) => {
    const value = module[position++]!;
    streams[kind]!.push(value);
    return value;
  });
  const header = Uint32Array.from([module.length, ...streams.map((stream) => stream.length)]);
  return Uint8Array.from([...new Uint8Array(header.buffer), ...streams.flat()]);
}

/** The inverse of `splitModule`. */
export function joinModule(packed: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const header = new Uint32Array(packed.buffer, packed.byteOffset, streamCount + 1);
  const module = new Uint8Array(header[0]!);
  const next: number[] = [];
  let start = header.byteLength;
  for (let kind = 0; kind < streamCount; kind++) {
    next.push(start);
    start += header[kind + 1]!;
  }
  let position = 0;
  walk(module.length, (kind) => (module[position++] = packed[next[kind]!++]!));
  return module;
}
