/**
 * Descriptions of random cases, in the vocabulary of fast-check but free of it: this package ships them to validate kernels that users
 * bring (`sampleCase`), and its own tests run and shrink them by fast-check (`to-fast-check.ts`).
 */
import { CaseRandom } from "./case-random.ts";

/** What an arbitrary is made of. */
export type ArbitraryNode =
  | { readonly kind: "integer"; readonly minimum: number; readonly maximum: number }
  | { readonly kind: "double"; readonly minimum: number; readonly maximum: number }
  | { readonly kind: "choice"; readonly values: readonly unknown[] }
  | { readonly kind: "oneOf"; readonly options: readonly WeightedArbitrary<unknown>[] }
  | { readonly kind: "record"; readonly fields: Readonly<Record<string, Arbitrary<unknown>>> }
  | { readonly kind: "list"; readonly item: Arbitrary<unknown>; readonly minimum: number; readonly maximum: number }
  | { readonly kind: "permutation"; readonly values: readonly unknown[] }
  | { readonly kind: "map"; readonly from: Arbitrary<unknown>; readonly transform: (value: unknown) => unknown }
  | { readonly kind: "filter"; readonly from: Arbitrary<unknown>; readonly accepts: (value: unknown) => boolean }
  /** Of no meaning by itself, such as a seed: not shrunk, not rounded. */
  | { readonly kind: "opaque"; readonly from: Arbitrary<unknown> };

/** One of several arbitraries, by weight. */
export interface WeightedArbitrary<Value> {
  readonly arbitrary: Arbitrary<Value>;
  readonly weight: number;
}

/** Random values of a type. */
export class Arbitrary<out Value> {
  readonly node: ArbitraryNode;
  declare readonly value: Value;

  constructor(node: ArbitraryNode) {
    this.node = node;
  }

  map<Result>(transform: (value: Value) => Result): Arbitrary<Result> {
    return new Arbitrary({ kind: "map", from: this, transform: transform as (value: unknown) => unknown });
  }

  filter(accepts: (value: Value) => boolean): Arbitrary<Value> {
    return new Arbitrary({ kind: "filter", from: this, accepts: accepts as (value: unknown) => boolean });
  }
}

/** Whole numbers, both ends included. */
export function integer({ min, max }: { readonly min: number; readonly max: number }): Arbitrary<number> {
  return new Arbitrary({ kind: "integer", minimum: min, maximum: max });
}

/** Whole numbers from 0 to `max`. */
export function nat(max: number): Arbitrary<number> {
  return integer({ min: 0, max });
}

/** Numbers from min to max. */
export function double({ min, max }: { readonly min: number; readonly max: number }): Arbitrary<number> {
  return new Arbitrary({ kind: "double", minimum: min, maximum: max });
}

/** One of the values. */
export function constantFrom<Value>(...values: readonly Value[]): Arbitrary<Value> {
  return new Arbitrary({ kind: "choice", values });
}

/** Always this value. */
export function constant<const Value>(value: Value): Arbitrary<Value> {
  return new Arbitrary({ kind: "choice", values: [value] });
}

export function boolean(): Arbitrary<boolean> {
  return constantFrom<boolean>(false, true);
}

type AnyOption = Arbitrary<unknown> | WeightedArbitrary<unknown>;
type ValueOf<Option> = Option extends Arbitrary<infer Value> ? Value : Option extends WeightedArbitrary<infer Value> ? Value : never;

/** One of several arbitraries, the first being the simplest. */
export function oneof<Options extends readonly AnyOption[]>(...options: Options): Arbitrary<ValueOf<Options[number]>> {
  const weighted = options.map((option) => (option instanceof Arbitrary ? { arbitrary: option, weight: 1 } : option));
  return new Arbitrary({ kind: "oneOf", options: weighted });
}

/** The value, or undefined one time in six. */
export function option<Value>(arbitrary: Arbitrary<Value>): Arbitrary<Value | undefined> {
  const options = [
    { arbitrary: constant(undefined), weight: 1 },
    { arbitrary, weight: 5 },
  ];
  return new Arbitrary({ kind: "oneOf", options });
}

type RecordOf<Fields> = { [Key in keyof Fields]: Fields[Key] extends Arbitrary<infer Value> ? Value : never };

/** An object with a value for each field. */
export function record<Fields extends Readonly<Record<string, Arbitrary<unknown>>>>(fields: Fields): Arbitrary<RecordOf<Fields>> {
  return new Arbitrary({ kind: "record", fields });
}

/** A pair. */
export function pair<First, Second>(first: Arbitrary<First>, second: Arbitrary<Second>): Arbitrary<readonly [First, Second]> {
  return record({ first, second }).map((drawn) => [drawn.first, drawn.second] as const);
}

/** A list of values. */
export function array<Value>(
  item: Arbitrary<Value>,
  { minLength = 0, maxLength }: { readonly minLength?: number; readonly maxLength: number },
): Arbitrary<Value[]> {
  return new Arbitrary({ kind: "list", item, minimum: minLength, maximum: maxLength });
}

/** The values in any order. */
export function permutation<Value>(values: readonly Value[]): Arbitrary<Value[]> {
  return new Arbitrary({ kind: "permutation", values });
}

/** Values that mean nothing by themselves, such as seeds. */
export function noShrink<Value>(arbitrary: Arbitrary<Value>): Arbitrary<Value> {
  return new Arbitrary({ kind: "opaque", from: arbitrary });
}

/** Draws that a filter may refuse in a row. */
const maximumRefusals = 1000;

/** Case number `index` of the sequence that belongs to `seed`. */
export function sampleCase<Value>(arbitrary: Arbitrary<Value>, seed: number, index: number): Value {
  return sample(arbitrary, new CaseRandom(seed, index)) as Value;
}

function sample({ node }: Arbitrary<unknown>, random: CaseRandom): unknown {
  switch (node.kind) {
    case "integer":
      return random.size(node.minimum, node.maximum);
    case "double":
      return node.minimum + (node.maximum - node.minimum) * random.unit();
    case "choice":
      return random.choice(node.values);
    case "oneOf":
      return sample(random.weighted(node.options).arbitrary, random);
    case "record":
      return Object.fromEntries(Object.entries(node.fields).map(([name, field]) => [name, sample(field, random)]));
    case "list":
      return Array.from({ length: random.whole(node.minimum, node.maximum) }, () => sample(node.item, random));
    case "permutation":
      return random.permutation(node.values);
    case "map":
      return node.transform(sample(node.from, random));
    case "filter":
      for (let refusals = 0; refusals < maximumRefusals; refusals++) {
        const value = sample(node.from, random);
        if (node.accepts(value)) return value;
      }
      throw new RangeError(`a case generator refused ${maximumRefusals} draws in a row`);
    case "opaque":
      return sample(node.from, random.plain());
  }
}
