import { crc32 } from "node:zlib";
import { tensor, type Parameter, type Tensor } from "@frugal/tensor-core";
import type { StagedModel } from "@frugal/language-model";

/** The sums of a stage's gradients over the microbatches of one pipeline. */
export interface GradientSource {
  get(parameter: Parameter): Tensor | undefined;
  /** Microbatches whose gradient is in the sum. */
  contributions(parameter: Parameter): number;
}

/** Parameters that are reduced together, with how many contributions each has. */
interface Entry {
  readonly parameter: Parameter;
  readonly offset: number;
  /** Where its count stands. */
  readonly count: number;
}

/**
 * The gradients of parameters of one stage in one run of floats, for an all-reduce of (sum, count): sums first, then the counts that Eq. 1
 * divides by, one for each mixer and one for all the rest (paper §3.1). Hosts that skipped a mixer's backward pass give zeros and a count
 * of zero, so that dividing by the summed count is the mean over N(l), and everybody gets it, those hosts too.
 */
export class StageGradients {
  readonly values: Float32Array;
  /** Settles once no all-reduce that was begun refers to the values any more: before it, nobody may write to them. */
  free: Promise<unknown> = Promise.resolve();
  readonly #entries: readonly Entry[];
  /** Where the count of all but the mixers stands. */
  readonly #sharedCount: number | undefined;

  constructor(parameters: readonly { readonly parameter: Parameter; readonly mixerBlock: number | undefined }[]) {
    const counts = new Map<number | undefined, number>();
    let offset = 0;
    const entries = parameters.map(({ parameter, mixerBlock }) => {
      if (!counts.has(mixerBlock)) counts.set(mixerBlock, counts.size);
      const entry = { parameter, offset, count: counts.get(mixerBlock)! };
      offset += parameter.size;
      return entry;
    });
    this.#entries = entries.map((entry) => ({ ...entry, count: offset + entry.count }));
    this.values = new Float32Array(offset + counts.size);
    const shared = counts.get(undefined);
    this.#sharedCount = shared === undefined ? undefined : offset + shared;
  }

  /** Microbatches that are in the sums of all but the mixers: once reduced, every one of the step's. Undefined where there is nothing else. */
  get contributions(): number | undefined {
    return this.#sharedCount === undefined ? undefined : this.values[this.#sharedCount];
  }

  /**
   * Writes the sums of this worker; parameters without a sum count as not contributed to.
   * @param countless leaves the counts zero: of a matrix used at both ends, one end counts
   */
  async fill(source: GradientSource, { countless = false }: { readonly countless?: boolean } = {}): Promise<void> {
    this.values.fill(0);
    for (const { parameter, offset, count } of this.#entries) {
      const sum = source.get(parameter);
      if (sum === undefined) continue;
      this.values.set(await sum.data("float32"), offset);
      if (!countless) this.values[count] = source.contributions(parameter);
    }
  }

  /** Adds another worker part's sums and counts. */
  accumulate({ values }: StageGradients): void {
    for (let i = 0; i < values.length; i++) this.values[i]! += values[i]!;
  }

  /**
   * Divides the reduced sums by the reduced counts. Gives the squared norm, summed in the order of the parameters; null when it is not
   * finite. Sums that nobody contributed to stay zero and are no gradient.
   */
  average(): number | null {
    let squaredNorm = 0;
    for (const { parameter, offset, count } of this.#entries) {
      const contributions = this.values[count]!;
      if (contributions === 0) continue;
      for (let i = offset; i < offset + parameter.size; i++) {
        const value = Math.fround(this.values[i]! / contributions);
        this.values[i] = value;
        squaredNorm += value * value;
      }
    }
    return Number.isFinite(squaredNorm) ? squaredNorm : null;
  }

  /** CRC-32 of the averages and counts, in hexadecimal. */
  hash(): string {
    return crc32(new Uint8Array(this.values.buffer)).toString(16).padStart(8, "0");
  }

  /** The gradients by parameter, times `scale`; undefined where nobody contributed. They become the caller's. */
  gradients(scale: number): Map<Parameter, Tensor | undefined> {
    return new Map(this.#entries.map(({ parameter, offset, count }) => {
      if (this.values[count] === 0) return [parameter, undefined];
      const values = this.values.slice(offset, offset + parameter.size);
      if (scale !== 1) for (let i = 0; i < values.length; i++) values[i]! *= scale;
      return [parameter, tensor(values, parameter.shape, { device: parameter.device })];
    }));
  }
}

/**
 * The matrix of a stage's model that the stage at the other end has a copy of: the embedding of a model whose head is tied to it, cut into
 * more than one stage. Its gradient is the sum of both ends'.
 */
export function tiedParameters(model: StagedModel, stages: number): Parameter[] {
  if (!model.tiedHead || stages === 1) return [];
  const [from, to] = model.blockRange;
  if (from === 0) return model.embeddingParameters();
  return to === model.blockCount ? model.headParameters().filter(({ rank }) => rank >= 2) : [];
}
