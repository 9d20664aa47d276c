import { keep, tensor, type DeviceName, type Tensor } from "@frugal/tensor-core";
import type { ModelConfiguration, RopeScaling } from "../weights/model-configuration.ts";

/** Cosines and sines of the rotation angles, each [positions, headDim / 2]. */
export interface RotaryAngles {
  readonly cosine: Tensor;
  readonly sine: Tensor;
}

/** Angle per position of each feature pair, after scaling for long contexts. */
export function rotaryFrequencies(config: Pick<ModelConfiguration, "headDim" | "ropeTheta" | "ropeScaling">): number[] {
  const pairs = config.headDim / 2;
  return Array.from({ length: pairs }, (_, i) => scaled(config.ropeTheta ** (-i / pairs), i, config.ropeScaling));
}

function scaled(frequency: number, index: number, scaling: RopeScaling | undefined): number {
  switch (scaling?.type) {
    case undefined:
      return frequency;
    case "linear":
      return frequency / scaling.factor;
    case "factors":
      return frequency / scaling.factors[index]!;
    case "llama3": {
      // Long wavelengths are stretched by the factor, short ones kept, those between blended (Llama 3.1, "rope_scaling").
      const wavelength = (2 * Math.PI) / frequency;
      const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: context } = scaling;
      if (wavelength < context / highFreqFactor) return frequency;
      if (wavelength > context / lowFreqFactor) return frequency / factor;
      const smooth = (context / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
      return ((1 - smooth) * frequency) / factor + smooth * frequency;
    }
  }
}

/** The angle tables of a model, made for as many positions as are asked for, shared by its blocks. */
export class RotaryTable {
  readonly #frequencies: readonly number[];
  readonly #device: DeviceName;
  readonly #maximum: number;
  #angles: RotaryAngles | undefined;

  constructor(config: ModelConfiguration, device: DeviceName) {
    this.#frequencies = rotaryFrequencies(config);
    this.#device = device;
    this.#maximum = config.maxPositionEmbeddings;
  }

  /** Tables for at least `positions` positions. */
  anglesFor(positions: number): RotaryAngles {
    const present = this.#angles?.cosine.shape[0] ?? 0;
    if (this.#angles === undefined || present < positions) {
      this.dispose();
      const rows = Math.max(positions, Math.min(this.#maximum, Math.max(256, present * 2)));
      this.#angles = { cosine: this.#table(rows, Math.cos), sine: this.#table(rows, Math.sin) };
    }
    return this.#angles;
  }

  #table(rows: number, wave: (angle: number) => number): Tensor {
    const pairs = this.#frequencies.length;
    const values = new Float32Array(rows * pairs);
    for (let position = 0; position < rows; position++) {
      for (let i = 0; i < pairs; i++) values[position * pairs + i] = wave(position * this.#frequencies[i]!);
    }
    return keep(tensor(values, [rows, pairs], { device: this.#device }));
  }

  /** Frees the tables; they are made again when needed. */
  dispose(): void {
    this.#angles?.cosine.dispose();
    this.#angles?.sine.dispose();
    this.#angles = undefined;
  }
}
