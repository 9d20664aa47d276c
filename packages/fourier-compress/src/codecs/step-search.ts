import { CodecTargetError } from "../errors.ts";
import type { AnalyzedRows, RowQuantizer } from "../entropy/row-quantizer.ts";
import type { RowTarget } from "./row-coder.ts";

/** Steps that a search considers lie on a ladder of so many rungs to an octave: 0.07 % apart. */
const RUNGS_PER_OCTAVE = 1024;
/** A search ends within this share of the bytes, or this many octaves of the squared error. */
const TOLERANCE = 0.002;
/** Some rows differ from all of them by more than this anyway. */
const SAMPLE_TOLERANCE = 0.02;
/** A secant that has not got there by then is helped by halving what is left. */
const SECANT_TRIALS = 8;
/** More than bisection of the whole ladder would take. */
const MOST_TRIALS = 64;
/** Octaves from the largest value down to the finest step. */
const FINEST_OCTAVES = 26;
/** Attempts after the search's estimate before it is given up. */
const MOST_CORRECTIONS = 100;
/** Rows of a first search, and how many times more there have to be for it to pay. */
const SAMPLED_ROWS = 16;
const ROWS_PER_SAMPLED_ROW = 4;

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

function stepOf({ quantizer, rows }: SearchedRows, rung: number): number {
  return quantizer.roundStep(2 ** (rung / RUNGS_PER_OCTAVE), rows.tokens);
}

/**
 * The body for a target: by the step itself, or by the coarsest or finest step of the ladder that meets it.
 * @throws CodecTargetError when nothing does
 */
export async function encodeToTarget(search: SearchedRows, target: RowTarget): Promise<Uint8Array> {
  switch (target.kind) {
    case "step":
      return writeAt(search, search.quantizer.roundStep(target.step, search.rows.tokens));
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
  const { codec, quantizer, rows } = search;
  const coarsest = coarsestRung(search);
  const values = rows.values.length;
  const budget = Math.max(1, 8 * (bytes - quantizer.bodyOverhead(rows.tokens)));
  const spread = Math.sqrt(sum(rows.energies) / values) || 1;
  // About a bit for each value and octave, where values exceed the step.
  const slope = -Math.min(1, values / budget) / RUNGS_PER_OCTAVE;
  const first = RUNGS_PER_OCTAVE * (Math.log2(spread) - budget / values + 1);
  const rung = searchTwice(quantizer, rows, { rung: first, slope }, (searched, start) => {
    const share = (budget * searched.tokens) / rows.tokens;
    const missOf = (trial: number): number => quantizer.quantize(searched, stepOf(search, trial)).bits / share - 1;
    return findLowest({ low: coarsest - FINEST_OCTAVES * RUNGS_PER_OCTAVE, high: coarsest }, start, missOf);
  });
  let body: Uint8Array;
  for (let attempt = 0, place = rung; ; attempt++, place = Math.min(coarsest, place + attempt * attempt)) {
    body = writeAt(search, stepOf(search, place));
    if (body.length <= bytes) return body;
    if (place === coarsest || attempt === MOST_CORRECTIONS) break;
  }
  throw new CodecTargetError(`${codec} codec: ${bytes} bytes are too few for ${rows.tokens} tokens; they take ${body.length} at the least`);
}

async function encodeToError(search: SearchedRows, relativeError: number): Promise<Uint8Array> {
  const { codec, quantizer, rows, energy } = search;
  const coarsest = coarsestRung(search);
  const finest = coarsest - FINEST_OCTAVES * RUNGS_PER_OCTAVE;
  const allowed = relativeError * relativeError * energy;
  const share = allowed / Math.max(Number.MIN_VALUE, sum(rows.energies));
  // Fine uniform steps err by step² / 12; coarser ones by less than that says.
  const first = RUNGS_PER_OCTAVE * Math.log2(Math.sqrt((12 * allowed) / rows.values.length) || 1);
  // Errors fall where bytes rise: the search runs along minus the rungs.
  const rung = -searchTwice(quantizer, rows, { rung: -first, slope: -2 / RUNGS_PER_OCTAVE }, (searched, start) => {
    const budget = share * sum(searched.energies);
    const errorAt = (trial: number): number => quantizer.quantize(searched, stepOf(search, -trial)).squaredError;
    return findLowest({ low: -coarsest, high: -finest }, start, (trial) => Math.log2(Math.max(Number.MIN_VALUE, errorAt(trial)) / budget));
  });
  let error = Number.POSITIVE_INFINITY;
  // What arithmetic adds comes on top of the quantiser's error; near float32's own the step has to shrink faster.
  for (let attempt = 0, place = rung; attempt <= MOST_CORRECTIONS && place >= finest; attempt++, place -= attempt) {
    const body = writeAt(search, stepOf(search, place));
    error = await search.squaredErrorOf(body);
    if (error <= allowed) return body;
  }
  throw new CodecTargetError(
    `${codec} codec: relative error ${relativeError} is out of reach of float32; it came to ${Math.sqrt(error / energy)}`,
  );
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Where a search begins, and how what it misses changes with the rung. */
interface Start {
  readonly rung: number;
  readonly slope: number;
  /** Of what is missed, below 0. */
  readonly tolerance: number;
}

/** Searches some of many rows first, because all of them are then near. */
function searchTwice(
  quantizer: RowQuantizer, rows: AnalyzedRows, start: Omit<Start, "tolerance">, search: (rows: AnalyzedRows, start: Start) => Start,
): number {
  const hasSample = rows.tokens >= SAMPLED_ROWS * ROWS_PER_SAMPLED_ROW;
  const near = hasSample ? search(quantizer.sample(rows, SAMPLED_ROWS), { ...start, tolerance: SAMPLE_TOLERANCE }) : start;
  return search(rows, { ...near, tolerance: TOLERANCE }).rung;
}

/**
 * The lowest rung at which `missOf`, which falls, is at most 0, or one where it is nearly 0; `high` where there is none. By the secant,
 * after a while also by halving what is left.
 */
function findLowest(ladder: { readonly low: number; readonly high: number }, start: Start, missOf: (rung: number) => number): Start {
  // The ends are not tried: what `high` makes is up to the caller.
  let { high: met, low: missed } = ladder;
  const { tolerance } = start;
  let { rung: guess, slope } = start;
  let previous: { readonly rung: number; readonly miss: number } | undefined;
  for (let trials = 1; met - missed > 1 && trials <= MOST_TRIALS; trials++) {
    const halves = Number.isNaN(guess) || (trials > SECANT_TRIALS && trials % 2 === 0);
    const rung = halves ? (met + missed) >> 1 : Math.max(missed + 1, Math.min(met - 1, Math.round(guess)));
    const miss = missOf(rung);
    if (miss <= 0) met = rung;
    else missed = rung;
    if (previous !== undefined) {
      const secant = (miss - previous.miss) / (rung - previous.rung);
      if (secant < 0 && secant > Number.NEGATIVE_INFINITY) slope = secant;
    }
    if (miss <= 0 && miss >= -tolerance) break;
    previous = { rung, miss };
    guess = rung - (miss + tolerance / 2) / slope;
  }
  return { rung: met, slope, tolerance };
}
