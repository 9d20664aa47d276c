import * as draw from "../arbitrary.ts";
import { layouts, rowLayouts, seeds, small } from "../arbitraries.ts";
import { within, type KernelTests } from "../kernel-test.ts";
import { referenceResults } from "../run-kernel.ts";
import { outputSpec, tensorSpec, type KernelSpec } from "../tensor-spec.ts";
import { choices, normals } from "../values.ts";

const forwards = draw
  .record({
    batch: small(2),
    keyHeads: small(3),
    group: small(3),
    queries: draw.oneof(small(9), small(70)),
    keys: draw.oneof(small(9), small(90)),
    headDim: draw.oneof(small(9), draw.constantFrom(16, 32, 64)),
    causal: draw.boolean(),
    queryOffset: small(6, -3),
    sharp: draw.boolean(),
    seed: seeds,
    query: rowLayouts(4),
    key: rowLayouts(4),
    value: rowLayouts(4),
    output: rowLayouts(4),
    mask: draw.option(layouts()),
  })
  .map((drawn): KernelSpec<"attention"> => {
    const { batch, keyHeads, group, queries, keys, headDim, seed } = drawn;
    const queryShape = [batch, keyHeads * group, queries, headDim];
    const keyShape = [batch, keyHeads, keys, headDim];
    const scoreShape = [batch, keyHeads * group, queries, keys];
    return {
      query: tensorSpec("float32", queryShape, normals(seed, 0, drawn.sharp ? 6 : 1), drawn.query),
      key: tensorSpec("float32", keyShape, normals(seed + 1), drawn.key),
      value: tensorSpec("float32", keyShape, normals(seed + 2), drawn.value),
      output: outputSpec("float32", queryShape, drawn.output),
      logSumExp: outputSpec("float32", queryShape.slice(0, 3)),
      mask: drawn.mask && tensorSpec("float32", scoreShape, choices(seed + 3, [0, 0, 0.5, -Infinity]), drawn.mask),
      scale: 1 / Math.sqrt(headDim),
      causal: drawn.causal,
      queryOffset: drawn.queryOffset,
    };
  });

/** Tests of attention. */
export const attentionTests: KernelTests<"attention" | "attentionGradient"> = {
  attention: { outputs: ["output", "logSumExp"], tolerance: within(1e-5, 3e-5), cases: forwards },

  attentionGradient: {
    outputs: ["queryGradient", "keyGradient", "valueGradient"],
    tolerance: within(8e-5, 5e-5),
    cases: draw
      .record({ forward: forwards, gradient: rowLayouts(4), query: rowLayouts(4), key: rowLayouts(4), value: rowLayouts(4), seed: seeds })
      .map(({ forward, gradient, query, key, value, seed }) => {
        const { output: forwardOutput, logSumExp: forwardLogSumExp, ...inputs } = forward;
        const results = referenceResults("attention", forward);
        const { shape } = forward.query;
        return {
          ...inputs,
          gradient: tensorSpec("float32", shape, normals(seed), gradient),
          output: tensorSpec("float32", forwardOutput.shape, results("output"), gradient),
          logSumExp: tensorSpec("float32", forwardLogSumExp.shape, results("logSumExp")),
          queryGradient: outputSpec("float32", shape, query),
          keyGradient: outputSpec("float32", forward.key.shape, key),
          valueGradient: outputSpec("float32", forward.value.shape, value),
        };
      }),
  },
};
