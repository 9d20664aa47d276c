import type { DeviceName } from "../backend/backend.ts";
import { DtypeError, ShapeError } from "../errors.ts";
import { record, recording } from "../autograd/tape.ts";
import { isFloating } from "../tensor/dtype.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { divide, maximum, subtract } from "./binary.ts";
import { notEqual } from "./compare.ts";
import { tidy } from "../tensor/scope.ts";
import { allocateLike, checkDevices, release } from "./dispatch.ts";
import { asContiguous, asDtype, prepare } from "./materialize.ts";
import { mean, sum } from "./reduce.ts";
import { square } from "./unary.ts";

/** How a loss over many items becomes its result. */
export type Reduction = "mean" | "sum" | "none";

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions {
  /** Default "mean", over the targets that count. */
  readonly reduction?: Reduction;
  /** Targets with this id contribute nothing. Default -100, as PyTorch. */
  readonly ignoreIndex?: number;
  /** Share of the probability spread over all classes. Default 0. */
  readonly labelSmoothing?: number;
}

/**
 * Cross-entropy of integer targets [...] under logits [..., classes], fused from logits (no probabilities are stored).
 * A target outside the classes gives NaN: checking would mean waiting for the device.
 * @throws ShapeError @throws DtypeError when targets are not integers
 */
export function crossEntropy<Device extends DeviceName>(
  logits: Tensor<Device>,
  targets: Tensor,
  { reduction = "mean", ignoreIndex = -100, labelSmoothing = 0 }: CrossEntropyOptions = {},
): Tensor<Device> {
  if (logits.rank === 0 || !sameShape(logits.shape.slice(0, -1), targets.shape)) {
    throw new ShapeError(
      `crossEntropy: targets ${formatShape(targets.shape)} do not fit logits ${formatShape(logits.shape)} [..., classes]`,
    );
  }
  if (isFloating(targets.dtype) || targets.dtype === "bool")
    throw new DtypeError(`crossEntropy: targets are ${targets.dtype}; they have to be integers`);
  checkDevices("crossEntropy", logits, targets);
  const source = prepare(logits);
  const ids = prepare(targets, "int32");
  const columns = source.shape.at(-1)!;
  const rows = ids.size;
  const losses = allocateLike(source, targets.shape);
  const logSumExp = allocateLike(source, [rows]);
  const { kernels } = source.storage.backend;
  kernels.crossEntropy({ logits: source, targets: ids, losses, logSumExp, rows, columns, ignoreIndex, labelSmoothing });
  if (recording.tape !== undefined) {
    record("crossEntropy", [source], losses, [source, ids, logSumExp], ([gradient], [savedLogits, savedTargets, savedLogSumExp]) => {
      const result = allocateLike(savedLogits!);
      kernels.crossEntropyGradient({
        gradient: asContiguous(gradient!),
        logits: savedLogits!,
        targets: savedTargets!,
        logSumExp: savedLogSumExp!,
        result,
        rows,
        columns,
        ignoreIndex,
        labelSmoothing,
      });
      return [result];
    });
  }
  logSumExp.dispose();
  release(source, logits);
  release(ids, targets);
  return reduction === "none" ? losses : tidy(() => reduceLosses(losses, targets, reduction, ignoreIndex));
}

/** The sum or mean of losses, which are freed. */
function reduceLosses<Device extends DeviceName>(
  losses: Tensor<Device>,
  targets: Tensor,
  reduction: "mean" | "sum",
  ignoreIndex: number,
): Tensor<Device> {
  const total = sum(losses);
  losses.dispose();
  if (reduction === "sum") return total;
  const counted = sum(asDtype(notEqual(targets, ignoreIndex), "float32"));
  return divide(total, maximum(counted, 1));
}

/** (prediction - target)², averaged by default, in float32; shapes broadcast. */
export function meanSquaredError<Device extends DeviceName>(
  prediction: Tensor<Device>,
  target: Tensor,
  { reduction = "mean" }: { readonly reduction?: Reduction } = {},
): Tensor<Device> {
  return tidy(() => {
    // float16 overflows at 256²: squares are taken in float32.
    const squares = square(subtract(asDtype(prediction, "float32"), asDtype(target, "float32")));
    return reduction === "none" ? squares : reduction === "sum" ? sum(squares) : mean(squares);
  });
}
