/** A WebAssembly module of two loops, assembled here: what the machine can do at most, apart from any library. */

const i32 = 0x7f;
const f32 = 0x7d;
const v128 = 0x7b;
const simd = (operation: number): number[] => [0xfd, ...unsigned(operation)];
const load = [...simd(0), 4];
const splat = simd(19);
const extractFirst = [...simd(31), 0];
const addVectors = simd(228);
const multiplyVectors = simd(230);
const getLocal = (index: number): number[] => [0x20, index];
const setLocal = (index: number): number[] => [0x21, index];
const integer = (value: number): number[] => [0x41, ...signed(value)];
const addIntegers = [0x6a];
const lessUnsigned = [0x49];
const end = [0x0b];

/** LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest & 127) | 128);
  }
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    const last = (rest >> 7 === 0 && (rest & 64) === 0) || (rest >> 7 === -1 && (rest & 64) !== 0);
    if (last) return [...bytes, rest & 127];
    bytes.push((rest & 127) | 128);
  }
}

const section = (id: number, ...content: readonly number[][]): number[] => [id, ...unsigned(content.flat().length), ...content.flat()];
const name = (text: string): number[] => [text.length, ...new TextEncoder().encode(text)];

/** A function body: locals as [count, type] runs, then code. */
function body(locals: readonly (readonly [number, number])[], code: readonly number[]): number[] {
  const content = [locals.length, ...locals.flat(), ...code, ...end];
  return [...unsigned(content.length), ...content];
}

/** `do { code } while (local < limit)`, both unsigned. */
const repeat = (code: readonly number[], local: number, limit: number): number[] => [
  0x03,
  0x40,
  ...code,
  ...getLocal(local),
  ...getLocal(limit),
  ...lessUnsigned,
  0x0d,
  0,
  ...end,
];

/** Chains of each kind: enough to cover a latency of 4 at two a cycle, few enough for 16 registers. */
const chains = 6;
/** Times the loop's body is repeated, to leave its control behind. */
const unroll = 4;

/** `arithmetic(count)`: 4 lanes × 12 operations × 4 an iteration, multiplications and additions that do not wait for each other. */
const arithmetic = ((): number[] => {
  const [count, counter, factor] = [0, 1, 2];
  const accumulator = (i: number): number => 3 + i;
  const start = [0x43, ...new Uint8Array(Float32Array.of(1).buffer), ...splat];
  const step = Array.from({ length: chains }, (_, i) => [
    ...getLocal(accumulator(i)),
    ...getLocal(factor),
    ...multiplyVectors,
    ...setLocal(accumulator(i)),
    ...getLocal(accumulator(chains + i)),
    ...getLocal(factor),
    ...addVectors,
    ...setLocal(accumulator(chains + i)),
  ]).flat();
  return body(
    [
      [1, i32],
      [1 + 2 * chains, v128],
    ],
    [
      ...start,
      ...setLocal(factor),
      ...repeat(
        [...Array.from({ length: unroll }, () => step).flat(), ...getLocal(counter), ...integer(1), ...addIntegers, ...setLocal(counter)],
        counter,
        count,
      ),
      ...getLocal(accumulator(0)),
      ...Array.from({ length: 2 * chains - 1 }, (_, i) => [...getLocal(accumulator(i + 1)), ...addVectors]).flat(),
      ...extractFirst,
    ],
  );
})();

/** `sum(bytes)`: reads memory from 0 to a multiple of 128 bytes. */
const sum = ((): number[] => {
  const [bytes, at] = [0, 1];
  const streams = 8;
  const step = Array.from({ length: streams }, (_, i) => [
    ...getLocal(at),
    ...load,
    ...unsigned(16 * i),
    ...getLocal(2 + i),
    ...addVectors,
    ...setLocal(2 + i),
  ]).flat();
  return body(
    [
      [1, i32],
      [streams, v128],
    ],
    [
      ...repeat([...step, ...getLocal(at), ...integer(16 * streams), ...addIntegers, ...setLocal(at)], at, bytes),
      ...getLocal(2),
      ...Array.from({ length: streams - 1 }, (_, i) => [...getLocal(3 + i), ...addVectors]).flat(),
      ...extractFirst,
    ],
  );
})();

/** What the module exports; results keep the loops from being removed. */
export interface Probes {
  arithmetic(count: number): number;
  sum(bytes: number): number;
  readonly memory: WebAssembly.Memory;
}

/** Flops of one iteration of `arithmetic`. */
export const flopsPerIteration = 4 * 2 * chains * unroll;

/** Compiles the loops with some memory, in pages of 64 KiB. */
export function createProbes(pages: number): Probes {
  const bytes = Uint8Array.from([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, [1], [0x60, 1, i32, 1, f32]),
    ...section(3, [2, 0, 0]),
    ...section(5, [1, 0], unsigned(pages)),
    ...section(7, [3], name("arithmetic"), [0, 0], name("sum"), [0, 1], name("memory"), [2, 0]),
    ...section(10, [2], arithmetic, sum),
  ]);
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as unknown as Probes;
}
