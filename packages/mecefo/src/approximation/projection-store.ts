import { keep, matmul, square, sum, tidy, type Parameter, type Tensor } from "@frugal/tensor-core";
import { MecefoError, SettingsError } from "../errors.ts";
import { exactWeightGradient, lowRankCoordinates, projectInputs } from "./low-rank-gradient.ts";
import { rankOf, rightSingularBasis } from "./right-singular-basis.ts";
import type { ProjectionSettings } from "./stage-mode.ts";

/** A matrix of a feed-forward. */
export type FeedForwardMatrix = "gate" | "up" | "down";

const matrixNumbers: Readonly<Record<FeedForwardMatrix, number>> = { gate: 0, up: 1, down: 2 };

/** ‖X V₁‖² / ‖X‖² of what a matrix's weight gradient is projected from. */
export interface CapturedEnergy {
  readonly block: number;
  readonly matrix: string;
  /** 0 to 1. */
  readonly energy: number;
}

/** Options of `ProjectionStore`. */
export interface ProjectionStoreOptions {
  /** Of the random starts. Default 0. */
  readonly seed?: number;
  /** See `rightSingularBasis`. Default "subspace". */
  readonly method?: "subspace" | "exact";
}

/** A share of energy whose two parts are not read yet. */
interface Share {
  readonly captured: Tensor;
  readonly whole: Tensor;
}

interface Entry {
  basis: Tensor | undefined;
  /** t[i, l] of the paper: degraded steps of this block so far. */
  counter: number;
  /** The step that the counter stands for. */
  step: number;
  /** Whether the basis was taken at `counter`. */
  refreshed: boolean;
  /** Of the inputs, and of the gradient at the last refresh. */
  energy: Share | undefined;
  gradientEnergy: Share | undefined;
}

/** What a weight gradient is made of. */
export interface WeightGradientParts {
  readonly block: number;
  readonly matrix: FeedForwardMatrix;
  /** [m, n]. */
  readonly weight: Parameter;
  /** X [tokens, n]. */
  readonly inputs: Tensor;
  /** Gᵧ [tokens, m]. */
  readonly outputGradient: Tensor;
}

/**
 * The right singular vectors V₁ that a worker's degraded blocks project their weight gradients on, with the paper's counter for each
 * block: it counts degraded steps, and where it is a multiple of τ, V₁ is taken anew. A block whose degraded steps do not follow one
 * another has begun another episode: its counter starts again, as it does by `reset`.
 */
export class ProjectionStore {
  readonly settings: ProjectionSettings;
  readonly #options: Required<ProjectionStoreOptions>;
  readonly #entries = new Map<string, Entry & { readonly block: number; readonly matrix: FeedForwardMatrix }>();
  #step = 0;
  /** Decompositions so far. */
  refreshes: number = 0;

  /** @throws SettingsError for a refresh interval below 1, or a rank that is none */
  constructor(settings: ProjectionSettings, { seed = 0, method = "subspace" }: ProjectionStoreOptions = {}) {
    if (!Number.isInteger(settings.refreshInterval) || settings.refreshInterval < 1) {
      throw new SettingsError(`projection refreshInterval ${settings.refreshInterval}; use a whole number of steps, 1 or more`);
    }
    rankOf(settings, 1);
    this.settings = settings;
    this.#options = { seed, method };
  }

  /** Says which step begins. The same number again, after an aborted step, counts once. */
  beginStep(step: number): void {
    this.#step = step;
  }

  /** Forgets V₁ of a block: it was adopted, or enters degraded mode anew. */
  reset(block: number): void {
    for (const [key, entry] of this.#entries) {
      if (entry.block !== block) continue;
      free(entry);
      this.#entries.delete(key);
    }
  }

  /** The counter of a matrix's block; undefined before its first degraded step. */
  counter(block: number, matrix: FeedForwardMatrix): number | undefined {
    return this.#entries.get(`${block}.${matrix}`)?.counter;
  }

  /** V₁ [n, r] of a matrix as it stands, which stays here; undefined before it was taken. */
  basis(block: number, matrix: FeedForwardMatrix): Tensor | undefined {
    return this.#entries.get(`${block}.${matrix}`)?.basis;
  }

  /**
   * The low-rank gradient of a weight as its two factors Ĝ = (Ĝ V₁) V₁ᵀ: coordinates [m, r], for the caller, and V₁ [n, r], which stays
   * here. Takes V₁ anew first, where that is due: of the weight, of these inputs, or of the exact gradient that these parts give.
   * @throws MecefoError when the block is reset meanwhile
   */
  async factors(parts: WeightGradientParts): Promise<{ readonly coordinates: Tensor; readonly basis: Tensor }> {
    const entry = this.#entryOf(parts);
    if (!entry.refreshed) await this.#refresh(entry, parts);
    const basis = entry.basis!;
    const { inputs, outputGradient } = parts;
    const coordinates = keep(tidy(() => {
      const projected = projectInputs(inputs, basis);
      entry.energy ??= share(projected, inputs);
      return lowRankCoordinates(outputGradient, projected);
    }));
    return { coordinates, basis };
  }

  /** The low-rank gradient of a weight, [m, n], for the caller: `factors` multiplied out. */
  async weightGradient(parts: WeightGradientParts): Promise<Tensor> {
    const { coordinates, basis } = await this.factors(parts);
    const gradient = keep(tidy(() => matmul(coordinates, basis.transpose())));
    coordinates.dispose();
    return gradient;
  }

  /** ‖X V₁‖² / ‖X‖² of the inputs of each matrix projected in the present step, in the step's first microbatch. */
  async energies(): Promise<CapturedEnergy[]> {
    return await this.#read(({ step, energy }) => (step === this.#step ? energy : undefined));
  }

  /** ‖G V₁‖² / ‖G‖² of the exact gradient of each projected matrix, at its latest refresh: what share of the gradient was kept then. */
  async gradientEnergies(): Promise<CapturedEnergy[]> {
    return await this.#read(({ gradientEnergy }) => gradientEnergy);
  }

  /** Frees all bases. */
  dispose(): void {
    for (const entry of this.#entries.values()) free(entry);
    this.#entries.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The entry of a matrix, its counter at the present step. */
  #entryOf({ block, matrix }: WeightGradientParts): Entry {
    const key = `${block}.${matrix}`;
    const step = this.#step;
    let entry = this.#entries.get(key);
    const continues = entry !== undefined && (entry.step === step || entry.step + 1 === step);
    if (entry === undefined || !continues) {
      if (entry !== undefined) free(entry);
      entry = { block, matrix, basis: undefined, counter: 0, step, refreshed: false, energy: undefined, gradientEnergy: undefined };
      this.#entries.set(key, entry);
    } else if (entry.step !== step) {
      entry.step = step;
      entry.counter++;
      entry.refreshed = entry.counter % this.settings.refreshInterval !== 0;
      freeShare(entry.energy);
      entry.energy = undefined;
    }
    return entry;
  }

  async #refresh(entry: Entry, { block, matrix, weight, inputs, outputGradient }: WeightGradientParts): Promise<void> {
    const exact = keep(exactWeightGradient(outputGradient, inputs));
    try {
      const source = { weight, activation: inputs, gradient: exact }[this.settings.basis];
      const { seed, method } = this.#options;
      const rank = rankOf(this.settings, source.shape[1]!);
      const made = await rightSingularBasis(source, rank, { method, seed: (seed * 4096 + block) * 4 + matrixNumbers[matrix] });
      if (this.#entries.get(`${block}.${matrix}`) !== entry) {
        made.dispose();
        throw new MecefoError(`the projection of block ${block} was reset while a backward pass used it; dispose the pass first`);
      }
      entry.basis?.dispose();
      entry.basis = made;
      entry.refreshed = true;
      this.refreshes++;
      freeShare(entry.gradientEnergy);
      entry.gradientEnergy = tidy(() => share(projectInputs(exact, made), exact));
    } finally {
      exact.dispose();
    }
  }

  async #read(pick: (entry: Entry) => Share | undefined): Promise<CapturedEnergy[]> {
    const energies: CapturedEnergy[] = [];
    for (const entry of this.#entries.values()) {
      const found = pick(entry);
      if (found === undefined) continue;
      const [captured, whole] = await Promise.all([found.captured.item(), found.whole.item()]);
      energies.push({ block: entry.block, matrix: entry.matrix, energy: whole === 0 ? 1 : captured / whole });
    }
    return energies;
  }
}

/** Kept as two scalars on the device: nothing waits for them until somebody asks. */
function share(projected: Tensor, whole: Tensor): Share {
  return tidy(() => keep({ captured: sum(square(projected)), whole: sum(square(whole)) }));
}

function freeShare(given: Share | undefined): void {
  given?.captured.dispose();
  given?.whole.dispose();
}

function free(entry: Entry): void {
  entry.basis?.dispose();
  freeShare(entry.energy);
  freeShare(entry.gradientEnergy);
}
