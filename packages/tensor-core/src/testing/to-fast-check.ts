import fc from "fast-check";
import type { Arbitrary } from "../validation/arbitrary.ts";

/** The same values as fast-check draws and shrinks them. */
export function toFastCheck<Value>(arbitrary: Arbitrary<Value>): fc.Arbitrary<Value> {
  return convert(arbitrary) as fc.Arbitrary<Value>;
}

function convert({ node }: Arbitrary<unknown>): fc.Arbitrary<unknown> {
  switch (node.kind) {
    case "integer":
      return fc.integer({ min: node.minimum, max: node.maximum });
    case "double":
      return fc.double({ min: node.minimum, max: node.maximum, noNaN: true });
    case "choice":
      return fc.constantFrom(...node.values);
    case "oneOf": {
      const options = node.options.map(({ arbitrary, weight }) => ({ arbitrary: convert(arbitrary), weight }));
      return fc.oneof({ withCrossShrink: true }, ...options);
    }
    case "record":
      return fc.record(Object.fromEntries(Object.entries(node.fields).map(([name, field]) => [name, convert(field)])));
    case "list":
      return fc.array(convert(node.item), { minLength: node.minimum, maxLength: node.maximum });
    case "permutation":
      return fc.shuffledSubarray([...node.values], { minLength: node.values.length, maxLength: node.values.length });
    case "map":
      return convert(node.from).map(node.transform);
    case "filter":
      return convert(node.from).filter(node.accepts);
    case "opaque":
      return fc.noShrink(convert(node.from));
  }
}
