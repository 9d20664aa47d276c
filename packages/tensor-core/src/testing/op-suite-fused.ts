import fc from "fast-check";
import { describe, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import { rotaryEmbedding, scaledDotProductAttention, swiglu } from "../ops/attention.ts";
import { crossEntropy, meanSquaredError } from "../ops/loss.ts";
import { layerNorm, logSoftmax, rmsNorm, softmax } from "../ops/normalization.ts";
import { causalConv1d, selectiveScan } from "../ops/sequence.ts";
import { at, build, commonShape, matmulHost, permuteHost, reduceHost, sigmoidHost, zip, type HostArray } from "./op-suite-host.ts";
import { between, broadcastable, checkOperation, checkProperty, dense, layouts, shapes, type ViewLayout } from "./op-suite-check.ts";

export const fusedOperations: readonly string[] = [
  "softmax",
  "logSoftmax",
  "rmsNorm",
  "layerNorm",
  "crossEntropy",
  "meanSquaredError",
  "scaledDotProductAttention",
  "rotaryEmbedding",
  "swiglu",
  "causalConv1d",
  "selectiveScan",
];

const strided: ViewLayout = { order: [2, 0, 3, 1], before: 1, step: 2, repeated: 0 };

/** Softmax along an axis; a row of -Infinity gives zeros. */
function softmaxHost(array: HostArray, axis: number): HostArray {
  const largest = reduceHost(array, [axis], true, (values) => Math.max(...values));
  const exponentials = zip((value, top) => (top === -Infinity ? 0 : Math.exp(value - top)), array, largest);
  const totals = reduceHost(exponentials, [axis], true, (values) => values.reduce((sum, value) => sum + value, 0));
  return zip((value, total) => (total === 0 ? 0 : value / total), exponentials, totals);
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

interface AttentionSizes {
  readonly scale: number;
  readonly causal: boolean;
  readonly queryOffset: number;
}

/** Attention with the scores in full; `group` query heads share a key head. */
function attentionHost(
  query: HostArray,
  key: HostArray,
  value: HostArray,
  mask: HostArray | undefined,
  { scale, causal, queryOffset }: AttentionSizes,
): HostArray {
  const [batch, heads, queries] = query.shape as [number, number, number, number];
  const [, keyHeads, keys, headDim] = key.shape as [number, number, number, number];
  const group = heads / keyHeads;
  const repeat = (array: HostArray): HostArray =>
    build([batch, heads, keys, headDim], (index) => at(array, index.with(1, Math.floor(index[1]! / group))));
  const scores = matmulHost(query, permuteHost(repeat(key), [0, 1, 3, 2]));
  const masked = build([batch, heads, queries, keys], (index, position) =>
    causal && index[3]! > index[2]! + queryOffset ? -Infinity : scale * scores.values[position]! + (mask ? at(mask, index) : 0),
  );
  return matmulHost(softmaxHost(masked, 3), repeat(value));
}

/** Normalisations, losses, attention and sequences against their definitions. */
export function fusedSuite(device: DeviceName): void {
  describe("softmax", () => {
    it("softmax and logSoftmax along any axis", async () => {
      await checkProperty(
        device,
        fc.record({ shape: shapes(1, 3), layout: layouts, axis: fc.integer({ min: -1, max: 0 }), scale: fc.constantFrom(1, 0.3, -2) }),
        (input, { shape, layout, axis, scale }) => {
          const x = input("float32", shape, { layout });
          const expected = softmaxHost(
            zip((value) => scale * value, x.host),
            axis < 0 ? shape.length - 1 : 0,
          );
          return {
            run: () => [softmax(x.tensor, axis, { scale }), logSoftmax(x.tensor, axis, { scale })],
            expected: [expected, zip(Math.log, expected)],
            dtype: ["float32", "float32"],
            tolerance: 5,
          };
        },
        60,
      );
    });

    it("adds a mask that broadcasts", async () => {
      await checkProperty(
        device,
        fc.record({ shapes: broadcastable(2), layouts: fc.tuple(layouts, layouts) }),
        (input, { shapes: [shapeX, shapeM], layouts: [layoutX, layoutM] }) => {
          const shape = commonShape(shapeX!, shapeM!);
          const x = input("float32", shape.length === 0 ? [1] : shape, { layout: layoutX });
          const mask = input("float32", shapeM!, { layout: layoutM, value: (i) => (i % 3 === 1 ? -Infinity : 0.25 * (i % 4)) });
          const expected = softmaxHost(
            zip((value, add) => 0.5 * value + add, x.host, mask.host),
            x.host.shape.length - 1,
          );
          return { run: () => softmax(x.tensor, -1, { mask: mask.tensor, scale: 0.5 }), expected, tolerance: 5 };
        },
        40,
      );
    });

    it("takes extreme scores and rows that see nothing", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [3, 3], {
          value: (i) => [1000, 1000, -1000, -3e38, -3e38, -Infinity, -Infinity, -Infinity, -Infinity][i]!,
        });
        return { run: () => softmax(x.tensor), expected: { shape: [3, 3], values: [0.5, 0.5, 0, 0.5, 0.5, 0, 0, 0, 0] } };
      });
    });
  });

  describe("normalization", () => {
    const drawn = fc.record({
      shape: shapes(1, 3),
      layout: layouts,
      weighted: fc.boolean(),
      shifted: fc.boolean(),
      dtype: fc.constantFrom("float32" as const, "float16" as const),
    });

    it("rmsNorm and layerNorm", async () => {
      await checkProperty(
        device,
        drawn,
        (input, { shape, layout, weighted, shifted, dtype }) => {
          const x = input(dtype, shape, { layout });
          const columns = shape.at(-1)!;
          const weight = input("float32", [columns], { layout: strided });
          const bias = input("float32", [columns], { layout: strided });
          const epsilon = 1e-3;
          const last = [shape.length - 1];
          const square = reduceHost(x.host, last, true, (values) => mean(values.map((value) => value * value)));
          const center = reduceHost(x.host, last, true, mean);
          const spread = reduceHost(x.host, last, true, (values) => mean(values.map((value) => (value - mean(values)) ** 2)));
          const gain = (value: number, w: number): number => (weighted ? value * w : value);
          return {
            run: () => [
              rmsNorm(x.tensor, { weight: weighted ? weight.tensor : undefined, epsilon }),
              layerNorm(x.tensor, { weight: weighted ? weight.tensor : undefined, bias: shifted ? bias.tensor : undefined, epsilon }),
            ],
            expected: [
              zip((value, s, w) => gain(value / Math.sqrt(s + epsilon), w), x.host, square, weight.host),
              zip(
                (value, m, v, w, b) => gain((value - m) / Math.sqrt(v + epsilon), w) + (shifted ? b : 0),
                x.host,
                center,
                spread,
                weight.host,
                bias.host,
              ),
            ],
            dtype: ["float32", "float32"],
            tolerance: 10,
          };
        },
        60,
      );
    });
  });

  describe("losses", () => {
    it("crossEntropy", async () => {
      const drawn = fc.record({
        lead: shapes(0, 2, 60),
        classes: fc.constantFrom(1, 2, 5, 17),
        layouts: fc.tuple(layouts, layouts),
        smoothing: fc.constantFrom(0, 0.1),
        ignored: fc.constantFrom(-100, 1),
      });
      await checkProperty(
        device,
        drawn,
        (input, { lead, classes, layouts: [layoutX, layoutT], smoothing, ignored }) => {
          const logits = input("float32", [...lead, classes], { layout: layoutX });
          const targets = input("int32", lead, { layout: layoutT, value: (i) => (i % 5 === 3 ? ignored : (i * 3) % classes) });
          const logs = zip(Math.log, softmaxHost(logits.host, lead.length));
          const losses = build(lead, (index) => {
            const target = at(targets.host, index);
            if (target === ignored) return 0;
            const row = Array.from({ length: classes }, (_, c) => at(logs, [...index, c]));
            return -(1 - smoothing) * row[target]! - smoothing * mean(row);
          });
          const sum = losses.values.reduce((a, b) => a + b, 0);
          const counted = targets.host.values.filter((target) => target !== ignored).length;
          const options = { ignoreIndex: ignored, labelSmoothing: smoothing };
          return {
            run: () => [
              crossEntropy(logits.tensor, targets.tensor, { ...options, reduction: "none" }),
              crossEntropy(logits.tensor, targets.tensor, { ...options, reduction: "sum" }),
              crossEntropy(logits.tensor, targets.tensor, options),
            ],
            expected: [losses, { shape: [], values: [sum] }, { shape: [], values: [sum / Math.max(1, counted)] }],
            dtype: ["float32", "float32", "float32"],
            tolerance: 10,
          };
        },
        60,
      );
    });

    it("crossEntropy of a target outside is NaN", async () => {
      await checkOperation(device, (input) => {
        const logits = input("float32", [2, 3]);
        const targets = input("uint8", [2], { value: (i) => i * 3 });
        return { run: () => crossEntropy(logits.tensor, targets.tensor), expected: { shape: [], values: [NaN] } };
      });
    });

    it("meanSquaredError", async () => {
      await checkProperty(
        device,
        fc.record({ shapes: broadcastable(2), layouts: fc.tuple(layouts, layouts) }),
        (input, { shapes: [shapeA, shapeB], layouts: [layoutA, layoutB] }) => {
          const a = input("float32", shapeA!, { layout: layoutA });
          const b = input("float32", shapeB!, { layout: layoutB });
          const squares = zip((x, y) => (x - y) ** 2, a.host, b.host);
          return {
            run: () => [
              meanSquaredError(a.tensor, b.tensor),
              meanSquaredError(a.tensor, b.tensor, { reduction: "sum" }),
              meanSquaredError(a.tensor, b.tensor, { reduction: "none" }),
            ],
            expected: [
              reduceHost(squares, undefined, false, mean),
              reduceHost(squares, undefined, false, (values) => values.reduce((x, y) => x + y, 0)),
              squares,
            ],
            dtype: ["float32", "float32", "float32"],
            tolerance: 10,
          };
        },
      );
    });
  });

  describe("attention", () => {
    it("scaledDotProductAttention with grouped heads, causality, offsets and masks", async () => {
      const small = fc.constantFrom(1, 2, 3, 5, 8, 9);
      const drawn = fc.record({
        batch: fc.constantFrom(1, 2),
        keyHeads: fc.constantFrom(1, 2),
        group: fc.constantFrom(1, 2, 3),
        queries: small,
        keys: small,
        headDim: fc.constantFrom(1, 4, 5, 8),
        causal: fc.boolean(),
        offset: fc.option(fc.integer({ min: -2, max: 3 }), { nil: undefined }),
        scale: fc.option(fc.constant(0.7), { nil: undefined }),
        mask: fc.constantFrom("none", "full", "keys"),
        layout: layouts,
      });
      await checkProperty(
        device,
        drawn,
        (input, { batch, keyHeads, group, queries, keys, headDim, causal, offset, scale, mask, layout }) => {
          const heads = keyHeads * group;
          const q = input("float32", [batch, heads, queries, headDim], { layout });
          const k = input("float32", [batch, keyHeads, keys, headDim], { layout: { ...dense, order: [0, 2, 1, 3] } });
          const v = input("float32", [batch, keyHeads, keys, headDim], { layout: strided });
          const shape = mask === "full" ? [batch, heads, queries, keys] : [keys];
          const m = input("float32", shape, { layout, value: (i) => (i % 4 === 3 ? -Infinity : -0.1 * (i % 3)) });
          const expected = attentionHost(q.host, k.host, v.host, mask === "none" ? undefined : m.host, {
            scale: scale ?? 1 / Math.sqrt(headDim),
            causal,
            queryOffset: offset ?? keys - queries,
          });
          const options = {
            causal,
            mask: mask === "none" ? undefined : m.tensor,
            ...(offset === undefined ? {} : { queryOffset: offset }),
            ...(scale === undefined ? {} : { scale }),
          };
          return { run: () => scaledDotProductAttention(q.tensor, k.tensor, v.tensor, options), expected, tolerance: 10 };
        },
        60,
      );
    });

    it.each(["half", "interleaved"] as const)("rotaryEmbedding, %s pairs", async (layout) => {
      const drawn = fc.record({
        batch: fc.constantFrom(1, 2),
        sequence: fc.constantFrom(1, 2, 5, 0),
        heads: fc.constantFrom(1, 3),
        half: fc.constantFrom(1, 2, 4),
        rest: fc.constantFrom(0, 1, 3),
        offset: fc.nat(3),
        given: fc.boolean(),
        view: layouts,
      });
      await checkProperty(
        device,
        drawn,
        (input, { batch, sequence, heads, half, rest, offset, given, view }) => {
          const x = input("float32", [batch, sequence, heads, 2 * half + rest], { layout: view });
          const angle = (position: number, pair: number): number => position * 10 ** (-pair / half);
          const table =
            (f: (x: number) => number) =>
            (i: number): number =>
              Math.fround(f(angle(Math.floor(i / half), i % half)));
          const cosine = input("float32", [9, half], { layout: strided, value: table(Math.cos) });
          const sine = input("float32", [9, half], { layout: strided, value: table(Math.sin) });
          const positions = input("int32", [sequence], { layout: strided, value: (i) => (i * 4 + 2) % 9 });
          const expected = build(x.host.shape, (index, place) => {
            const feature = index[3]!;
            if (feature >= 2 * half) return x.host.values[place]!;
            const second = layout === "half" ? feature >= half : feature % 2 === 1;
            const pair = layout === "half" ? feature % half : feature >> 1;
            const other = layout === "half" ? (feature + half) % (2 * half) : feature ^ 1;
            const position = given ? positions.host.values[index[1]!]! : offset + index[1]!;
            const [c, s] = [at(cosine.host, [position, pair]), at(sine.host, [position, pair])];
            return x.host.values[place]! * c + at(x.host, index.with(3, other)) * (second ? s : -s);
          });
          return {
            run: () =>
              rotaryEmbedding(x.tensor, cosine.tensor, sine.tensor, {
                layout,
                ...(given ? { positions: positions.tensor } : { positionOffset: offset }),
              }),
            expected,
            tolerance: 5,
          };
        },
        40,
      );
    });

    it("swiglu", async () => {
      await checkProperty(
        device,
        fc.record({ shape: shapes(), layouts: fc.tuple(layouts, layouts) }),
        (input, { shape, layouts: [layoutA, layoutB] }) => {
          const gate = input("float32", shape, { layout: layoutA });
          const up = input("float32", shape, { layout: layoutB });
          return {
            run: () => swiglu(gate.tensor, up.tensor),
            expected: zip((g, u) => g * sigmoidHost(g) * u, gate.host, up.host),
            tolerance: 3,
          };
        },
      );
    });
  });

  describe("sequences", () => {
    it("causalConv1d", async () => {
      const drawn = fc.record({
        batch: fc.constantFrom(1, 2),
        sequence: fc.constantFrom(0, 1, 2, 5, 9),
        channels: fc.constantFrom(1, 3, 4, 9),
        width: fc.constantFrom(1, 2, 3, 4),
        bias: fc.boolean(),
        state: fc.boolean(),
        silu: fc.boolean(),
        layout: layouts,
      });
      await checkProperty(
        device,
        drawn,
        (input, { batch, sequence, channels, width, bias, state, silu, layout }) => {
          const x = input("float32", [batch, sequence, channels], { layout });
          const weight = input("float32", [channels, width], { layout: strided });
          const offset = input("float32", [channels], { layout: strided });
          const before = input("float32", [batch, width - 1, channels], { layout: strided });
          const expected = build(x.host.shape, ([b, t, c]) => {
            let sum = bias ? offset.host.values[c!]! : 0;
            for (let j = 0; j < width; j++) {
              const time = t! - width + 1 + j;
              const seen =
                time >= 0
                  ? at(x.host, [b!, time, c!])
                  : state
                    ? before.host.values[(b! * (width - 1) + time + width - 1) * channels + c!]!
                    : 0;
              sum += at(weight.host, [c!, j]) * seen;
            }
            return silu ? sum * sigmoidHost(sum) : sum;
          });
          return {
            run: () =>
              causalConv1d(x.tensor, weight.tensor, {
                bias: bias ? offset.tensor : undefined,
                initialState: state ? before.tensor : undefined,
                silu,
              }),
            expected,
            tolerance: 5,
          };
        },
        50,
      );
    });

    it("selectiveScan", async () => {
      const drawn = fc.record({
        batch: fc.constantFrom(1, 2),
        sequence: fc.constantFrom(1, 2, 5, 9),
        channels: fc.constantFrom(1, 3, 8, 9),
        stateSize: fc.constantFrom(1, 4, 5, 16),
        skip: fc.boolean(),
        state: fc.boolean(),
        softplus: fc.boolean(),
        layout: layouts,
      });
      await checkProperty(
        device,
        drawn,
        (input, { batch, sequence, channels, stateSize, skip, state, softplus, layout }) => {
          const x = input("float32", [batch, sequence, channels], { layout });
          const delta = input("float32", [batch, sequence, channels], { layout, value: between(0.05, 0.9)(3) });
          const a = input("float32", [channels, stateSize], { layout: strided, value: between(-2, -0.1)(4) });
          const b = input("float32", [batch, sequence, stateSize], { layout: strided });
          const c = input("float32", [batch, sequence, stateSize], { layout: strided });
          const d = input("float32", [channels], { layout: strided });
          const start = input("float32", [batch, channels, stateSize], { layout: strided });
          const final: number[] = [];
          const output = new Array<number>(batch * sequence * channels);
          for (let i = 0; i < batch; i++)
            for (let channel = 0; channel < channels; channel++) {
              const h = Array.from({ length: stateSize }, (_, n) => (state ? at(start.host, [i, channel, n]) : 0));
              for (let t = 0; t < sequence; t++) {
                const raw = at(delta.host, [i, t, channel]);
                const step = softplus ? Math.log1p(Math.exp(raw)) : raw;
                const seen = at(x.host, [i, t, channel]);
                let y = skip ? d.host.values[channel]! * seen : 0;
                for (let n = 0; n < stateSize; n++) {
                  h[n] = Math.exp(step * at(a.host, [channel, n])) * h[n]! + step * at(b.host, [i, t, n]) * seen;
                  y += at(c.host, [i, t, n]) * h[n]!;
                }
                output[(i * sequence + t) * channels + channel] = y;
              }
              final.push(...h);
            }
          return {
            run: () =>
              Object.values(
                selectiveScan({
                  input: x.tensor,
                  delta: delta.tensor,
                  stateMatrix: a.tensor,
                  inputMatrix: b.tensor,
                  outputMatrix: c.tensor,
                  skip: skip ? d.tensor : undefined,
                  initialState: state ? start.tensor : undefined,
                  deltaSoftplus: softplus,
                }),
              ),
            expected: [
              { shape: x.host.shape, values: output },
              { shape: [batch, channels, stateSize], values: final },
            ],
            dtype: ["float32", "float32"],
            tolerance: 20,
          };
        },
        40,
      );
    });
  });
}
