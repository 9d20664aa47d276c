import { z } from "zod";
import { FormatError } from "../errors.ts";

/** SIGKILL, SIGSTOP, links cut, links slowed down, bytes of frames changed. */
export type FaultKind = "kill" | "stop" | "cut" | "slow" | "corrupt";

/** All kinds. */
export const faultKinds: readonly FaultKind[] = ["kill", "stop", "cut", "slow", "corrupt"];

interface FaultCommon {
  /** Number in its schedule, from 0. */
  readonly index: number;
  /** Milliseconds after the schedule's beginning. */
  readonly at: number;
  /** Whom it strikes: "p0s1". */
  readonly slot: string;
}

/** Something that goes wrong on purpose. All times in milliseconds. */
export type Fault = FaultCommon & (
  /** The process dies; another one is started for its slot after `repairAfter`. */
  | { readonly kind: "kill"; readonly repairAfter: number }
  /** The process stands still for so long. */
  | { readonly kind: "stop"; readonly duration: number }
  /** Its links are closed, and cannot be made again for so long. */
  | { readonly kind: "cut"; readonly duration: number }
  /** Each of its frames is held back by `delay`, for so long. */
  | { readonly kind: "slow"; readonly duration: number; readonly delay: number }
  /** So many of its next frames are changed under way. */
  | { readonly kind: "corrupt"; readonly frames: number }
);

/** What a schedule of faults depends on. */
export interface FaultScheduleSettings {
  /** Any safe integer. */
  readonly seed: number;
  /** How many. */
  readonly faults: number;
  /** Slots that may be struck: "p0s1". */
  readonly slots: readonly string[];
  /** Weights of the kinds that occur. Default: only kill. */
  readonly kinds?: { readonly [Kind in FaultKind]?: number | undefined } | undefined;
  /** Milliseconds from one fault to the next, on average: exponentially distributed. */
  readonly meanTimeBetweenFaults: number;
  /** Milliseconds until a killed worker is started again, on average. */
  readonly meanTimeToRepair: number;
  /** Never strike the last live worker of a stage, so that nothing has to be restored. Default true. */
  readonly keepStages?: boolean | undefined;
  /** Means, in milliseconds. Defaults 2000, 1000, 2000 and 50. */
  readonly meanStopDuration?: number | undefined;
  readonly meanCutDuration?: number | undefined;
  readonly meanSlowDuration?: number | undefined;
  readonly meanSlowDelay?: number | undefined;
  /** Frames that one fault corrupts: 1 to this many. Default 4. */
  readonly largestFrames?: number | undefined;
}

const LARGEST_TIME = 1e9;
const MOST_FAULTS = 1_000_000;
const slot = z.string().regex(/^p\d{1,4}s\d{1,4}$/, "use p<pipeline>s<stage>, e.g. p0s1");
const mean = z.number().min(0).max(LARGEST_TIME);
const weight = z.number().min(0).max(1e6);
const time = z.int().min(0).max(10 * LARGEST_TIME);
/** Times add up over a schedule. */
const at = z.int().min(0);
const index = z.int().min(0).max(MOST_FAULTS);

/** Reads settings. */
export const faultScheduleSettingsSchema: z.ZodType<FaultScheduleSettings> = z.strictObject({
  seed: z.int(),
  faults: z.int().min(0).max(MOST_FAULTS),
  slots: z.array(slot).min(1).max(1 << 16),
  kinds: z.strictObject({
    kill: weight.optional(), stop: weight.optional(), cut: weight.optional(), slow: weight.optional(), corrupt: weight.optional(),
  }).refine((kinds) => Object.values(kinds).some((value) => (value ?? 0) > 0), "give some kind a weight above 0").optional(),
  meanTimeBetweenFaults: mean,
  meanTimeToRepair: mean,
  keepStages: z.boolean().optional(),
  meanStopDuration: mean.optional(),
  meanCutDuration: mean.optional(),
  meanSlowDuration: mean.optional(),
  meanSlowDelay: mean.optional(),
  largestFrames: z.int().min(1).max(1 << 20).optional(),
});

/** Reads one fault. */
export const faultSchema: z.ZodType<Fault> = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("kill"), index, at, slot, repairAfter: time }),
  z.strictObject({ kind: z.literal("stop"), index, at, slot, duration: time }),
  z.strictObject({ kind: z.literal("cut"), index, at, slot, duration: time }),
  z.strictObject({ kind: z.literal("slow"), index, at, slot, duration: time, delay: time }),
  z.strictObject({ kind: z.literal("corrupt"), index, at, slot, frames: z.int().min(1).max(1 << 20) }),
]);

/** Longest text that is read: about 130 bytes a fault. */
const LONGEST_TEXT = 1 << 28;

function parseJson<Value>(text: string, source: string, what: string, schema: z.ZodType<Value>): Value {
  if (text.length > LONGEST_TEXT) throw new FormatError(source, `${text.length} characters; ${what} has at most ${LONGEST_TEXT}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(source, "is not JSON", { cause: error });
  }
  const result = schema.safeParse(value);
  if (!result.success) throw new FormatError(source, `is no ${what}: ${z.prettifyError(result.error)}`);
  return result.data;
}

/** Reads a list of faults, as `JSON.stringify` writes it. @param source for messages @throws FormatError */
export function parseFaults(text: string, source: string): Fault[] {
  return parseJson(text, source, "list of faults", z.array(faultSchema).max(MOST_FAULTS));
}

/** Reads the settings of a schedule. @param source for messages @throws FormatError */
export function parseFaultScheduleSettings(text: string, source: string): FaultScheduleSettings {
  return parseJson(text, source, "fault schedule's settings", faultScheduleSettingsSchema);
}
