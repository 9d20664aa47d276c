import type { Kernels } from "../backend.ts";
import { convert, elementCount, load, store } from "./access.ts";

/** Filling, copying and indexing. */
export const movementKernels: Pick<
  Kernels,
  "fill" | "arange" | "copy" | "gather" | "scatterAdd" | "gatherElements" | "scatterElementsAdd"
> = {
  fill({ output, value }) {
    store(output, new Float64Array(elementCount(output.shape)).fill(convert(value, output.dtype)));
  },

  arange({ output, start, step }) {
    store(
      output,
      Float64Array.from({ length: elementCount(output.shape) }, (_, i) => convert(start + i * step, output.dtype)),
    );
  },

  copy({ input, output }) {
    store(
      output,
      load(input).map((value) => convert(value, output.dtype)),
    );
  },

  gather({ input, indices, output, outer, size, inner }) {
    const values = load(input);
    const places = load(indices);
    const result = new Float64Array(outer * places.length * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < places.length; i++) {
        const index = places[i]!;
        if (index < 0 || index >= size) continue;
        for (let k = 0; k < inner; k++) result[(o * places.length + i) * inner + k] = values[(o * size + index) * inner + k]!;
      }
    }
    store(output, result);
  },

  scatterAdd({ output, indices, updates, outer, size, inner }) {
    const result = load(output);
    const places = load(indices);
    const added = load(updates);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < places.length; i++) {
        const index = places[i]!;
        if (index < 0 || index >= size) continue;
        for (let k = 0; k < inner; k++) result[(o * size + index) * inner + k]! += added[(o * places.length + i) * inner + k]!;
      }
    }
    store(output, result);
  },

  gatherElements({ input, indices, output, outer, size, inner }) {
    const values = load(input);
    const places = load(indices);
    const result = new Float64Array(places.length);
    forEachPlace(places, outer, size, inner, (here, there) => {
      result[here] = values[there]!;
    });
    store(output, result);
  },

  scatterElementsAdd({ output, indices, updates, outer, size, inner }) {
    const result = load(output);
    const added = load(updates);
    forEachPlace(load(indices), outer, size, inner, (here, there) => {
      result[there]! += added[here]!;
    });
    store(output, result);
  },
};

/** Pairs every element of indices [outer, count, inner] with the element of [outer, size, inner] it names, leaving out indices outside. */
function forEachPlace(
  indices: Float64Array,
  outer: number,
  size: number,
  inner: number,
  visit: (here: number, there: number) => void,
): void {
  const count = outer * inner === 0 ? 0 : indices.length / (outer * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < count; i++) {
      for (let k = 0; k < inner; k++) {
        const here = (o * count + i) * inner + k;
        const index = indices[here]!;
        if (index >= 0 && index < size) visit(here, (o * size + index) * inner + k);
      }
    }
  }
}
