import { describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import { DeviceError, DisposedError, DtypeError, GradientError, IndexError, ShapeError } from "../errors.ts";
import { checkpoint } from "../autograd/checkpoint.ts";
import { grad, valueAndGrad, vjp } from "../autograd/gradients.ts";
import { RmsNorm } from "../nn/layers.ts";
import { einsum } from "../ops/einsum.ts";
import { crossEntropy } from "../ops/loss.ts";
import { clone } from "../ops/materialize.ts";
import { dot, linear, matmul, outer } from "../ops/matmul.ts";
import { layerNorm, rmsNorm, softmax } from "../ops/normalization.ts";
import { quantize } from "../ops/quantize.ts";
import { item } from "../ops/reading.ts";
import { causalConv1d, selectiveScan } from "../ops/sequence.ts";
import { tril, triu } from "../ops/triangle.ts";
import { exp } from "../ops/unary.ts";
import { QuantizedTensor } from "../tensor/quantized.ts";
import { dispose, scope } from "../tensor/scope.ts";
import type { Dtype } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { expectNoLeaks } from "./op-suite-check.ts";
import * as attention from "../ops/attention.ts";
import * as binary from "../ops/binary.ts";
import * as compare from "../ops/compare.ts";
import * as creation from "../ops/creation.ts";
import * as fourier from "../ops/fourier.ts";
import * as indexing from "../ops/indexing.ts";
import * as join from "../ops/join.ts";
import * as reduce from "../ops/reduce.ts";
import * as views from "../ops/views.ts";

/** The errors of every operation. */
export function errorsSuite(device: DeviceName): void {
  const of = (data: creation.TensorData, dtype?: Dtype): Tensor => creation.tensor(data, { device, ...(dtype ? { dtype } : {}) }) as Tensor;
  const zeros = (...shape: number[]): Tensor => creation.zeros(shape, { device }) as Tensor;

  describe(`errors on "${device}"`, () => {
    type Case = readonly [error: new (message: string) => Error, message: string, run: () => unknown];
    const cases: Record<string, Case> = {
      "a freed tensor": [
        DisposedError,
        "tensor [2, 3] float32 was freed",
        () => {
          const x = zeros(2, 3);
          x.dispose();
          return exp(x);
        },
      ],
      "an unknown dtype": [
        DtypeError,
        'unknown dtype "float64"; use one of float32',
        () => creation.zeros([2], { device, dtype: "float64" as Dtype }),
      ],
      "an unknown dtype of data": [DtypeError, 'unknown dtype "toString"', () => of([1, 2], "toString" as Dtype)],
      "a cast to an unknown dtype": [DtypeError, "unknown dtype undefined", () => zeros(2).cast(undefined as unknown as Dtype)],
      "an array for a tensor": [
        TypeError,
        "add: expected a tensor, got an array; make one with tensor()",
        () => binary.add(zeros(2), [1, 2] as unknown as Tensor),
      ],
      "the largest of nothing": [ShapeError, "max: axis 1 of [2, 0] is empty", () => reduce.max(zeros(2, 0), 1)],
      "the gradient for integers": [
        GradientError,
        "grad: input [2] is int32",
        () => grad((x: Tensor) => reduce.sum(x))(of([1, 2], "int32")),
      ],
      "the gradient for a module": [
        GradientError,
        "valueAndGrad: takes a tensor, or arrays and plain objects of tensors, got RmsNorm; for a module give its parameters()",
        () => {
          using norm = RmsNorm.create(2, { device });
          const x = zeros(2);
          return valueAndGrad(() => norm.forward(x).sum())(norm as unknown as Tensor);
        },
      ],
      "a view of a freed tensor": [
        DisposedError,
        "was freed",
        () => {
          const x = zeros(2, 3);
          x.dispose();
          return views.transpose(x);
        },
      ],
      "a freed operand": [
        DisposedError,
        "was freed",
        () => {
          const x = zeros(2, 3);
          x.dispose();
          return binary.add(zeros(2, 3), x);
        },
      ],
      "ragged data": [ShapeError, "tensor: the nested arrays are ragged; expected 2 entries at depth 1", () => of([[1, 2], [3]])],
      "data too deep": [DtypeError, "an array (ragged nesting)", () => of([1, [2]] as never)],
      "strings in data": [DtypeError, "tensor: expected a number at depth 1, got string", () => of(["a"] as never)],
      "numbers among booleans": [DtypeError, "mixes numbers and booleans", () => of([true, 5] as never)],
      "data that does not fill": [
        ShapeError,
        "tensor: 3 values do not fill shape [2, 2] of 4",
        () => creation.tensor(new Float32Array(3), [2, 2], { device }),
      ],
      "an array of doubles": [DtypeError, "tensor: Float64Array is not supported", () => of(new Float64Array(2) as never)],
      "a negative length": [
        ShapeError,
        "shape [2, -1] has a length that is no non-negative integer: -1",
        () => creation.zeros([2, -1], { device }),
      ],
      "a fractional length": [ShapeError, "1.5", () => creation.full([1.5], 0, { device })],
      "a shape without end": [ShapeError, "too many elements", () => creation.zeros([2 ** 40, 2 ** 40], { device })],
      "an unknown device": [
        DeviceError,
        'device "tpu" is not available; use one of',
        () => creation.zeros([1], { device: "tpu" as never }),
      ],
      "arange without end": [
        ShapeError,
        "arange: from 0 to Infinity by 1 has no finite length",
        () => creation.arange(0, Infinity, 1, { device }),
      ],
      "arange without step": [ShapeError, "arange: from 0 to 3 by 0", () => creation.arange(0, 3, 0, { device })],
      "arange of bytes": [DtypeError, "arange: dtype uint8", () => creation.arange(3, undefined, 1, { dtype: "uint8", device })],
      "operands that do not broadcast": [
        ShapeError,
        "add: shapes [2, 3] and [2, 4] do not broadcast (3 against 4)",
        () => binary.add(zeros(2, 3), zeros(2, 4)),
      ],
      "operands of other dtypes that do not broadcast": [
        ShapeError,
        "multiply: shapes [2] and [3] do not broadcast",
        () => binary.multiply(of([1, 2], "int32"), zeros(3)),
      ],
      "two numbers": [TypeError, "add: two numbers", () => binary.add(1, 2 as never)],
      "comparing what does not broadcast": [ShapeError, "less: shapes [2] and [3]", () => compare.less(zeros(2), zeros(3))],
      "comparing two numbers": [TypeError, "equal: two numbers", () => compare.equal(1, 2)],
      "a condition of numbers": [
        DtypeError,
        "where: dtype float32 is not supported here, it takes bool",
        () => compare.where(zeros(2), 1, 2),
      ],
      "branches that do not broadcast": [ShapeError, "where: shapes [2] and [3]", () => compare.where(of([true, false]), zeros(3), 1)],
      "an axis outside": [IndexError, "sum: axis 2 is outside a tensor of rank 2; use -2 to 1", () => reduce.sum(zeros(2, 3), 2)],
      "an axis named twice": [IndexError, "mean: axis 1 is named twice", () => reduce.mean(zeros(2, 3), [1, -1])],
      "a fractional axis": [IndexError, "max: axis 0.5", () => reduce.max(zeros(2, 3), 0.5)],
      "the place of the smallest of nothing": [ShapeError, "argmin: axis 0 of [0, 3] is empty", () => reduce.argmin(zeros(0, 3))],
      "a cumulative axis outside": [IndexError, "cumsum: axis 3", () => reduce.cumsum(zeros(2), 3)],
      "a shape of another size": [
        ShapeError,
        "reshape: [2, 3] with 6 elements cannot become [4, 2]",
        () => views.reshape(zeros(2, 3), [4, 2]),
      ],
      "two open lengths": [
        ShapeError,
        "reshape: [2, 3] with 6 elements cannot become [-1, -1]",
        () => views.reshape(zeros(2, 3), [-1, -1]),
      ],
      "an open length that does not divide": [ShapeError, "cannot become [4, -1]", () => views.reshape(zeros(2, 3), [4, -1])],
      "no permutation": [
        IndexError,
        "permute: [0, 0] is not a permutation of the 2 axes of [2, 3]",
        () => views.permute(zeros(2, 3), [0, 0]),
      ],
      "transposing a vector": [IndexError, "transpose: axis -2 is outside a tensor of rank 1", () => views.transpose(zeros(3))],
      "squeezing a long axis": [ShapeError, "squeeze: axis 1 of [1, 3] has length 3, not 1", () => views.squeeze(zeros(1, 3), 1)],
      "expanding too far": [IndexError, "expandDims: axis 4", () => views.expandDims(zeros(1, 3), 4)],
      "broadcasting a long axis": [
        ShapeError,
        "broadcastTo: [2, 3] does not broadcast to [4, 3]",
        () => views.broadcastTo(zeros(2, 3), [4, 3]),
      ],
      "broadcasting to fewer axes": [
        ShapeError,
        "broadcastTo: [2, 3] does not broadcast to [3]",
        () => views.broadcastTo(zeros(2, 3), [3]),
      ],
      "too many indices": [IndexError, "slice: 3 indices for a tensor of rank 2, [2, 3]", () => views.slice(zeros(2, 3), 0, 0, 0)],
      "an index outside": [IndexError, "slice: index 3 is outside axis 1 of length 3 in [2, 3]", () => views.slice(zeros(2, 3), 0, 3)],
      "a step back": [
        IndexError,
        "slice: step -1 on axis 0; steps are positive integers, use flip() to reverse",
        () => views.slice(zeros(2, 3), [null, null, -1]),
      ],
      "a fractional bound": [IndexError, "slice: bound 0.5 on axis 0 is no integer", () => views.slice(zeros(2, 3), [0.5])],
      "a bound that is no number": [IndexError, "slice: bound NaN", () => views.slice(zeros(2, 3), [0, NaN])],
      "assigning too much": [
        ShapeError,
        "assign: [3] does not broadcast to the indexed part [2]",
        () => views.assign(zeros(4), zeros(3), [1, 3]),
      ],
      "assigning to a broadcast view": [
        ShapeError,
        "is a broadcast view whose elements share memory",
        () => views.assign(views.broadcastTo(zeros(1), [3]), zeros(3)),
      ],
      "splitting unevenly": [ShapeError, "split: axis 0 of [5] cannot be cut into 2", () => views.split(zeros(5), 2)],
      "splitting into lengths that do not add up": [
        ShapeError,
        "split: axis 0 of [5] cannot be cut into [2, 2]",
        () => views.split(zeros(5), [2, 2]),
      ],
      "splitting into nothing": [ShapeError, "cannot be cut into 0", () => views.split(zeros(5), 0)],
      "the diagonal of a vector": [ShapeError, "diagonal: needs two axes, got [3]", () => views.diagonal(zeros(3))],
      "joining nothing": [ShapeError, "concatenate: give at least one tensor", () => join.concatenate([])],
      "joining other shapes": [
        ShapeError,
        "concatenate: [2, 3] and [2, 4] differ outside axis 0",
        () => join.concatenate([zeros(2, 3), zeros(2, 4)]),
      ],
      "stacking nothing": [ShapeError, "stack: give at least one tensor", () => join.stack([])],
      "stacking other shapes": [ShapeError, "stack: [2] and [3] differ", () => join.stack([zeros(2), zeros(3)])],
      "padding too few axes": [
        ShapeError,
        "pad: give [before, after] >= 0 for each of the 2 axes of [2, 3], got [[1,1]]",
        () => join.pad(zeros(2, 3), [[1, 1]]),
      ],
      "negative padding": [ShapeError, "pad:", () => join.pad(zeros(2), [[-1, 0]])],
      "tiling too few axes": [ShapeError, "tile: give one count", () => join.tile(zeros(2, 3), [2])],
      "repeating half a time": [ShapeError, "repeat: count 0.5", () => join.repeat(zeros(2), 0.5)],
      "fractional indices": [DtypeError, "take: indices are float32; they have to be integers", () => indexing.take(zeros(2), zeros(2))],
      "a table that is no matrix": [
        ShapeError,
        "embedding: the table has two axes [count, features], got [2]",
        () => indexing.embedding(zeros(2), of([0], "int32")),
      ],
      "updates that do not fit": [
        ShapeError,
        "scatterAdd: indices [2] and updates [3] do not fit [4]; updates need [2]",
        () => indexing.scatterAdd(zeros(4), of([0, 1], "int32"), zeros(3)),
      ],
      "scattering into bytes": [
        DtypeError,
        "scatterAdd: dtype uint8",
        () => indexing.scatterAdd(of([1], "uint8"), of([0], "int32"), of([1], "uint8")),
      ],
      "indices of another shape": [
        ShapeError,
        "takeAlongAxis: indices [3, 1] differ from [2, 3] outside axis 1",
        () => indexing.takeAlongAxis(zeros(2, 3), of([[0], [0], [0]], "int32")),
      ],
      "classes below none": [ShapeError, "oneHot: shape [-1]", () => indexing.oneHot(of([0], "int32"), -1)],
      "sorting a scalar": [ShapeError, "sort: a scalar has no axis to sort along", () => indexing.sort(of(1))],
      "more than there are": [IndexError, "topK: k = 4 for the last axis of [2, 3]; use 0 to 3", () => indexing.topK(zeros(2, 3), 4)],
      "matrices that do not fit": [ShapeError, "matmul: inner dimensions differ, [4, 8] × [7, 3]", () => matmul(zeros(4, 8), zeros(7, 3))],
      "a vector that does not fit": [ShapeError, "matmul: inner dimensions differ, [3] × [4]", () => matmul(zeros(3), zeros(4))],
      "a column that does not fit": [ShapeError, "matmul: inner dimensions differ, [2, 3] × [4]", () => matmul(zeros(2, 3), zeros(4))],
      "batches that do not broadcast": [
        ShapeError,
        "matmul: shapes [2] and [3] do not broadcast",
        () => matmul(zeros(2, 4, 5), zeros(3, 5, 4)),
      ],
      "multiplying scalars": [ShapeError, "matmul: scalars have no axes to multiply over, [] × [2]", () => matmul(of(1), zeros(2))],
      "the dot of matrices": [ShapeError, "dot: takes two vectors, got [2, 2] and [2]", () => dot(zeros(2, 2), zeros(2))],
      "the outer product of matrices": [ShapeError, "outer: takes two vectors", () => outer(zeros(2, 2), zeros(2))],
      "weights that do not fit": [
        ShapeError,
        "linear: input [2, 3] does not fit weight [5, 4] [outputs, inputs]",
        () => linear(zeros(2, 3), zeros(5, 4)),
      ],
      "a bias that does not fit": [
        ShapeError,
        "linear: bias [4] does not fit weight [5, 3]; it needs [5]",
        () => linear(zeros(2, 3), zeros(5, 3), { bias: zeros(4) }),
      ],
      "integer weights": [DtypeError, "linear: weight dtype int32", () => linear(zeros(2, 1), of([[1]], "int32"))],
      "a misspelt equation": [ShapeError, 'einsum: cannot read "ij->j->k"', () => einsum("ij->j->k", zeros(1, 1))],
      "too few operands": [ShapeError, 'einsum: "ij,jk->ik" names 2 operands, 1 were given', () => einsum("ij,jk->ik", zeros(1, 1))],
      "labels that do not fit": [ShapeError, 'einsum: "ij" names 2 axes, operand 0 is [3]', () => einsum("ij->i", zeros(3))],
      "labels of two lengths": [
        ShapeError,
        'einsum: axis "j" of "ij,jk->ik" is 3 in one operand and 4 in operand 1',
        () => einsum("ij,jk->ik", zeros(2, 3), zeros(4, 5)),
      ],
      "an output from nowhere": [ShapeError, 'einsum: output axis "z"', () => einsum("ij->z", zeros(2, 3))],
      "an output named twice": [ShapeError, 'einsum: output axis "i" of "ij->ii" is named twice', () => einsum("ij->ii", zeros(2, 3))],
      "a mask that is too large": [
        ShapeError,
        "softmax: mask [3, 4] does not broadcast to the input [4]",
        () => softmax(zeros(4), -1, { mask: zeros(3, 4) }),
      ],
      "a mask along another axis": [ShapeError, "softmax: a mask needs the last axis", () => softmax(zeros(3, 4), 0, { mask: zeros(4) })],
      "a norm weight that does not fit": [
        ShapeError,
        "rmsNorm: parameter [3] does not fit the 4 features of [2, 4]",
        () => rmsNorm(zeros(2, 4), { weight: zeros(3) }),
      ],
      "a norm bias that does not fit": [
        ShapeError,
        "layerNorm: parameter [3] does not fit",
        () => layerNorm(zeros(2, 4), { bias: zeros(3) }),
      ],
      "the norm of a scalar": [ShapeError, "layerNorm: a scalar has no features", () => layerNorm(of(1))],
      "targets of another shape": [
        ShapeError,
        "crossEntropy: targets [3] do not fit logits [2, 5] [..., classes]",
        () => crossEntropy(zeros(2, 5), of([0, 1, 2], "int32")),
      ],
      "fractional targets": [
        DtypeError,
        "crossEntropy: targets are float32; they have to be integers",
        () => crossEntropy(zeros(2, 5), zeros(2)),
      ],
      "attention of three axes": [
        ShapeError,
        "scaledDotProductAttention: expected [batch, heads, length, headDim]",
        () => attention.scaledDotProductAttention(zeros(2, 3, 4), zeros(2, 3, 4), zeros(2, 3, 4)),
      ],
      "heads that do not divide": [
        ShapeError,
        "key heads divide heads, got query [1, 3, 2, 4], key [1, 2, 2, 4]",
        () => attention.scaledDotProductAttention(zeros(1, 3, 2, 4), zeros(1, 2, 2, 4), zeros(1, 2, 2, 4)),
      ],
      "an attention mask that does not fit": [
        ShapeError,
        "mask [3, 1, 2, 2] does not broadcast to the scores [1, 1, 2, 2]",
        () => attention.scaledDotProductAttention(zeros(1, 1, 2, 4), zeros(1, 1, 2, 4), zeros(1, 1, 2, 4), { mask: zeros(3, 1, 2, 2) }),
      ],
      "positions beyond the table": [
        ShapeError,
        "rotaryEmbedding: positions 3 to 5 do not fit a sequence of 3 and tables of 4 positions",
        () => attention.rotaryEmbedding(zeros(1, 3, 1, 4), zeros(4, 2), zeros(4, 2), { positionOffset: 3 }),
      ],
      "half a position": [
        ShapeError,
        "rotaryEmbedding: positions 0.5",
        () => attention.rotaryEmbedding(zeros(1, 3, 1, 4), zeros(4, 2), zeros(4, 2), { positionOffset: 0.5 }),
      ],
      "tables too wide": [
        ShapeError,
        "rotaryEmbedding: expected",
        () => attention.rotaryEmbedding(zeros(1, 3, 1, 4), zeros(4, 3), zeros(4, 3)),
      ],
      "gates of another shape": [ShapeError, "swiglu: gate [2] and up [3] differ", () => attention.swiglu(zeros(2), zeros(3))],
      "convolution weights that do not fit": [
        ShapeError,
        "causalConv1d: expected input [batch, sequence, channels] and weight [channels, width], got [1, 2, 3] and [4, 2]",
        () => causalConv1d(zeros(1, 2, 3), zeros(4, 2)),
      ],
      "a convolution state that does not fit": [
        ShapeError,
        "causalConv1d: initialState has shape [1, 2, 3], expected [1, 1, 3]",
        () => causalConv1d(zeros(1, 2, 3), zeros(3, 2), { initialState: zeros(1, 2, 3) }),
      ],
      "scan inputs that do not fit": [
        ShapeError,
        "selectiveScan: delta has shape [1, 2, 4], expected [1, 2, 3]",
        () =>
          selectiveScan({
            input: zeros(1, 2, 3),
            delta: zeros(1, 2, 4),
            stateMatrix: zeros(3, 5),
            inputMatrix: zeros(1, 2, 5),
            outputMatrix: zeros(1, 2, 5),
          }),
      ],
      "a scan of matrices": [
        ShapeError,
        "selectiveScan: expected input [batch, sequence, channels]",
        () =>
          selectiveScan({
            input: zeros(2, 3),
            delta: zeros(2, 3),
            stateMatrix: zeros(3, 5),
            inputMatrix: zeros(2, 5),
            outputMatrix: zeros(2, 5),
          }),
      ],
      "parts of a complex tensor that differ": [
        ShapeError,
        "fft: real part [2] and imaginary part [3] differ",
        () => fourier.fft({ real: zeros(2), imaginary: zeros(3) }),
      ],
      "a transform of nothing": [
        ShapeError,
        "rfft: length 0 of [2, 0]; transforms need at least one point",
        () => fourier.rfft(zeros(2, 0)),
      ],
      "frequencies that do not fit": [
        ShapeError,
        "irfft: 7 points have 4 frequencies, but axis -1 of [3] has 3",
        () => fourier.irfft({ real: zeros(3), imaginary: zeros(3) }, { length: 7 }),
      ],
      "planes of one axis": [IndexError, "fft: axis -2", () => fourier.rfft2(zeros(3))],
      "a quantised tensor of the wrong parts": [
        ShapeError,
        "QuantizedTensor: values must be contiguous int8 [2, 8]",
        () => new QuantizedTensor({ format: "int8", shape: [2, 8], groupSize: 8, values: zeros(2, 8), scales: zeros(2, 1) }),
      ],
      "a group that does not divide": [
        ShapeError,
        "QuantizedTensor: group size 16",
        () => new QuantizedTensor({ format: "int8", shape: [2, 8], groupSize: 16, values: zeros(2, 8), scales: zeros(2, 1) }),
      ],
      "a triangle of a vector": [ShapeError, "tril: needs two axes, got [3]", () => tril(zeros(3))],
      "a triangle from half a place": [ShapeError, "triu: diagonal 0.5 is no integer", () => triu(zeros(3, 3), 0.5)],
      "checkpoints of freed tensors": [
        DisposedError,
        "was freed",
        () => {
          const x = zeros(2);
          x.dispose();
          return vjp(() => checkpoint((input: Tensor) => exp(input), x), [x]);
        },
      ],
    };

    it.each(Object.entries(cases))("%s", (_, [error, message, run]) =>
      expectNoLeaks(device, () => {
        using _scope = scope();
        let thrown: unknown;
        try {
          run();
        } catch (caught) {
          thrown = caught;
        }
        expect(thrown).toBeInstanceOf(error);
        expect((thrown as Error).name).toBe(error.name);
        expect((thrown as Error).message).toContain(message);
      }),
    );

    it("leave nothing behind when they are found before any work", () =>
      expectNoLeaks(device, () => {
        const [a, b, c] = [of([1, 2], "int32"), zeros(3), of([true, true])];
        for (const run of [
          () => binary.add(a, b),
          () => compare.less(a, b),
          () => compare.where(c, a, b),
          () => compare.where(c, 1, b),
          () => matmul(a, b),
          () => softmax(a, -1, { mask: b }),
          () => einsum("i,i->", a, b),
          () => join.stack([a, b]),
        ]) {
          expect(run).toThrow(ShapeError);
        }
        dispose([a, b, c]);
      }));

    it("come as rejections from asynchronous operations", () =>
      expectNoLeaks(device, async () => {
        const [x, vector] = [zeros(2, 3), zeros(24)];
        await expect(item(x)).rejects.toThrow("item: shape [2, 3] has 6 elements");
        await expect(quantize(vector, { format: "int8" })).rejects.toThrow("quantize: weights have two axes [outputs, inputs], got [24]");
        await expect(quantize(x, { format: "int8", groupSize: 2 })).rejects.toThrow(
          "quantize: group size 2 must be a multiple of 8 that divides the 3 inputs of [2, 3]",
        );
        await expect(x.to("tpu" as never)).rejects.toThrow(DeviceError);
        x.dispose();
        await expect(x.data()).rejects.toThrow(DisposedError);
        vector.dispose();
      }));

    it("name both devices", async () => {
      const other: DeviceName = device === "reference" ? "cpu" : "reference";
      const [x, y] = [zeros(2, 2), creation.zeros([2, 2], { device: other }) as Tensor];
      const ids = creation.zeros([2], { dtype: "int32", device: other }) as Tensor;
      const runs: (() => unknown)[] = [
        () => binary.add(x, y),
        () => compare.less(x, y),
        () => matmul(x, y),
        () => linear(x, y),
        () => join.concatenate([x, y]),
        () => views.assign(x, y),
        () => indexing.take(x, ids),
        () => crossEntropy(x, ids),
        () => attention.swiglu(x, y),
        () => rmsNorm(x, { weight: y.slice(0) }),
        () => fourier.fft({ real: x, imaginary: y }),
        () => einsum("ij,jk->ik", x, y),
      ];
      for (const run of runs) {
        expect(run).toThrow(DeviceError);
        expect(run).toThrow(`"${device}" and "${other}"`);
      }
      const { backward, value, free } = vjp(() => clone(x), [x]);
      expect(() => backward([y])).toThrow(DeviceError);
      free();
      const moved = await y.to(device);
      expect(await moved.toArray()).toEqual([
        [0, 0],
        [0, 0],
      ]);
      expect(moved.device).toBe(device);
      dispose([x, y, ids, moved, value]);
    });
  });
}
