import type { DeviceName, QuantizedView } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { formatShape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Group formats of weights; see `QuantizedTensor`. */
export type QuantizedFormat = QuantizedView["format"];

/**
 * A weight matrix [outputs, inputs] stored in groups along its inputs: `w = scale * q + minimum`, with q a signed byte (`int8`) or a number
 * from 0 to 15
 * (`uint4`, two a byte, low nibble first). `linear` multiplies with it directly, dequantising as it reads. Not differentiable in the
 * weight.
 */
export class QuantizedTensor<Device extends DeviceName = DeviceName> implements QuantizedView {
  readonly format: QuantizedFormat;
  readonly shape: readonly [outputs: number, inputs: number];
  readonly groupSize: number;
  /** int8 [outputs, inputs], or uint8 [outputs, inputs / 2]. */
  readonly values: Tensor<Device>;
  /** float32 [outputs, inputs / groupSize]. */
  readonly scales: Tensor<Device>;
  /** As `scales`; absent means 0. */
  readonly minimums: Tensor<Device> | undefined;

  /** @throws ShapeError when the parts do not fit together */
  constructor(parts: {
    readonly format: QuantizedFormat;
    readonly shape: readonly [number, number];
    readonly groupSize: number;
    readonly values: Tensor<Device>;
    readonly scales: Tensor<Device>;
    readonly minimums?: Tensor<Device> | undefined;
  }) {
    const [outputs, inputs] = parts.shape;
    const check = (name: string, part: Tensor<Device> | undefined, columns: number, dtype: string): void => {
      if (part === undefined) return;
      if (part.rank !== 2 || part.shape[0] !== outputs || part.shape[1] !== columns || part.dtype !== dtype || !part.isContiguous) {
        throw new ShapeError(
          `QuantizedTensor: ${name} must be contiguous ${dtype} [${outputs}, ${columns}] for weights ${formatShape(parts.shape)}, got ${part.dtype} ${formatShape(part.shape)}`,
        );
      }
    };
    if (!Number.isInteger(parts.groupSize) || parts.groupSize < 8 || parts.groupSize % 8 !== 0 || inputs % parts.groupSize !== 0) {
      throw new ShapeError(
        `QuantizedTensor: group size ${parts.groupSize} must be a multiple of 8 that divides the ${inputs} inputs of ${formatShape(parts.shape)}`,
      );
    }
    check("values", parts.values, parts.format === "int8" ? inputs : inputs / 2, parts.format === "int8" ? "int8" : "uint8");
    check("scales", parts.scales, inputs / parts.groupSize, "float32");
    check("minimums", parts.minimums, inputs / parts.groupSize, "float32");
    this.format = parts.format;
    this.shape = parts.shape;
    this.groupSize = parts.groupSize;
    this.values = parts.values;
    this.scales = parts.scales;
    this.minimums = parts.minimums;
  }

  get device(): Device {
    return this.values.device;
  }

  /** Bytes in memory. */
  get byteLength(): number {
    return this.values.size + 4 * this.scales.size + 4 * (this.minimums?.size ?? 0);
  }

  /** Frees the parts. */
  dispose(): void {
    this.values.dispose();
    this.scales.dispose();
    this.minimums?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
