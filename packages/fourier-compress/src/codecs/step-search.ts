import { CodecTargetError } from "../errors.ts";
import type { AnalyzedRows, RowQuantizer } from "../entropy/row-quantizer.ts";
import type { RowTarget } from "./row-coder.ts";

/** Steps that a search considers lie on a ladder of so many rungs to an octave: 0.3 % apart. */
const RUNGS_PER_OCTAVE = 256;
/** A search ends within this share of the target: a rung is worth about as much. */
const TOLERANCE = 0.001;
/** More than bisection of the whole ladder would take. */
const MOST_TRIALS = 64;
/** Octaves from the largest value down to the finest step. */
const FINEST_OCTAVES = 26;
/** Attempts after the search's estimate, a rung apart each, before it is given up. */
const MOST_CORRECTIONS = 64;
/** Bytes of a body beside its code: step, number of words and the states' unused bits. */
const BODY_OVERHEAD = 8;

/** Rows on their way to a body. */
export interface SearchedRows {
  readonly codec: string;
  readonly quantizer: RowQuantizer;
  readonly rows: AnalyzedRows;
  /** ‖A‖² of the activations themselves, which relative errors refer to. */
  readonly energy: number;
  /** ‖A′ - A‖² of what a body decodes to, with all rounding. */
  squaredErrorOf(body: Uint8Array): Promise<number>;
}

function stepOf(rung: number): number {
  return Math.fround(2 ** (rung / RUNGS_PER_OCTAVE));
}

/**
 * The body for a target: by the step itself, or by the coarsest or finest step of the ladder that meets it.
 * @throws CodecTargetError when nothing does
 */
export async function encodeToTarget(search: SearchedRows, target: RowTarget): Promise<Uint8Array> {
  switch (target.kind) {
    case "step":
      return writeAt(search, Math.fround(target.step));
    case "bytes":
      return encodeToBytes(search, target.bytes);
    case "relativeError":
      return encodeToError(search, target.relativeError);
    default:
      throw new CodecTargetError(`${search.codec} codec: no target ${target.kind}; use step, bytes or relativeError`);
  }
}

function writeAt({ quantizer, rows }: SearchedRows, step: number): Uint8Array {
  quantizer.quantize(rows, step);
  return quantizer.write(rows, step);
}

/** The rung from which all values are zero in any quantiser's class. */
function coarsestRung({ rows }: SearchedRows): number {
  return rows.peak > 0 ? Math.ceil(RUNGS_PER_OCTAVE * (Math.log2(rows.peak) + 1)) : 0;
}

function encodeToBytes(search: SearchedRows, bytes: number): Uint8Array {
  const coarsest = coarsestRung(search);
  const budget = 8 * (bytes - BODY_OVERHEAD);
  const { quantizer, rows } = search;
  const values = rows.values.length;
  // Bits change by about one a value and octave where values exceed the step, so that Newton's rule soon gets there.
  const spread = Math.sqrt((search.rows.energies.reduce((sum, energy) => sum + energy, 0) / values)) || 1;
  const first = RUNGS_PER_OCTAVE * (Math.log2(spread) - Math.max(0, budget) / values + 1);
  const rung = findRung({ finest: coarsest - FINEST_OCTAVES * RUNGS_PER_OCTAVE, coarsest, first }, (trial) => {
    const { bits } = quantizer.quantize(rows, stepOf(trial));
    const meets = bits <= budget;
    const slope = Math.max(0.02, Math.min(1, bits / values));
    return { meets, isClose: meets && bits >= budget * (1 - TOLERANCE), next: trial + (RUNGS_PER_OCTAVE * (bits - budget)) / (slope * values) };
  }, "finest");
  let body: Uint8Array | undefined;
  for (let attempt = 0; attempt <= MOST_CORRECTIONS; attempt++) {
    body = writeAt(search, stepOf(Math.min(coarsest, rung + attempt)));
    if (body.length <= bytes) return body;
    if (rung + attempt >= coarsest) break;
  }
  throw new CodecTargetError(`${search.codec} codec: ${bytes} bytes are too few for ${rows.tokens} tokens; they take ${body!.length} at the least`);
}

async function encodeToError(search: SearchedRows, relativeError: number): Promise<Uint8Array> {
  const coarsest = coarsestRung(search);
  const finest = coarsest - FINEST_OCTAVES * RUNGS_PER_OCTAVE;
  const allowed = relativeError * relativeError * search.energy;
  const { quantizer, rows } = search;
  const first = RUNGS_PER_OCTAVE * Math.log2(Math.sqrt((12 * allowed) / rows.values.length) || 1);
  const rung = findRung({ finest, coarsest, first }, (trial) => {
    const { squaredError } = quantizer.quantize(rows, stepOf(trial));
    const meets = squaredError <= allowed;
    const ratio = allowed / Math.max(squaredError, Number.MIN_VALUE);
    return { meets, isClose: meets && ratio <= 1 + 2 * TOLERANCE, next: trial + (RUNGS_PER_OCTAVE * Math.log2(ratio)) / 2 };
  }, "coarsest");
  let error = Number.POSITIVE_INFINITY;
  // What arithmetic adds comes on top of the quantiser's error; near float32's own the step has to shrink faster.
  for (let attempt = 0, down = 0; attempt <= MOST_CORRECTIONS && rung - down >= finest; attempt++, down += attempt) {
    const body = writeAt(search, stepOf(rung - down));
    error = await search.squaredErrorOf(body);
    if (error <= allowed) return body;
  }
  const reached = Math.sqrt(error / search.energy);
  throw new CodecTargetError(`${search.codec} codec: relative error ${relativeError} is out of reach of float32; it came to ${reached}`);
}

/** What a trial of a rung says. */
interface Trial {
  readonly meets: boolean;
  /** Whether it meets the target so closely that the search may end. */
  readonly isClose: boolean;
  /** A guess of the rung that would meet it exactly. */
  readonly next: number;
}

/**
 * The finest rung that meets a target that coarser ones meet too, or the coarsest where finer ones do; where none does, the end of the
 * ladder that is nearest to it.
 */
function findRung(
  { finest, coarsest, first }: { readonly finest: number; readonly coarsest: number; readonly first: number },
  trialOf: (rung: number) => Trial,
  wanted: "finest" | "coarsest",
): number {
  // The ends themselves count as tried: one meets the target, or nothing does.
  let met = wanted === "finest" ? coarsest : finest;
  let missed = wanted === "finest" ? finest : coarsest;
  let guess = first;
  for (let trials = 0; Math.abs(met - missed) > 1 && trials < MOST_TRIALS; trials++) {
    const [low, high] = [Math.min(met, missed) + 1, Math.max(met, missed) - 1];
    // Every fourth trial halves what is left, whatever the guess.
    const rung = trials % 4 === 3 || !Number.isFinite(guess) ? (low + high) >> 1 : Math.max(low, Math.min(high, Math.round(guess)));
    const { meets, isClose, next } = trialOf(rung);
    if (meets) met = rung;
    else missed = rung;
    if (isClose) break;
    guess = next;
  }
  return met;
}
