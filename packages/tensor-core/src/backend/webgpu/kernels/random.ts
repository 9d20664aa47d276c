/** Counter-based random numbers: one thread hashes one counter to two elements. */
import { sizeOf } from "../../../tensor/shape.ts";
import type { KernelArguments, Kernels } from "../../backend.ts";
import { entryPoint, f32, i32, u32, workgroupGrid, write, type UniformValue } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { mathSource } from "../wgsl/math.ts";

const workgroupSize = 256;
const twoTo32 = 2 ** 32;

/** How two words become two elements. */
interface Draw {
  readonly variant: string;
  readonly uniforms: Readonly<Record<string, UniformValue>>;
  /** `fn draw(words: vec2<u32>) -> vec2<…>` and what it needs. */
  readonly source: () => string;
}

/** Bits and uniform numbers are the reference's to the last bit, normal ones within a few units of it. */
export function randomKernels(runtime: WebGpuRuntime): Pick<Kernels, "random"> {
  return {
    random({ distribution, key, counter, parameters, output }) {
      const count = sizeOf(output.shape);
      const { variant, uniforms, source } = drawOf(distribution, parameters);
      runtime.launch({
        name: "random",
        variant,
        bindings: { output: write(output) },
        uniforms: {
          count: u32(count),
          key0: u32(key[0]),
          key1: u32(key[1]),
          counterLow: u32(counter % twoTo32),
          counterHigh: u32(Math.floor(counter / twoTo32)),
          ...uniforms,
        },
        workgroups: workgroupGrid(Math.ceil(count / 2 / workgroupSize)),
        code: () =>
          threefry() +
          source() +
          entryPoint(
            workgroupSize,
            `  let element = 2u * index;
  if (index > 0x7fffffffu || element >= uniforms.count) { return; }
  let low = uniforms.counterLow + index;
  let high = uniforms.counterHigh + u32(low < index);
  let values = draw(threefry(uniforms.key0, uniforms.key1, low, high));
  output[uniforms.outputOffset + element] = values.x;
  if (element + 1u < uniforms.count) { output[uniforms.outputOffset + element + 1u] = values.y; }`,
          ),
      });
    },
  };
}

/** Threefry-2x32 with 20 rounds; see `random/threefry.ts`. */
function threefry(): string {
  const rotations = [
    [13, 15, 26, 6],
    [17, 29, 16, 24],
  ] as const;
  const injections = [0, 1, 2, 3, 4].map((group) => {
    const rounds = rotations[(group % 2) as 0 | 1].map((by) => `  x += y;\n  y = ((y << ${by}u) | (y >> ${32 - by}u)) ^ x;`);
    return `${rounds.join("\n")}\n  x += key${(group + 1) % 3};\n  y += key${(group + 2) % 3} + ${group + 1}u;`;
  });
  return `
fn threefry(key0: u32, key1: u32, low: u32, high: u32) -> vec2<u32> {
  let key2 = 0x1bd11bdau ^ key0 ^ key1;
  var x = low + key0;
  var y = high + key1;
${injections.join("\n")}
  return vec2<u32>(x, y);
}
`;
}

function drawOf(distribution: KernelArguments["random"]["distribution"], [first, second]: readonly [number, number]): Draw {
  if (distribution === "bits") return { variant: "bits", uniforms: {}, source: () => bitsSource };
  if (distribution === "normal") {
    return { variant: "normal", uniforms: { mean: f32(first), deviation: f32(second) }, source: () => normalSource };
  }
  const width = second - first;
  // Products with a power of two are exact, and then the sum is rounded once, as the reference's.
  if (!Number.isFinite(width) || (Math.fround(first) === first && Math.log2(Math.abs(width)) % 1 === 0 && Math.abs(width) >= 2 ** -100)) {
    return { variant: "uniform", uniforms: { low: f32(first), unit: f32(width / 2 ** 24) }, source: () => uniformSource };
  }
  return fixedPointUniform(first, width);
}

const bitsSource = `
fn draw(words: vec2<u32>) -> vec2<i32> {
  return bitcast<vec2<i32>>(words);
}
`;

const uniformSource = `
fn draw(words: vec2<u32>) -> vec2<f32> {
  return uniforms.low + uniforms.unit * vec2<f32>(words >> vec2<u32>(8u));
}
`;

// Box–Muller. The angle in quarter turns and the rest is exact; the polynomials are those of the WASM kernel (`assembly/random.ts`).
const normalSource = `
${mathSource(["logF32"])}

fn draw(words: vec2<u32>) -> vec2<f32> {
  let logarithm = logF32(f32((words.x >> 8u) + 1u) * ${2 ** -24});
  let radius = uniforms.deviation * sqrt(max(-2.0 * logarithm, 0.0));
  let angle = words.y >> 8u;
  let quarters = (angle + 0x200000u) >> 22u;
  let r = f32(bitcast<i32>(angle - (quarters << 22u))) * ${(2 * Math.PI) / 2 ** 24};
  let z = r * r;
  let sine = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
  let cosine = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
  var turned = vec2<f32>(cosine, sine);
  if ((quarters & 1u) != 0u) { turned = vec2<f32>(-sine, cosine); }
  if ((quarters & 2u) != 0u) { turned = -turned; }
  return uniforms.mean + radius * turned;
}
`;

/** Bits below the leading one that fixed-point numbers have. */
const fractionBits = 93;

/**
 * low + width * k / 2²⁴ in integers of 96 bits, rounded as the reference's float64: to 53 bits after the product and after the sum, then
 * to float32. Decimal bounds make ties of what is not quite one, so every one of these roundings shows.
 */
function fixedPointUniform(low: number, width: number): Draw {
  const exponent = Math.max(exponentOf(low), exponentOf(width)) + 1 - fractionBits;
  const words = (name: string, value: bigint): Record<string, UniformValue> =>
    Object.fromEntries([0n, 1n, 2n].map((i) => [`${name}${i}`, u32(Number(BigInt.asUintN(32, value >> (32n * i))))]));
  return {
    variant: "uniform fixed-point",
    uniforms: {
      ...words("low", toFixedPoint(low, exponent)),
      ...words("unit", toFixedPoint(Math.abs(width), exponent + 24)),
      isDescending: u32(Number(width < 0)),
      exponent: i32(exponent),
    },
    source: fixedPointSource,
  };
}

const doubleBits = new DataView(new ArrayBuffer(8));

/** The e of |x| = m 2ᵉ, 1 <= m < 2; the smallest there is for 0 and denormals. */
function exponentOf(x: number): number {
  doubleBits.setFloat64(0, x);
  return Math.max(1, (doubleBits.getUint16(0) >> 4) & 2047) - 1023;
}

/** The integer nearest to x / 2^exponent. */
function toFixedPoint(x: number, exponent: number): bigint {
  const scale = exponentOf(x) - 52;
  const mantissa = BigInt(x / 2 ** Math.floor(scale / 2) / 2 ** Math.ceil(scale / 2));
  const shift = BigInt(scale - exponent);
  return shift >= 0n ? mantissa << shift : (mantissa + (1n << (-shift - 1n))) >> -shift;
}

function fixedPointSource(): string {
  return `
${mathSource(["multiplyHigh"])}

// Numbers of 96 bits, least word first.
fn add(a: vec3<u32>, b: vec3<u32>) -> vec3<u32> {
  let low = a.x + b.x;
  let half = a.y + b.y;
  let middle = half + u32(low < b.x);
  return vec3<u32>(low, middle, a.z + b.z + u32(half < b.y) + u32(middle < half));
}

fn negated(a: vec3<u32>) -> vec3<u32> {
  return add(~a, vec3<u32>(1u, 0u, 0u));
}

// To 53 bits, ties to even.
fn toDouble(a: vec3<u32>) -> vec3<u32> {
  let zeros = select(countLeadingZeros(a.z), 32u + countLeadingZeros(a.y), a.z == 0u);
  if (zeros >= 43u) { return a; }
  let dropped = 43u - zeros;
  let isLong = dropped >= 32u;
  let ones = (1u << (dropped & 31u)) - 1u;
  let mask = vec2<u32>(select(ones, 0xffffffffu, isLong), select(0u, ones, isLong));
  let odd = (select(a.x, a.y, isLong) >> (dropped & 31u)) & 1u;
  let rounded = add(add(a, vec3<u32>((mask.x >> 1u) | (mask.y << 31u), mask.y >> 1u, 0u)), vec3<u32>(odd, 0u, 0u));
  return vec3<u32>(rounded.xy & ~mask, rounded.z);
}

fn drawOne(word: u32) -> f32 {
  let k = word >> 8u;
  var product = vec3<u32>(uniforms.unit0 * k, multiplyHigh(uniforms.unit0, k), multiplyHigh(uniforms.unit1, k) + uniforms.unit2 * k);
  product = toDouble(add(product, vec3<u32>(0u, uniforms.unit1 * k, 0u)));
  if (uniforms.isDescending != 0u) { product = negated(product); }
  var sum = add(vec3<u32>(uniforms.low0, uniforms.low1, uniforms.low2), product);
  let sign = sum.z & 0x80000000u;
  if (sign != 0u) { sum = negated(sum); }
  sum = toDouble(sum);
  var low = sum.x;
  var middle = sum.y;
  var high = sum.z;
  // The leading one to the top.
  var exponent = uniforms.exponent + ${fractionBits + 2 + 127};
  for (var i = 0; i < 2 && high == 0u; i++) {
    high = middle;
    middle = low;
    low = 0u;
    exponent -= 32;
  }
  if (high == 0u) { return 0.0; }
  let shift = countLeadingZeros(high);
  exponent -= i32(shift);
  if (shift > 0u) {
    high = (high << shift) | (middle >> (32u - shift));
    middle <<= shift;
  }
  if (exponent <= 0) { return 0.0; }
  // To 24 bits, ties to even.
  let tail = ((high & 0xffu) << 1u) | u32((middle | low) != 0u);
  let mantissa = high >> 8u;
  let rounded = (mantissa & 0x007fffffu) + u32(tail + (mantissa & 1u) > 0x100u);
  let bits = (u32(min(exponent, 255)) << 23u) + rounded;
  return bitcast<f32>(sign | min(bits, 0x7f800000u));
}

fn draw(words: vec2<u32>) -> vec2<f32> {
  return vec2<f32>(drawOne(words.x), drawOne(words.y));
}
`;
}
