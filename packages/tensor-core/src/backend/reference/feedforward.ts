import type { Kernels } from "../backend.ts";
import { load, store } from "./access.ts";
import { silu, siluDerivative } from "./functions.ts";

/** The gate of a SwiGLU feed-forward and rotary position embedding. */
export const feedforwardKernels: Pick<Kernels, "swiglu" | "swigluGradient" | "rotaryEmbedding"> = {
  swiglu({ gate, up, output }) {
    const u = load(up);
    store(
      output,
      load(gate).map((g, i) => silu(g) * u[i]!),
    );
  },

  swigluGradient({ gradient, gate, up, gateGradient, upGradient }) {
    const d = load(gradient);
    const g = load(gate);
    const u = load(up);
    store(
      gateGradient,
      d.map((value, i) => value * u[i]! * siluDerivative(g[i]!)),
    );
    store(
      upGradient,
      d.map((value, i) => value * silu(g[i]!)),
    );
  },

  rotaryEmbedding({ input, output, cosine, sine, positions, positionOffset, layout, inverse }) {
    const [batch, sequence, heads, headDim] = input.shape as [number, number, number, number];
    const pairs = cosine.shape.at(-1)!;
    const x = load(input);
    const cosines = load(cosine);
    const sines = load(sine);
    const places = positions && load(positions);
    const result = x.slice();
    for (let token = 0; token < batch * sequence; token++) {
      const s = token % sequence;
      const position = places ? places[s]! : positionOffset + s;
      for (let head = 0; head < heads; head++) {
        const start = (token * heads + head) * headDim;
        for (let i = 0; i < pairs; i++) {
          const first = start + (layout === "half" ? i : 2 * i);
          const second = start + (layout === "half" ? i + pairs : 2 * i + 1);
          const c = cosines[position * pairs + i]!;
          const d = (inverse ? -1 : 1) * sines[position * pairs + i]!;
          result[first] = x[first]! * c - x[second]! * d;
          result[second] = x[second]! * c + x[first]! * d;
        }
      }
    }
    store(output, result);
  },
};
