/** Functions of tensors, one or more an operation, whose gradients are compared with finite differences and between devices. */
import type { Activation, DeviceName } from "../backend/backend.ts";
import { rotaryEmbedding, scaledDotProductAttention, swiglu } from "../ops/attention.ts";
import * as binary from "../ops/binary.ts";
import { greater, where } from "../ops/compare.ts";
import { tensor } from "../ops/creation.ts";
import { einsum } from "../ops/einsum.ts";
import * as fourier from "../ops/fourier.ts";
import * as indexing from "../ops/indexing.ts";
import * as join from "../ops/join.ts";
import { crossEntropy, meanSquaredError } from "../ops/loss.ts";
import { cast, clone, contiguous } from "../ops/materialize.ts";
import { dot, linear, matmul, outer } from "../ops/matmul.ts";
import { layerNorm, logSoftmax, rmsNorm, softmax } from "../ops/normalization.ts";
import * as reduce from "../ops/reduce.ts";
import { causalConv1d, selectiveScan } from "../ops/sequence.ts";
import { tril, triu } from "../ops/triangle.ts";
import * as unary from "../ops/unary.ts";
import * as views from "../ops/views.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { normals, uniforms, type Filler } from "../validation/values.ts";

/** A differentiable input. */
export interface GradientInput {
  readonly shape: readonly number[];
  readonly value: Filler;
}

export interface GradientCase {
  readonly name: string;
  readonly inputs: readonly GradientInput[];
  run(inputs: readonly Tensor[], device: DeviceName): Tensor | readonly Tensor[];
}

let seeds = 100;

function normal(...shape: number[]): GradientInput {
  return { shape, value: normals(seeds++, 0, 0.8) };
}

function range(low: number, high: number, ...shape: number[]): GradientInput {
  return { shape, value: uniforms(seeds++, low, high) };
}

/** Values a tenth apart in a shuffled order: no ties within a step, for extremes and sorting. */
function distinct(...shape: number[]): GradientInput {
  return { shape, value: (i) => (((i * 7 + 3) % 61) - 30) / 10 };
}

function ids(device: DeviceName, values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
  return tensor(Int32Array.from(values), shape, { device }) as Tensor;
}

const complex = (real: Tensor, imaginary: Tensor): fourier.ComplexTensor => ({ real, imaginary });
const parts = ({ real, imaginary }: fourier.ComplexTensor): Tensor[] => [real, imaginary];

const cases: GradientCase[] = [];

function add(
  name: string,
  inputs: readonly GradientInput[],
  run: (inputs: readonly Tensor[], device: DeviceName) => Tensor | readonly Tensor[],
): void {
  cases.push({ name, inputs, run });
}

type Input = readonly Tensor[];

// — triangles —
add("tril and triu", [normal(2, 3, 4)], ([x]) => [tril(x!), triu(x!, 1)]);

// — running products —
add("cumprod", [normal(3, 5)], ([x]) => reduce.cumprod(x!, 1));
add("cumprod along the first axis", [normal(4, 3)], ([x]) => reduce.cumprod(x!, 0));
add("cumprod with zeros", [{ shape: [6], value: (i) => [2, 0, 3, 0, 1.5, -1][i]! }], ([x]) => reduce.cumprod(x!));
add("linear without outputs", [normal(2, 3), normal(0, 3)], ([x, w]) => linear(x!, w!));

// — element-wise —
const domains: Record<string, readonly [number, number]> = {
  log: [0.2, 3],
  log1p: [-0.5, 3],
  sqrt: [0.2, 3],
  rsqrt: [0.3, 3],
  reciprocal: [0.3, 3],
  tan: [-1, 1],
  absolute: [0.1, 3],
  relu: [0.1, 3],
  sign: [0.1, 3],
  floor: [0.1, 0.9],
  ceil: [0.1, 0.9],
  round: [0.6, 1.4],
  trunc: [0.1, 0.9],
};
const unaries = { ...unary };
for (const name of [
  "negative",
  "absolute",
  "sign",
  "exp",
  "expm1",
  "log",
  "log1p",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "square",
  "sin",
  "cos",
  "tan",
  "tanh",
  "erf",
  "sigmoid",
  "relu",
  "silu",
  "gelu",
  "geluTanh",
  "softplus",
  "floor",
  "ceil",
  "round",
  "trunc",
] as const) {
  const [low, high] = domains[name] ?? [-2, 2];
  add(name, [range(low, high, 3, 4)], ([x]: Input) => unaries[name](views.transpose(x!)));
  if (name === "relu" || name === "absolute" || name === "sign")
    add(`${name} of negatives`, [range(-3, -0.1, 5)], ([x]: Input) => unaries[name](x!));
}

const binaries = { ...binary };
const smooth = {
  add: [-2, 2],
  subtract: [-2, 2],
  multiply: [-2, 2],
  divide: [0.5, 2],
  power: [0.5, 2],
  atan2: [0.3, 2],
  maximum: [-2, 2],
  minimum: [-2, 2],
} as const;
for (const [name, [low, high]] of Object.entries(smooth) as [keyof typeof smooth, readonly [number, number]][]) {
  const operation = binaries[name];
  add(`${name}, same shape`, [range(low, high, 2, 3), range(low, high, 2, 3)], ([a, b]: Input) => operation(a!, b!));
  add(`${name}, both broadcast`, [range(low, high, 3, 1), range(low, high, 2, 1, 4)], ([a, b]: Input) => operation(a!, b!));
  add(`${name}, strided`, [range(low, high, 3, 4), range(low, high, 4, 3)], ([a, b]: Input) =>
    operation(views.transpose(a!), views.slice(b!, null, [0, null, 1])),
  );
  add(`${name} with a number`, [range(low, high, 5)], ([a]: Input) => [operation(a!, 1.3), operation(0.7, a!)]);
  add(`${name} with itself`, [range(low, high, 5)], ([a]: Input) => operation(a!, a!));
}
add("remainder", [range(0.1, 0.9, 4), range(1.1, 1.9, 4)], ([a, b]: Input) => [
  binary.remainder(binary.add(a!, 5), b!),
  binary.remainder(a!, 1.5),
  binary.remainder(7, b!),
]);
add("power with whole exponents", [{ shape: [4], value: (i) => [-1.5, -0.5, 0.7, 2][i]! }], ([a]: Input) => [
  binary.power(a!, 2),
  binary.power(a!, 3),
  binary.power(a!, 1),
  binary.power(a!, 0),
  binary.power(a!, -1),
]);
add("clamp", [distinct(12)], ([a]: Input) => binary.clamp(a!, -1.05, 1.05));
add("where", [normal(3, 1), normal(4), normal(3, 4)], ([a, b, c]: Input) => where(greater(c!, 0), a!, b!));
add("where with numbers", [normal(6)], ([a]: Input) => [where(greater(a!, 0), a!, 2), where(greater(a!, 0), 1, binary.multiply(a!, 3))]);

// — reductions —
const reductions = { ...reduce };
for (const name of ["sum", "mean", "product", "max", "min", "norm", "logSumExp", "variance", "standardDeviation"] as const) {
  const values = name === "product" ? range(0.5, 1.5, 2, 3, 4) : distinct(2, 3, 4);
  const axes = [undefined, 0, -1, [0, 2], [1], []] as const;
  for (const axis of axes) {
    if (axis !== undefined && typeof axis === "object" && axis.length === 0 && name === "standardDeviation") continue;
    add(`${name} over ${JSON.stringify(axis ?? "all")}`, [values], ([x]: Input) => [
      reductions[name](x!, axis),
      reductions[name](views.permute(x!), axis, { keepdims: true }),
    ]);
  }
}
add("product with a zero", [{ shape: [2, 3], value: (i) => (i === 1 ? 0 : i + 0.5) }], ([x]: Input) => [
  reduce.product(x!, 1),
  reduce.product(x!),
]);
add("variance with correction", [normal(4, 3)], ([x]: Input) => [
  reduce.variance(x!, 0, { correction: 1 }),
  reduce.standardDeviation(x!, 1, { correction: 1 }),
]);
add("cumsum", [normal(3, 4)], ([x]: Input) => [reduce.cumsum(x!), reduce.cumsum(x!, 0, { reverse: true })]);

// — views, copies and joins —
const viewsOf: Record<string, (x: Tensor) => Tensor | readonly Tensor[]> = {
  "clone, contiguous and cast": (x) => [clone(x), contiguous(views.transpose(x)), cast(cast(x, "float16"), "float32")],
  reshape: (x) => [views.reshape(x, [3, 2, 4]), views.flatten(views.transpose(x)), views.reshape(x, x.shape)],
  permute: (x) => [views.permute(views.reshape(x, [2, 3, 4]), [2, 0, 1]), views.transpose(x)],
  "expandDims and squeeze": (x) => [views.expandDims(x, 1), views.squeeze(views.expandDims(x, -1))],
  broadcastTo: (x) => [views.broadcastTo(x, [3, 6, 4]), views.broadcastTo(views.expandDims(x, 1), [6, 2, 4])],
  slice: (x) => [views.slice(x, 1), views.slice(x, [1, 5, 2], -1), views.slice(x, null, [0, null, 3]), views.slice(x, [4, 2])],
  split: (x) => [...views.split(x, [1, 3, 2]), ...views.split(x, 2, 1)],
  diagonal: (x) => [views.diagonal(x), views.diagonal(views.reshape(x, [2, 3, 4]))],
  pad: (x) =>
    join.pad(
      x,
      [
        [1, 0],
        [2, 1],
      ],
      3,
    ),
  "tile and repeat": (x) => [join.tile(x, [2, 3]), join.repeat(x, 2, 1)],
  unstack: (x) => join.unstack(x, 1),
  "concatenate with itself": (x) => join.concatenate([x, views.slice(x, [0, 2]), x], 0),
  flip: (x) => indexing.flip(x, 0),
  "one element, many uses": (x) => [binary.multiply(views.slice(x, 0), views.slice(x, 1)), views.slice(x, 0), views.transpose(x)],
};
for (const [name, run] of Object.entries(viewsOf)) add(name, [normal(6, 4)], ([x]: Input) => run(x!));
add("concatenate and stack", [normal(2, 3), normal(2, 2), normal(2, 3)], ([a, b, c]: Input) => [
  join.concatenate([a!, b!, c!], -1),
  join.stack([a!, c!], 1),
]);

// — indexing —
add("take", [normal(5, 3)], ([x]: Input, device) => [
  indexing.take(x!, ids(device, [4, 0, 4, 2, -1], [5])),
  indexing.take(x!, ids(device, [1, 1, 0, 2], [2, 2]), 1),
]);
add("embedding", [normal(5, 3)], ([x]: Input, device) => indexing.embedding(x!, ids(device, [0, 3, 3, 1], [2, 2])));
add("scatterAdd", [normal(4, 3), normal(3, 3), normal(4, 2)], ([x, u, v]: Input, device) => [
  indexing.scatterAdd(x!, ids(device, [2, 0, 2]), u!),
  indexing.scatterAdd(x!, ids(device, [1, 1]), v!, 1),
]);
add("takeAlongAxis", [normal(3, 4)], ([x]: Input, device) => [
  indexing.takeAlongAxis(x!, ids(device, [0, 0, 3, 1, 2, 2], [3, 2])),
  indexing.takeAlongAxis(x!, ids(device, [2, 2, 0, 1], [1, 4]), 0),
]);
add("sort and topK", [distinct(3, 5)], ([x]: Input) => [
  indexing.sort(x!).values,
  indexing.sort(x!, { descending: true }).values,
  indexing.topK(x!, 2).values,
  indexing.topK(x!, 3, { largest: false }).values,
]);

// — products —
add("matmul", [normal(3, 4), normal(4, 2)], ([a, b]: Input) => matmul(a!, b!));
add("matmul, transposed operands", [normal(4, 3), normal(2, 4)], ([a, b]: Input) => matmul(views.transpose(a!), views.transpose(b!)));
add("matmul, batches", [normal(2, 3, 4), normal(2, 4, 2)], ([a, b]: Input) => matmul(a!, b!));
add("matmul, batches against one matrix", [normal(2, 3, 4), normal(4, 2)], ([a, b]: Input) => matmul(a!, b!));
add("matmul, one matrix against batches", [normal(3, 4), normal(2, 4, 2)], ([a, b]: Input) => matmul(a!, b!));
add("matmul, strided batches against one matrix", [normal(4, 3, 2), normal(4, 2)], ([a, b]: Input) => matmul(views.permute(a!), b!));
add("matmul, broadcast batches", [normal(2, 1, 3, 4), normal(3, 4, 2)], ([a, b]: Input) => matmul(a!, b!));
add("matmul, vectors", [normal(4), normal(4, 3), normal(2, 3, 4)], ([v, m, b]: Input) => [
  matmul(v!, m!),
  matmul(b!, v!),
  matmul(v!, v!),
  dot(v!, v!),
  outer(v!, v!),
]);
for (const activation of [undefined, "relu", "silu", "gelu", "geluTanh"] as (Activation | undefined)[]) {
  add(`linear, ${activation ?? "no activation"}`, [normal(2, 3, 4), normal(5, 4), normal(5)], ([x, w, b]: Input) =>
    linear(x!, w!, { bias: b!, activation }),
  );
  add(`linear, ${activation ?? "no activation"}, no bias`, [normal(3, 4), normal(5, 4)], ([x, w]: Input) => linear(x!, w!, { activation }));
}
add("linear, strided", [normal(4, 3), normal(4, 5), normal(10)], ([x, w, b]: Input) =>
  linear(views.transpose(x!), views.transpose(w!), { bias: views.slice(b!, [0, null, 2]) }),
);
add("einsum", [normal(2, 3, 4), normal(2, 4, 5), normal(3, 3)], ([a, b, c]: Input) => [
  einsum("bij,bjk->bik", a!, b!),
  einsum("bij,bjk->ki", a!, b!),
  einsum("ii->i", c!),
  einsum("ii", c!),
  einsum("bij,il,lm->bm", a!, c!, c!),
  einsum("bij->ji", a!),
]);

// — rows —
for (const axis of [-1, 0]) {
  add(`softmax and logSoftmax along ${axis}`, [normal(3, 4)], ([x]: Input) => [
    softmax(x!, axis, { scale: 0.7 }),
    logSoftmax(x!, axis, { scale: -1.2 }),
  ]);
}
add("softmax with a learnt mask", [normal(2, 3, 4), normal(3, 1)], ([x, m]: Input) => [
  softmax(x!, -1, { scale: 0.5, mask: m! }),
  logSoftmax(x!, -1, { mask: views.transpose(m!).reshape([3, 1]) }),
]);
add("rmsNorm", [normal(3, 4), normal(4)], ([x, w]: Input) => [
  rmsNorm(x!, { weight: w!, epsilon: 1e-2 }),
  rmsNorm(views.transpose(x!), { epsilon: 1e-2 }),
]);
add("layerNorm", [normal(3, 4), normal(4), normal(4)], ([x, w, b]: Input) => [
  layerNorm(x!, { weight: w!, bias: b!, epsilon: 1e-2 }),
  layerNorm(x!, { bias: b!, epsilon: 1e-2 }),
  layerNorm(x!, { weight: w!, epsilon: 1e-2 }),
  layerNorm(views.transpose(x!), { epsilon: 1e-2 }),
]);
for (const reduction of ["mean", "sum", "none"] as const) {
  add(`crossEntropy, ${reduction}`, [normal(2, 3, 5)], ([x]: Input, device) => {
    const targets = ids(device, [0, 4, -100, 2, 2, 1], [2, 3]);
    const others = ids(device, [2, 4, 1, 2, 0, 1], [2, 3]);
    return [crossEntropy(x!, targets, { reduction }), crossEntropy(x!, others, { reduction, labelSmoothing: 0.2, ignoreIndex: 2 })];
  });
  add(`meanSquaredError, ${reduction}`, [normal(3, 4), normal(4)], ([a, b]: Input) => meanSquaredError(a!, b!, { reduction }));
}
const attentionInputs = (): GradientInput[] => [normal(2, 4, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4)];
add("attention", attentionInputs(), ([q, k, v]: Input) => scaledDotProductAttention(q!, k!, v!));
add("attention, causal", attentionInputs(), ([q, k, v]: Input) => scaledDotProductAttention(q!, k!, v!, { causal: true, scale: 0.9 }));
add("attention, causal with an offset that hides keys", attentionInputs(), ([q, k, v]: Input) =>
  scaledDotProductAttention(q!, k!, v!, { causal: true, queryOffset: -1 }),
);
add("attention with a mask", attentionInputs(), ([q, k, v]: Input, device) => {
  const mask = tensor(
    [
      [0, -0.5, -Infinity, 0, 0.3],
      [0, 0, 0, -Infinity, 0],
      [0.1, 0, 0, 0, -Infinity],
    ],
    { device },
  ) as Tensor;
  return scaledDotProductAttention(q!, k!, v!, { mask, causal: true });
});
add("attention of heads split from rows", [normal(2, 3, 8), normal(2, 3, 8), normal(2, 3, 8)], (inputs: Input) => {
  const heads = inputs.map((x) => views.permute(views.reshape(x, [2, 3, 2, 4]), [0, 2, 1, 3])) as [Tensor, Tensor, Tensor];
  return views.reshape(views.permute(scaledDotProductAttention(...heads), [0, 2, 1, 3]), [2, 3, 8]);
});
for (const layout of ["half", "interleaved"] as const) {
  add(`rotaryEmbedding, ${layout}`, [normal(2, 3, 2, 6)], ([x]: Input, device) => {
    const angles = (f: (x: number) => number): Tensor =>
      tensor(
        Float32Array.from({ length: 10 }, (_, i) => f(i * 0.7)),
        [5, 2],
        { device },
      ) as Tensor;
    const [c, s] = [angles(Math.cos), angles(Math.sin)];
    return [
      rotaryEmbedding(x!, c, s, { layout, positionOffset: 2 }),
      rotaryEmbedding(views.permute(x!, [0, 2, 1, 3]), c, s, { layout, positions: ids(device, [4, 0]) }),
    ];
  });
}
add("swiglu", [normal(3, 4), normal(3, 4)], ([g, u]: Input) => [swiglu(g!, u!), swiglu(views.transpose(g!), views.transpose(u!))]);

// — sequences —
for (const silu of [false, true]) {
  add(`causalConv1d${silu ? " with SiLU" : ""}`, [normal(2, 5, 3), normal(3, 4), normal(3), normal(2, 3, 3)], ([x, w, b, s]: Input) => [
    causalConv1d(x!, w!, { bias: b!, initialState: s!, silu }),
    causalConv1d(x!, w!, { silu }),
  ]);
}
const scanInputs = (): GradientInput[] => [
  normal(2, 4, 3),
  range(0.1, 0.9, 2, 4, 3),
  range(-1.5, -0.2, 3, 5),
  normal(2, 4, 5),
  normal(2, 4, 5),
  normal(3),
  normal(2, 3, 5),
];
for (const deltaSoftplus of [false, true]) {
  add(
    `selectiveScan${deltaSoftplus ? " with softplus" : ""}`,
    scanInputs(),
    ([input, delta, stateMatrix, inputMatrix, outputMatrix, skip, initialState]: Input) => {
      const { output, finalState } = selectiveScan({
        input: input!,
        delta: delta!,
        stateMatrix: stateMatrix!,
        inputMatrix: inputMatrix!,
        outputMatrix: outputMatrix!,
        skip,
        initialState,
        deltaSoftplus,
      });
      return [output, finalState];
    },
  );
}
add(
  "selectiveScan, output only",
  scanInputs().slice(0, 5),
  ([input, delta, stateMatrix, inputMatrix, outputMatrix]: Input) =>
    selectiveScan({ input: input!, delta: delta!, stateMatrix: stateMatrix!, inputMatrix: inputMatrix!, outputMatrix: outputMatrix! })
      .output,
);
add(
  "selectiveScan, state only",
  scanInputs(),
  ([input, delta, stateMatrix, inputMatrix, outputMatrix, skip, initialState]: Input) =>
    selectiveScan({
      input: input!,
      delta: delta!,
      stateMatrix: stateMatrix!,
      inputMatrix: inputMatrix!,
      outputMatrix: outputMatrix!,
      skip,
      initialState,
    }).finalState,
);

// — Fourier transforms —
for (const length of [1, 4, 5, 7, 12]) {
  for (const norm of ["backward", "ortho", "forward"] as const) {
    if (norm !== "backward" && length !== 5 && length !== 4) continue;
    const bins = Math.floor(length / 2) + 1;
    add(`fft and ifft of ${length}, ${norm}`, [normal(2, length), normal(2, length)], ([re, im]: Input) => [
      ...parts(fourier.fft(complex(re!, im!), { norm })),
      ...parts(fourier.ifft(complex(re!, im!), { norm })),
    ]);
    add(`rfft of ${length}, ${norm}`, [normal(2, length, 3)], ([x]: Input) => parts(fourier.rfft(x!, { axis: 1, norm })));
    add(`irfft to ${length}, ${norm}`, [normal(2, bins, 3), normal(2, bins, 3)], ([re, im]: Input) =>
      fourier.irfft(complex(re!, im!), { axis: -2, norm, length }),
    );
  }
}
add("fft, real part only", [normal(3, 4)], ([x]: Input) => fourier.fft(complex(x!, x!), { axis: 0 }).real);
add("fft, imaginary part only", [normal(3, 4)], ([x]: Input) => fourier.fft(complex(x!, unary.square(x!))).imaginary);
add("rfft, one part at a time", [normal(3, 5)], ([x]: Input) => [unary.square(fourier.rfft(x!).real), fourier.rfft(x!).imaginary]);
add("two-dimensional transforms", [normal(2, 3, 4), normal(2, 3, 4)], ([re, im]: Input) => {
  const forward = fourier.fft2(complex(re!, im!));
  const spectrum = fourier.rfft2(re!, { norm: "ortho" });
  return [
    ...parts(forward),
    ...parts(fourier.ifft2(complex(re!, im!))),
    ...parts(spectrum),
    fourier.irfft2(complex(binary.multiply(spectrum.real, 2), spectrum.imaginary)),
    fourier.irfft2(complex(re!, im!), { length: 7 }),
  ];
});

// — a network: everything together, with one tensor used many times —
add(
  "transformer block",
  [
    normal(1, 3, 8),
    range(-0.4, 0.4, 24, 8),
    range(-0.4, 0.4, 8, 8),
    range(0.5, 1.5, 8),
    range(-0.4, 0.4, 6, 8),
    range(-0.4, 0.4, 6, 8),
    range(-0.4, 0.4, 8, 6),
  ],
  ([x, wqkv, wo, gain, wg, wu, wd]: Input, device) => {
    const normed = rmsNorm(x!, { weight: gain!, epsilon: 1e-2 });
    const [q, k, v] = views
      .split(linear(normed, wqkv!), 3, 2)
      .map((part) => views.permute(views.reshape(part, [1, 3, 2, 4]), [0, 2, 1, 3])) as [Tensor, Tensor, Tensor];
    const mixed = views.reshape(views.permute(scaledDotProductAttention(q, k, v, { causal: true }), [0, 2, 1, 3]), [1, 3, 8]);
    const hidden = binary.add(x!, linear(mixed, wo!));
    const again = rmsNorm(hidden, { weight: gain!, epsilon: 1e-2 });
    const output = binary.add(hidden, linear(swiglu(linear(again, wg!), linear(again, wu!)), wd!));
    return crossEntropy(output, ids(device, [1, 7, 0], [1, 3]));
  },
);

/** All cases. */
export const gradientCases: readonly GradientCase[] = cases;

/** Weights of the outputs: what makes a scalar of them. */
export function outputWeights(output: number): Filler {
  return normals(9000 + output);
}
