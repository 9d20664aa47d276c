/** What a reduction computes, as pieces of WGSL: how a stored element becomes a value, how two values become one, what is stored. */
import type { ReduceOperation } from "../../../backend.ts";
import { mathSource } from "../../wgsl/math.ts";
import type { Packing } from "./reduction-plan.ts";

/** The source of a reduction: a tensor, or the partial results of an earlier launch. */
export type ReductionSource = "tensor" | "partial";

/**
 * A way to combine. Values are held in `Value`: of one output, or four with kept packing; `Fetched` is what one load gives, four elements
 * with any packing. Both are named in the shader, so that most pieces serve both.
 */
export interface Combiner {
  /** For names of kernels and pipelines. */
  readonly name: string;
  /** Element type of the tensor and of partial results, for one and for four at once; `undefined` = not by fours. */
  readonly elements: Readonly<Record<ReductionSource, { readonly one: StoredType; readonly four: StoredType | undefined }>>;
  /** Element type of results. */
  readonly result: "f32" | "i32" | "atomic<u32>";
  /** Declares `Value`, `Fetched`, `identity`, `combine` and `fetch(place, step)`; place and step count units. */
  readonly functions: (source: ReductionSource, packing: Packing) => string;
  /** Declares `storePartial(place, …)`, called with `storeArguments` of one output. */
  readonly storePartial: string;
  /** Declares `storeResult`, likewise. */
  readonly storeResult: string;
  readonly storeArguments: (component: string) => string;
}

/** What a source is bound as. */
export type StoredType = "f32" | "i32" | "u32" | "vec2<u32>" | "vec4<f32>" | "vec4<i32>" | "vec4<u32>";

/** `[component]` of a value of four, or nothing. */
export const componentsOf = (packing: Packing): readonly string[] => (packing === "kept" ? ["[0]", "[1]", "[2]", "[3]"] : [""]);

const isFour = (packing: Packing): boolean => packing !== "none";

/** The functions of a combiner whose value is one number. `convert` makes a value of what `load` fetched; both may count on `Fetched`. */
function numberFunctions(type: string, packing: Packing, identity: string, combine: string, convert: string, load: string): string {
  const value = packing === "kept" ? `vec4<${type}>` : type;
  const fold = "combine(combine(x.x, x.y), combine(x.z, x.w))";
  return `alias Value = ${value};
alias Fetched = ${isFour(packing) ? `vec4<${type}>` : type};
fn identity() -> Value { return Value(${identity}); }
fn combine(a: Value, b: Value) -> Value { return ${combine}; }
${convert}
fn fetch(place: u32, step: u32) -> Value {
  let x = convert(${load});
  return ${packing === "reduced" ? fold : "x"};
}`;
}

const plain = "fn convert(x: Fetched) -> Fetched { return x; }";
const stored = "source[uniforms.sourceOffset + place]";
const storePartial = (type: string): string => `fn storePartial(place: u32, x: ${type}) { partial[uniforms.partialOffset + place] = x; }`;

function numberCombiner(type: "f32" | "i32", operation: "sum" | "mean" | "product" | "maximum" | "minimum"): Combiner {
  const identity = { sum: "0", mean: "0", product: "1", maximum: "-2147483647 - 1", minimum: "2147483647" }[operation];
  const combine = { sum: "a + b", mean: "a + b", product: "a * b", maximum: "max(a, b)", minimum: "min(a, b)" }[operation];
  const store = (value: string): string => `fn storeResult(place: u32, x: ${type}) { result[uniforms.resultOffset + place] = ${value}; }`;
  let storeResult = store("x");
  if (operation === "mean" && type === "f32") storeResult = `${mathSource(["divideF32"])}\n${store("divideF32(x, uniforms.count)")}`;
  // The compiler should see no division by zero.
  if (operation === "mean" && type === "i32") storeResult = store("select(0, x / i32(max(uniforms.count, 1.0)), uniforms.count > 0.0)");
  const element = { one: type, four: `vec4<${type}>` } as const;
  return {
    name: `${operation} ${type}`,
    elements: { tensor: element, partial: element },
    result: type,
    functions: (_, packing) => numberFunctions(type, packing, identity, combine, plain, stored),
    storePartial: storePartial(type),
    storeResult,
    storeArguments: (component) => `total${component}`,
  };
}

/**
 * Extremes of floats, as integers in the order of the floats: comparisons of floats may ignore NaN. NaN becomes the extreme that wins; -0
 * is less than 0.
 */
function orderedCombiner(operation: "maximum" | "minimum"): Combiner {
  const largest = operation === "maximum";
  const nan = largest ? "2147483647" : "-2147483647 - 1";
  // The places of -Infinity and Infinity in that order.
  const identity = largest ? "-2139095041" : "2139095040";
  const ordered = `fn convert(bits: Fetched) -> Fetched {
  let key = select(bits, bits ^ Fetched(0x7fffffff), bits < Fetched(0));
  return select(key, Fetched(${nan}), (bits & Fetched(0x7fffffff)) > Fetched(0x7f800000));
}`;
  const element = { one: "i32", four: "vec4<i32>" } as const;
  return {
    name: `${operation} f32`,
    elements: { tensor: element, partial: element },
    result: "i32",
    functions: (source, packing) =>
      numberFunctions("i32", packing, identity, largest ? "max(a, b)" : "min(a, b)", source === "tensor" ? ordered : plain, stored),
    storePartial: storePartial("i32"),
    storeResult: `fn storeResult(place: u32, key: i32) { result[uniforms.resultOffset + place] = select(key, key ^ 0x7fffffff, key < 0); }`,
    storeArguments: (component) => `total${component}`,
  };
}

/** Bytes of truth: a word holds four. Each byte is one output's own, but words are shared with neighbours and so changed atomically. */
function logicalCombiner(operation: "any" | "all"): Combiner {
  const truths = `fn truths(word: u32) -> vec4<u32> {
  return vec4<u32>((vec4<u32>(word) & vec4<u32>(0xffu, 0xff00u, 0xff0000u, 0xff000000u)) != vec4<u32>(0u));
}`;
  const truthAt = `fn truthAt(byte: u32) -> u32 {
  return u32(((source[byte / 4u] >> (8u * (byte % 4u))) & 0xffu) != 0u);
}`;
  return {
    name: operation,
    elements: { tensor: { one: "u32", four: "u32" }, partial: { one: "u32", four: "vec4<u32>" } },
    result: "atomic<u32>",
    functions: (source, packing) => {
      const four = isFour(packing);
      const [helper, load] =
        source === "partial" ? ["", stored] : four ? [truths, `truths(${stored})`] : [truthAt, "truthAt(uniforms.sourceOffset + place)"];
      const [start, combine] = operation === "any" ? ["0", "a | b"] : ["1", "a & b"];
      return numberFunctions("u32", packing, start, combine, `${helper}\n${plain}`, load);
    },
    storePartial: storePartial("u32"),
    storeResult: `fn storeResult(place: u32, x: u32) {
  let byte = uniforms.resultOffset + place;
  let shift = 8u * (byte % 4u);
  atomicAnd(&result[byte / 4u], ~(0xffu << shift));
  atomicOr(&result[byte / 4u], x << shift);
}`,
    storeArguments: (component) => `total${component}`,
  };
}

const combiners = new Map<string, Combiner>();

/** Texts are made once: a launch of a known pipeline needs none. */
function remembered(key: string, make: () => Combiner): Combiner {
  let combiner = combiners.get(key);
  if (combiner === undefined) combiners.set(key, (combiner = make()));
  return combiner;
}

/** The combiner of `reduce`. */
export function reduceCombiner(operation: ReduceOperation, dtype: "float32" | "int32"): Combiner {
  return remembered(`${operation} ${dtype}`, () => {
    if (operation === "any" || operation === "all") return logicalCombiner(operation);
    if (dtype === "int32") return numberCombiner("i32", operation);
    return operation === "maximum" || operation === "minimum" ? orderedCombiner(operation) : numberCombiner("f32", operation);
  });
}

/** The combiner of `argReduce`. */
export function extremeCombiner(operation: "argmax" | "argmin", dtype: "float32" | "int32"): Combiner {
  return remembered(`${operation} ${dtype}`, () => pairCombiner(operation, dtype));
}

/**
 * Pairs of a key and an index: the larger key wins, then the lower index. Keys are integers in the order of the
 * values with both zeros 0 and NaN on top; for the smallest, the order is turned round.
 */
function pairCombiner(operation: "argmax" | "argmin", dtype: "float32" | "int32"): Combiner {
  const turn = operation === "argmin" ? "~" : "";
  const convert =
    dtype === "int32"
      ? `fn convert(x: Fetched) -> Fetched { return ${turn}x; }`
      : `fn convert(bits: Fetched) -> Fetched {
  let magnitude = bits & Fetched(0x7fffffff);
  let key = ${turn}select(magnitude, -magnitude, bits < Fetched(0));
  return select(key, Fetched(0x7fffffff), magnitude > Fetched(0x7f800000));
}`;
  return {
    name: `${operation} ${dtype}`,
    elements: { tensor: { one: "i32", four: "vec4<i32>" }, partial: { one: "vec2<u32>", four: undefined } },
    result: "i32",
    functions: (source, packing) => {
      const four = packing === "kept" ? (type: string) => `vec4<${type}>` : (type: string) => type;
      const fetch =
        source === "partial"
          ? `  let pair = ${stored};
  return Value(bitcast<i32>(pair.x), pair.y);`
          : packing === "reduced"
            ? `  let x = convert(${stored});
  let first = 4u * step;
  return combine(combine(Value(x.x, first), Value(x.y, first + 1u)), combine(Value(x.z, first + 2u), Value(x.w, first + 3u)));`
            : `  return Value(convert(${stored}), ${four("u32")}(step));`;
      return `struct Value { key: ${four("i32")}, index: ${four("u32")} }
alias Fetched = ${isFour(packing) ? "vec4<i32>" : "i32"};
${source === "tensor" ? convert : ""}
fn identity() -> Value { return Value(${four("i32")}(-2147483647 - 1), ${four("u32")}(0xffffffffu)); }
fn combine(a: Value, b: Value) -> Value {
  let second = (b.key > a.key) | ((b.key == a.key) & (b.index < a.index));
  return Value(select(a.key, b.key, second), select(a.index, b.index, second));
}
fn fetch(place: u32, step: u32) -> Value {
${fetch}
}`;
    },
    storePartial: `fn storePartial(place: u32, key: i32, index: u32) {
  partial[uniforms.partialOffset + place] = vec2<u32>(bitcast<u32>(key), index);
}`,
    storeResult: `fn storeResult(place: u32, key: i32, index: u32) { result[uniforms.resultOffset + place] = i32(index); }`,
    storeArguments: (component) => `total.key${component}, total.index${component}`,
  };
}
