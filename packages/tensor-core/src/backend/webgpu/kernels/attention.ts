import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { decodeAttention, isDecode } from "./attention/decode.ts";
import { tiledAttention } from "./attention/forward.ts";
import { attentionGradient } from "./attention/gradient.ts";
import { sizesOf } from "./attention/problem.ts";

/** Attention without the matrix of scores, for a few queries and for many, and its gradient. */
export function attentionKernels(runtime: WebGpuRuntime): Pick<Kernels, "attention" | "attentionGradient"> {
  return {
    attention(parameters) {
      const sizes = sizesOf(parameters);
      if (isDecode(sizes)) decodeAttention(runtime, parameters, sizes);
      else tiledAttention(runtime, parameters, sizes);
    },

    attentionGradient: (parameters) => attentionGradient(runtime, parameters),
  };
}
