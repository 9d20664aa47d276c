/** Threefry-2x32 with 20 rounds (Salmon et al. 2011), four blocks side by side; the scalar twin is `src/random/threefry.ts`. */
import { constant, HALF } from "./constants";
import { logF32x4 } from "./math";

const UNIFORM: i32 = 0;
const NORMAL: i32 = 1;

const TO_UNIT: v128 = constant(5.9604644775390625e-8); // 2^-24
const TWO_PI: v128 = constant(6.2831853071795865);
const SIN_1: v128 = constant(-1.6666654611e-1);
const SIN_2: v128 = constant(8.3321608736e-3);
const SIN_3: v128 = constant(-1.9515295891e-4);
const COS_2: v128 = constant(4.166664568298827e-2);
const COS_3: v128 = constant(-1.388731625493765e-3);
const COS_4: v128 = constant(2.443315711809948e-5);

// @ts-ignore: decorator
@inline
function mix(x: v128, y: v128, rotation: i32): v128 {
  return v128.xor(v128.or(i32x4.shl(y, rotation), i32x4.shr_u(y, 32 - rotation)), x);
}

/**
 * output[i] for i in the range, from block counter + floor(i / 2): bits (2), uniform numbers (0: `first` = low, `second` = high) or normal
 * ones (1: mean, standard deviation). Granularity 8. Scratch: 32 bytes.
 */
export function random(
  distribution: i32, key0: i32, key1: i32, counterLow: i32, counterHigh: i32, first: f32, second: f32, output: usize, scratch: usize,
  begin: i32, end: i32,
): void {
  const key2 = 0x1bd11bda ^ key0 ^ key1;
  for (let i = begin; i < end; i += 8) {
    const block = (<u64>(<u32>counterHigh) << 32 | <u64>(<u32>counterLow)) + <u64>(i >> 1);
    const lanes = i32x4(0, 1, 2, 3);
    const low = i32x4.add(i32x4.splat(<i32>block), lanes);
    // lanes whose low word wrapped past 2^32
    const carry = i32x4.lt_u(low, lanes);
    const wrapped = <u32>block > 0xfffffffc ? carry : i32x4.splat(0);
    let x = i32x4.add(low, i32x4.splat(key0));
    let y = i32x4.add(i32x4.sub(i32x4.splat(<i32>(block >> 32)), wrapped), i32x4.splat(key1));
    x = i32x4.add(x, y);
    y = mix(x, y, 13);
    x = i32x4.add(x, y);
    y = mix(x, y, 15);
    x = i32x4.add(x, y);
    y = mix(x, y, 26);
    x = i32x4.add(x, y);
    y = mix(x, y, 6);
    x = i32x4.add(x, i32x4.splat(key1));
    y = i32x4.add(y, i32x4.splat(key2 + 1));
    x = i32x4.add(x, y);
    y = mix(x, y, 17);
    x = i32x4.add(x, y);
    y = mix(x, y, 29);
    x = i32x4.add(x, y);
    y = mix(x, y, 16);
    x = i32x4.add(x, y);
    y = mix(x, y, 24);
    x = i32x4.add(x, i32x4.splat(key2));
    y = i32x4.add(y, i32x4.splat(key0 + 2));
    x = i32x4.add(x, y);
    y = mix(x, y, 13);
    x = i32x4.add(x, y);
    y = mix(x, y, 15);
    x = i32x4.add(x, y);
    y = mix(x, y, 26);
    x = i32x4.add(x, y);
    y = mix(x, y, 6);
    x = i32x4.add(x, i32x4.splat(key0));
    y = i32x4.add(y, i32x4.splat(key1 + 3));
    x = i32x4.add(x, y);
    y = mix(x, y, 17);
    x = i32x4.add(x, y);
    y = mix(x, y, 29);
    x = i32x4.add(x, y);
    y = mix(x, y, 16);
    x = i32x4.add(x, y);
    y = mix(x, y, 24);
    x = i32x4.add(x, i32x4.splat(key1));
    y = i32x4.add(y, i32x4.splat(key2 + 4));
    x = i32x4.add(x, y);
    y = mix(x, y, 13);
    x = i32x4.add(x, y);
    y = mix(x, y, 15);
    x = i32x4.add(x, y);
    y = mix(x, y, 26);
    x = i32x4.add(x, y);
    y = mix(x, y, 6);
    x = i32x4.add(x, i32x4.splat(key2));
    y = i32x4.add(y, i32x4.splat(key0 + 5));
    if (distribution == NORMAL) {
      // Box–Muller; the angle in quarter turns n and the rest, which float32 holds exactly.
      const u1 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(i32x4.shr_u(x, 8), i32x4.splat(1))), TO_UNIT);
      const u2 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_u(y, 8)), TO_UNIT);
      const logarithm = logF32x4(u1);
      const radius = f32x4.mul(f32x4.sqrt(f32x4.neg(f32x4.add(logarithm, logarithm))), f32x4.splat(second));
      const quarters = f32x4.nearest(f32x4.mul(u2, f32x4.splat(4.0)));
      const r = f32x4.mul(f32x4.sub(u2, f32x4.mul(quarters, f32x4.splat(0.25))), TWO_PI);
      const n = i32x4.trunc_sat_f32x4_s(quarters);
      const z = f32x4.mul(r, r);
      const sinTail = f32x4.add(f32x4.mul(f32x4.add(f32x4.mul(SIN_3, z), SIN_2), z), SIN_1);
      const sine = f32x4.add(f32x4.mul(f32x4.mul(sinTail, z), r), r);
      const cosTail = f32x4.add(f32x4.mul(f32x4.add(f32x4.mul(COS_4, z), COS_3), z), COS_2);
      const cosine = f32x4.add(f32x4.sub(f32x4.mul(f32x4.mul(cosTail, z), z), f32x4.mul(HALF, z)), f32x4.splat(1.0));
      const odd = i32x4.shr_s(i32x4.shl(n, 31), 31);
      const cosSign = i32x4.shl(i32x4.shr_u(i32x4.add(n, i32x4.splat(1)), 1), 31);
      const sinSign = i32x4.shl(i32x4.shr_u(n, 1), 31);
      const mean = f32x4.splat(first);
      x = f32x4.add(mean, f32x4.mul(radius, v128.xor(v128.bitselect(sine, cosine, odd), cosSign)));
      y = f32x4.add(mean, f32x4.mul(radius, v128.xor(v128.bitselect(cosine, sine, odd), sinSign)));
    } else if (distribution == UNIFORM) {
      const low = f32x4.splat(first);
      const width = f32x4.mul(f32x4.splat(second - first), TO_UNIT);
      x = f32x4.add(low, f32x4.mul(width, f32x4.convert_i32x4_s(i32x4.shr_u(x, 8))));
      y = f32x4.add(low, f32x4.mul(width, f32x4.convert_i32x4_s(i32x4.shr_u(y, 8))));
    }
    const even = v128.shuffle<i32>(x, y, 0, 4, 1, 5);
    const rest = v128.shuffle<i32>(x, y, 2, 6, 3, 7);
    const target = output + (<usize>i << 2);
    if (end - i >= 8) {
      v128.store(target, even);
      v128.store(target, rest, 16);
    } else {
      v128.store(scratch, even);
      v128.store(scratch, rest, 16);
      memory.copy(target, scratch, <usize>(end - i) << 2);
    }
  }
}
