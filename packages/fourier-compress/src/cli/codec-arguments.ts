import { integer, numberBetween } from "@frugal/language-model/command-line";
import { Option, type Command } from "commander";
import { stepAtRatio } from "../calibration/step-at-ratio.ts";
import { readCodecTable } from "../calibration/table-file.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import { codecDefinition, codecNames } from "../codecs/registry.ts";
import type { NamedCodec } from "../client/split-client.ts";
import { SettingsError } from "../errors.ts";

/** What commands that encode have been told about it. */
export interface CodecArguments {
  readonly codec?: string;
  readonly table?: string;
  readonly ratio?: number;
  readonly ratioOf?: "bytes" | "elements";
  readonly averageRatio?: number;
  readonly relativeError?: number;
  readonly bytesPerToken?: number;
  readonly step?: number;
}

/** Ratio to float16 of a codec that was told none: what the spec calls near-lossless for the channel codec with a table. */
const DEFAULT_RATIO = 7.6;
/** Of the codec without calibration, which loses more at the same rate. */
const DEFAULT_RATIO_WITHOUT_TABLE = 4;

/** Adds `--codec` and what goes with it. */
export function addCodecOptions(command: Command): Command {
  return command
    .addOption(new Option("--codec <codec>", "default: channel with --table, hadamard without").choices(codecNames()))
    .option("--table <file>", "codec table of `calibrate`, the same as the server's")
    .option("--ratio <ratio>", "float16 bytes over coded bytes of each message", numberBetween(0.1, 10_000))
    .addOption(
      new Option("--ratio-of <what>", "what the ratio counts: papers count elements").choices(["bytes", "elements"]).default("bytes"),
    )
    .option("--average-ratio <ratio>", "that ratio on average at constant quality, by the table's rates", numberBetween(0.1, 10_000))
    .option("--relative-error <error>", "the smallest messages with at most this ‖A′ - A‖ / ‖A‖", numberBetween(1e-6, 1))
    .option("--bytes-per-token <bytes>", "exactly so many bytes for each token, padded", integer(1))
    .option("--step <step>", "of the quantiser, in units of the activations", numberBetween(1e-9, 1e9));
}

/** A codec as it was chosen, and a line about it for people. */
export interface ChosenCodec {
  readonly codec: NamedCodec;
  readonly table: CodecTable | undefined;
  readonly description: string;
}

/** The only mode among the options; undefined without. @throws SettingsError for several, and for an average ratio without its rates */
function modeOf(name: string, table: CodecTable | undefined, given: CodecArguments): CodecMode | undefined {
  const { ratio, ratioOf, averageRatio, relativeError, bytesPerToken, step } = given;
  const modes: CodecMode[] = [];
  if (averageRatio !== undefined) {
    if (table === undefined) throw new SettingsError("--average-ratio needs --table, whose rates it goes by; --ratio works without");
    modes.push(stepAtRatio(table, name, averageRatio));
  }
  if (ratio !== undefined) modes.push({ kind: "ratio", ratio, ...(ratioOf === "elements" ? { of: "elements" } : {}) });
  if (relativeError !== undefined) modes.push({ kind: "relativeError", relativeError });
  if (bytesPerToken !== undefined) modes.push({ kind: "bytesPerToken", bytes: bytesPerToken });
  if (step !== undefined) modes.push({ kind: "step", step });
  if (modes.length > 1) throw new SettingsError("give one of --ratio, --average-ratio, --relative-error, --bytes-per-token and --step");
  return modes[0];
}

function describe(mode: CodecMode | undefined): string {
  switch (mode?.kind) {
    case undefined:
      return "at its fixed rate";
    case "ratio":
      return mode.of === "elements" ? `at ${mode.ratio}x fewer elements` : `at ${mode.ratio}x fewer bytes than float16`;
    case "relativeError":
      return `with relative error up to ${mode.relativeError}`;
    case "bytesPerToken":
      return `at ${mode.bytes} bytes a token`;
    case "step":
      return `with step ${mode.step}`;
  }
}

/**
 * The codec that the options ask for. Without `--codec` it is the channel codec where there is a table, else hadamard, which needs none.
 * @throws SettingsError for options that do not go together, CodecTableError for a table that cannot be read
 */
export async function chooseCodec(given: CodecArguments): Promise<ChosenCodec> {
  const table = given.table === undefined ? undefined : await readCodecTable(given.table);
  const name = given.codec ?? (table === undefined ? "hadamard" : "channel");
  const { isFixedRate, needsTable } = codecDefinition(name);
  if (needsTable && table === undefined) throw new SettingsError(`--codec ${name} needs --table; \`fourier-compress calibrate\` makes one`);
  const asked = modeOf(name, table, given);
  if (isFixedRate && asked !== undefined) throw new SettingsError(`--codec ${name} has a fixed rate; leave the ${asked.kind} out`);
  const ratio = table === undefined ? DEFAULT_RATIO_WITHOUT_TABLE : DEFAULT_RATIO;
  const mode: CodecMode | undefined = isFixedRate ? undefined : (asked ?? { kind: "ratio", ratio });
  const defaults = [given.codec === undefined ? "codec" : "", asked === undefined && !isFixedRate ? "rate" : ""]
    .filter((what) => what !== "");
  const tableText = table === undefined ? (needsTable ? "" : ", no table") : `, table ${table.hash.slice(0, 12)}`;
  return {
    codec: { name, ...(mode === undefined ? {} : { mode }) }, table,
    description: `codec ${name} ${describe(mode)}${tableText}${defaults.length > 0 ? ` (default ${defaults.join(" and ")})` : ""}`,
  };
}
