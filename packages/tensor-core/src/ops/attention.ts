import type { DeviceName } from "../backend/backend.ts";
import { GradientError, ShapeError } from "../errors.ts";
import { isRecorded, record, recording } from "../autograd/tape.ts";
import { broadcastShapes, formatShape, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, broadcastView, checkDevices, release, shareView } from "./dispatch.ts";
import { asContiguous, asDtype, clone, prepare } from "./materialize.ts";
import { permute } from "./views.ts";

/** Options of `scaledDotProductAttention`. */
export interface AttentionOptions<Device extends DeviceName = DeviceName> {
  /** Query i sees keys up to i + queryOffset. Default false. */
  readonly causal?: boolean;
  /** Keys before the first query, e.g. the length of a key-value cache. Default keys - queries, so that the last query sees everything. */
  readonly queryOffset?: number;
  /** Added to the scaled scores, broadcast to [batch, heads, queries, keys]. A constant: one that is being differentiated is refused. */
  readonly mask?: Tensor<Device> | undefined;
  /** Default 1 / sqrt(headDim). */
  readonly scale?: number;
}

/** @throws GradientError for a tensor that is being differentiated, whose gradient would be lost */
function checkConstant(operation: string, name: string, ...tensors: readonly (Tensor | undefined)[]): void {
  if (recording.tape !== undefined && isRecorded(tensors)) {
    throw new GradientError(`${operation}: the ${name} gets no gradient here, but is being differentiated; wrap it in stopGradient()`);
  }
}

/** float32 with a last axis without gaps, as the kernels want it; other axes may be strided. To be released. */
function prepareRows<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  if (input.dtype !== "float32") return asDtype(input, "float32");
  return input.strides.at(-1) === 1 || input.shape.at(-1) === 1 ? input : clone(input);
}

/**
 * softmax(scale · q kᵀ + mask) v without the scores in memory (Dao et al. 2022, "FlashAttention"). query [batch, heads, queries, headDim];
 * key and value
 * [batch, keyHeads, keys, headDim]; keyHeads divides heads (grouped-query attention). Strided views are read in place. The result, [batch,
 * heads, queries, headDim], is
 * laid out as [batch, queries, heads, headDim], so that merging the heads afterwards is free.
 * @throws ShapeError @throws GradientError when the mask would need a gradient
 */
export function scaledDotProductAttention<Device extends DeviceName>(
  query: Tensor<Device>,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
): Tensor<Device> {
  const shapes = (): string => `query ${formatShape(query.shape)}, key ${formatShape(key.shape)}, value ${formatShape(value.shape)}`;
  if (query.rank !== 4 || key.rank !== 4 || !sameShape(key.shape, value.shape)) {
    throw new ShapeError(`scaledDotProductAttention: expected [batch, heads, length, headDim] with equal key and value, got ${shapes()}`);
  }
  const [batch, heads, queries, headDim] = query.shape as readonly [number, number, number, number];
  const [keyBatch, keyHeads, keys, keyDim] = key.shape as readonly [number, number, number, number];
  if (keyBatch !== batch || keyDim !== headDim || keyHeads === 0 || heads % keyHeads !== 0) {
    throw new ShapeError(`scaledDotProductAttention: batch and headDim must agree and key heads divide heads, got ${shapes()}`);
  }
  const { causal = false, queryOffset = keys - queries, mask, scale = 1 / Math.sqrt(headDim) } = options;
  checkDevices("scaledDotProductAttention", query, key, value, mask);
  const scores = [batch, heads, queries, keys];
  if (mask !== undefined && !sameShape(broadcastShapes("scaledDotProductAttention", scores, mask.shape), scores)) {
    throw new ShapeError(
      `scaledDotProductAttention: mask ${formatShape(mask.shape)} does not broadcast to the scores ${formatShape(scores)}`,
    );
  }
  checkConstant("scaledDotProductAttention", "mask", mask);
  const q = prepareRows(query);
  const k = prepareRows(key);
  const v = prepareRows(value);
  const addend = mask && asDtype(mask, "float32");
  // The merged layout is what comes out; the kernel sees it through the transposed view.
  const merged = allocateLike(q, [batch, queries, heads, headDim]);
  const output = shareView(
    merged,
    [batch, heads, queries, headDim],
    [0, 2, 1, 3].map((axis) => merged.strides[axis]!),
  );
  merged.dispose();
  const logSumExp = allocateLike(q, [batch, heads, queries]);
  const { kernels } = q.storage.backend;
  kernels.attention({
    query: q,
    key: k,
    value: v,
    output,
    logSumExp,
    mask: addend && broadcastView(addend, scores),
    scale,
    causal,
    queryOffset,
  });
  if (recording.tape !== undefined) {
    const saved = [q, k, v, output, logSumExp, ...(addend ? [addend] : [])];
    record(
      "scaledDotProductAttention",
      [q, k, v],
      output,
      saved,
      ([gradient], [savedQ, savedK, savedV, savedOutput, savedLogSumExp, savedMask]) => {
        const likeMerged = (input: Tensor): Tensor => {
          const [b, h, s, d] = input.shape as readonly [number, number, number, number];
          return permute(allocateLike(input, [b, s, h, d]), [0, 2, 1, 3]);
        };
        const queryGradient = likeMerged(savedQ!);
        const keyGradient = likeMerged(savedK!);
        const valueGradient = likeMerged(savedV!);
        kernels.attentionGradient({
          gradient: prepareRows(gradient!),
          query: savedQ!,
          key: savedK!,
          value: savedV!,
          output: savedOutput!,
          logSumExp: savedLogSumExp!,
          mask: savedMask && broadcastView(savedMask, scores),
          scale,
          causal,
          queryOffset,
          queryGradient,
          keyGradient,
          valueGradient,
        });
        return [queryGradient, keyGradient, valueGradient];
      },
    );
  }
  logSumExp.dispose();
  release(q, query);
  release(k, key);
  release(v, value);
  release(addend, mask);
  return output;
}

/** Where tokens stand, and how features pair up. */
export interface RotaryOptions<Device extends DeviceName = DeviceName> {
  /** Position of the first token. Default 0. */
  readonly positionOffset?: number;
  /** int32 [sequence], instead of consecutive positions. */
  readonly positions?: Tensor<Device> | undefined;
  /** "half": pairs (i, i + d/2), Hugging Face; "interleaved": (2i, 2i + 1), the paper's. Default "half". */
  readonly layout?: "half" | "interleaved";
}

/**
 * Rotary position embedding (Su et al. 2021, eq. 34): rotates pairs of features of input [batch, sequence, heads, headDim] by the angles
 * whose cosines and sines are given as
 * tables [positions, rotaryDim / 2]. Features past rotaryDim stay as they are.
 * @throws ShapeError @throws GradientError when a table would need a gradient
 */
export function rotaryEmbedding<Device extends DeviceName>(
  input: Tensor<Device>,
  cosine: Tensor,
  sine: Tensor,
  { positionOffset = 0, positions, layout = "half" }: RotaryOptions = {},
): Tensor<Device> {
  if (input.rank !== 4 || cosine.rank !== 2 || !sameShape(cosine.shape, sine.shape) || cosine.shape[1]! * 2 > input.shape[3]!) {
    throw new ShapeError(
      `rotaryEmbedding: expected input [batch, sequence, heads, headDim] and tables [positions, at most headDim / 2], got ${formatShape(input.shape)}, ` +
        `${formatShape(cosine.shape)}, ${formatShape(sine.shape)}`,
    );
  }
  const sequence = input.shape[1]!;
  const offsetFits = Number.isInteger(positionOffset) && positionOffset >= 0 && positionOffset + sequence <= cosine.shape[0]!;
  if (positions !== undefined ? positions.rank !== 1 || positions.shape[0] !== sequence : !offsetFits) {
    throw new ShapeError(
      `rotaryEmbedding: ${positions ? `positions ${formatShape(positions.shape)}` : `positions ${positionOffset} to ${positionOffset + sequence - 1}`} do not fit ` +
        `a sequence of ${sequence} and tables of ${cosine.shape[0]} positions`,
    );
  }
  checkDevices("rotaryEmbedding", input, cosine, sine, positions);
  checkConstant("rotaryEmbedding", "table of cosines or sines", cosine, sine);
  const [cosines, sines] = [prepare(cosine), prepare(sine)];
  const places = positions && prepare(positions, "int32");
  const source = prepare(input);
  const { kernels } = source.storage.backend;
  const rotate = (from: Tensor, [cosines, sines, at]: readonly Tensor[], inverse: boolean): Tensor => {
    const output = allocateLike(from);
    kernels.rotaryEmbedding({ input: from, output, cosine: cosines!, sine: sines!, positions: at, positionOffset, layout, inverse });
    return output;
  };
  const saved: Tensor[] = places ? [cosines, sines, places] : [cosines, sines];
  const output = rotate(source, saved, false) as Tensor<Device>;
  if (recording.tape !== undefined) {
    record("rotaryEmbedding", [source], output, saved, ([gradient], kept) => [rotate(asContiguous(gradient!), kept, true)]);
  }
  release(cosines, cosine);
  release(sines, sine);
  release(places, positions);
  release(source, input);
  return output;
}

/**
 * silu(gate) · up, the gated activation of Llama's feed-forward (Shazeer 2020, "GLU Variants"). @throws ShapeError when the shapes differ
 */
export function swiglu<Device extends DeviceName>(gate: Tensor<Device>, up: Tensor): Tensor<Device> {
  if (!sameShape(gate.shape, up.shape))
    throw new ShapeError(`swiglu: gate ${formatShape(gate.shape)} and up ${formatShape(up.shape)} differ`);
  checkDevices("swiglu", gate, up);
  const a = prepare(gate);
  const b = prepare(up);
  const output = allocateLike(a);
  const { kernels } = a.storage.backend;
  kernels.swiglu({ gate: a, up: b, output });
  if (recording.tape !== undefined) {
    record("swiglu", [a, b], output, [a, b], ([gradient], [savedGate, savedUp]) => {
      const gateGradient = allocateLike(savedGate!);
      const upGradient = allocateLike(savedUp!);
      kernels.swigluGradient({ gradient: asContiguous(gradient!), gate: savedGate!, up: savedUp!, gateGradient, upGradient });
      return [gateGradient, upGradient];
    });
  }
  release(a, gate);
  release(b, up);
  return output;
}
