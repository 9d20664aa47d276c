import type { BlockShape } from "./fourier-shape.ts";

/**
 * How the other side completes a block:
 * - "literal": zeros around it and the real part of the inverse, as FourierCompress writes. That halves every term whose conjugate mirror
 *   (-u, -v) lies outside the block.
 * - "hermitian": the conjugate is written at the mirrored place too, unless that lies inside the block.
 * - "lowpass": |u| < KS and |v| < KD, the two independent corners of a real signal.
 */
export type FourierMode = "literal" | "hermitian" | "lowpass";

/** The matrix that is transformed. */
export interface GridSize {
  /** S. */
  readonly tokens: number;
  /** D. */
  readonly hiddenSize: number;
}

/** Weights of the bins of one row of the half spectrum: the first column, those up to `split`, those up to the end of the block. */
export interface RowWeights {
  readonly first: number;
  readonly near: number;
  readonly far: number;
}

/** Frequencies of the hidden axis that a real signal has: 0..floor(D / 2). */
export function halfWidth(hiddenSize: number): number {
  return Math.floor(hiddenSize / 2) + 1;
}

/** The largest block that a mode has for a matrix. */
export function largestBlock(mode: FourierMode, { tokens, hiddenSize }: GridSize): BlockShape {
  if (mode === "lowpass") return { tokens: halfWidth(tokens), channels: halfWidth(hiddenSize) };
  return { tokens, channels: hiddenSize };
}

/** KS of a share of the S token frequencies. A low-pass block counts each with its negative: 2·KS - 1 of them. */
export function tokensOfShare(mode: FourierMode, tokens: number, share: number): number {
  return Math.round(mode === "lowpass" ? (share * tokens + 1) / 2 : share * tokens);
}

/**
 * Which bins of the half spectrum [S, floor(D/2) + 1] of real rows a block holds, and which of them have to be sent: of two conjugates
 * within the block only one, and of bins that are their own conjugate no imaginary part.
 */
export class FourierBins {
  readonly mode: FourierMode;
  readonly shape: BlockShape;
  readonly grid: GridSize;
  /** Columns of the half spectrum that the block reaches into: the first ones. */
  readonly columns: number;
  /** From this column on, mirrors of the block's own columns lie in the half spectrum. */
  readonly split: number;

  /** @param shape within `largestBlock(mode, grid)` */
  constructor(mode: FourierMode, shape: BlockShape, grid: GridSize) {
    this.mode = mode;
    this.shape = shape;
    this.grid = grid;
    this.columns = Math.min(shape.channels, halfWidth(grid.hiddenSize));
    this.split = mode === "lowpass" ? this.columns : Math.max(1, Math.min(this.columns, grid.hiddenSize - shape.channels + 1));
  }

  /** What the other side multiplies the bins of row u with: 0 outside the block, 1/2 where "literal" loses half. */
  weights(u: number): RowWeights {
    const { tokens } = this.grid;
    if (this.mode === "lowpass") {
      const inside = Math.min(u, tokens - u) < this.shape.tokens ? 1 : 0;
      return { first: inside, near: inside, far: inside };
    }
    const own = u < this.shape.tokens ? 1 : 0;
    const mirror = this.#isMirrored(u) ? 1 : 0;
    if (this.mode === "literal") return { first: (own + mirror) / 2, near: own / 2, far: (own + mirror) / 2 };
    return { first: own | mirror, near: own, far: own | mirror };
  }

  /** The columns [from, to) of row u that are sent. */
  sentColumns(u: number): readonly [from: number, to: number] {
    const { tokens } = this.grid;
    const isUpper = 2 * u > tokens;
    // Columns 0 and D/2 mirror onto themselves: rows above S/2 repeat those below.
    const to = this.columns - (isUpper && this.#isOwnMirror(this.columns - 1) ? 1 : 0);
    const own = this.mode === "lowpass" ? Math.min(u, tokens - u) < this.shape.tokens : u < this.shape.tokens;
    if (own) return [Math.min(isUpper ? 1 : 0, to), to];
    if (this.mode !== "lowpass" && this.#isMirrored(u)) return [Math.min(this.split, to), to];
    return [0, 0];
  }

  /** Whether bin (u, v) is its own conjugate mirror, so that it is real. */
  isReal(u: number, v: number): boolean {
    return (u === 0 || 2 * u === this.grid.tokens) && this.#isOwnMirror(v);
  }

  /** Complex numbers sent, real ones among them. */
  get sentBins(): number {
    let bins = 0;
    for (let u = 0; u < this.grid.tokens; u++) {
      const [from, to] = this.sentColumns(u);
      bins += to - from;
    }
    return bins;
  }

  /** Real numbers sent: twice `sentBins` but for the imaginary parts that are zero. */
  get sentNumbers(): number {
    let numbers = 2 * this.sentBins;
    for (const u of new Set([0, this.grid.tokens / 2])) {
      if (!Number.isInteger(u)) continue;
      const [from, to] = this.sentColumns(u);
      if (to > from) numbers -= +(from === 0) + +(to > 1 && this.#isOwnMirror(to - 1));
    }
    return numbers;
  }

  /** Whether row -u is a row of the block. */
  #isMirrored(u: number): boolean {
    return u === 0 || u > this.grid.tokens - this.shape.tokens;
  }

  #isOwnMirror(v: number): boolean {
    return v === 0 || 2 * v === this.grid.hiddenSize;
  }
}
