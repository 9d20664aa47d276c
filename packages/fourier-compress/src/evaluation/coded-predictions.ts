import { referencePredictions, type ReferencePredictions, type SequencePredictions } from "@frugal/language-model";
import type { CodecTable } from "../calibration/codec-table.ts";
import { startsWithRow } from "../codecs/begin-row.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import { createCodec } from "../codecs/registry.ts";
import { CodecTableError, CodecTargetError, SettingsError } from "../errors.ts";
import type { CodedTraffic, DeviceHalf } from "./coded-model.ts";
import type { ComparedCodec } from "./compared-codecs.ts";
import { rateOf, settingsAtRatio, type RateAllocation } from "./equal-bytes.ts";
import { LeakageProbe, type DecodedRows } from "./leakage.ts";

/** A codec at a ratio, whatever was scored through it. */
export interface CodedRow {
  /** `ComparedCodec.key`. */
  readonly codec: string;
  readonly label: string;
  /** What was aimed for; none for codecs of a fixed rate. */
  readonly ratio?: number;
  readonly mode?: CodecMode;
  /** Of a block of low frequencies: KS / S. */
  readonly tokenShare?: number;
  readonly traffic?: CodedTraffic;
  /** Share of tokens that their nearest input embedding gives away, where asked for. */
  readonly leakage?: number;
  /** Why there is nothing more: a table without what the codec needs, a target out of reach. */
  readonly unavailable?: string;
}

/** What comparisons of codecs inside a model have in common. */
export interface CodedOptions {
  /** For codecs that need one; with a begin row, that row costs nothing and is not counted. */
  readonly table?: CodecTable | undefined;
  /** Names as of `comparedCodec`. Default: all. */
  readonly codecs?: readonly string[];
  /** Default 4, 7.6, 10, 16. */
  readonly ratios?: readonly number[];
  readonly allocation?: RateAllocation;
  /** Tokens scored at a time. Default: as `referencePredictions`. */
  readonly window?: number;
  /** Tokens of the leakage probe at most. Default 0: none. */
  readonly leakageTokens?: number;
  /** Ends the comparison: with what there is, or with its reason while the model without codec is not through. */
  readonly signal?: AbortSignal | undefined;
  /** Tokens scored of those in this pass. */
  readonly onProgress?: (scored: number, total: number, what: string) => void;
}

/** What a codec makes of the predictions; without them where it cannot do what was asked. */
export interface ScoredCodec {
  readonly row: CodedRow;
  readonly predictions?: readonly SequencePredictions[];
}

/** Scores sequences through codecs, one after another, against the model without. Made by `open`. */
export class CodedScoring {
  readonly reference: ReferencePredictions;
  readonly #half: DeviceHalf;
  readonly #sequences: readonly (readonly number[])[];
  readonly #options: CodedOptions;
  readonly #probe: LeakageProbe;
  readonly #total: number;

  private constructor(
    half: DeviceHalf, sequences: readonly (readonly number[])[], reference: ReferencePredictions, options: CodedOptions,
  ) {
    this.reference = reference;
    this.#half = half;
    this.#sequences = sequences;
    this.#options = options;
    this.#probe = new LeakageProbe(half.model);
    this.#total = sequences.reduce((sum, ids) => sum + ids.length - 1, 0);
  }

  /** Runs the model without codec; the device's half stays for all codecs. @throws as `referencePredictions` */
  static async open(half: DeviceHalf, sequences: readonly (readonly number[])[], options: CodedOptions): Promise<CodedScoring> {
    const { table, window, signal, onProgress } = options;
    if (table !== undefined && (table.hiddenSize !== half.model.hiddenSize || table.block !== half.splitBlock)) {
      throw new SettingsError(
        `the codec table is for block ${table.block} of width ${table.hiddenSize}, the split is at block ${half.splitBlock} of width ` +
          `${half.model.hiddenSize}; calibrate one for this split`,
      );
    }
    const total = sequences.reduce((sum, ids) => sum + ids.length - 1, 0);
    const reference = await referencePredictions(half.through(), sequences, {
      ...(window === undefined ? {} : { window }), ...(signal === undefined ? {} : { signal }),
      onProgress: (scored) => onProgress?.(scored, total, "without codec"),
    });
    return new CodedScoring(half, sequences, reference, options);
  }

  /** The row of a codec at a ratio, and what the model says through it; undefined when the signal ended it. */
  async score(codec: ComparedCodec, ratio: number | undefined): Promise<ScoredCodec | undefined> {
    const { table, allocation = "shared-step", leakageTokens = 0, signal, onProgress } = this.#options;
    const { hiddenSize, device, config } = this.#half.model;
    const head = { codec: codec.key, label: codec.label, ...(ratio === undefined ? {} : { ratio }) };
    try {
      const messages = this.#half.messages();
      const beginRow = table?.beginRow;
      const begun = beginRow === undefined ? 0 : messages.filter(({ rows }) => startsWithRow(rows, beginRow)).length;
      const values = messages.reduce((sum, { rows }) => sum + rows.length, 0) - begun * hiddenSize;
      const settings = await settingsAtRatio(codec, ratio, messages, table, {
        hiddenSize, device, block: this.#half.splitBlock, allocation, values, signal,
      });
      const decoded: DecodedRows[] = [];
      let room = leakageTokens;
      const model = this.#half.through(createCodec(codec.name, { ...settings, table }), {
        beginRow,
        onDecoded(ids, rows) {
          if (room <= 0) return;
          decoded.push({ ids: ids.slice(0, room), rows: rows.slice(0, Math.min(room, ids.length) * hiddenSize) });
          room -= ids.length;
        },
      });
      const what = `${codec.key}${ratio === undefined ? "" : ` ${ratio}x`}`;
      const { sequences: predictions } = await referencePredictions(model, this.#sequences, {
        window: Math.min(this.reference.window, config.maxPositionEmbeddings), ...(signal === undefined ? {} : { signal }),
        onProgress: (scored) => onProgress?.(scored, this.#total, what),
      });
      // Without begin tokens, sequences begin with words of their own.
      const begin = this.#sequences.every((ids) => ids[0] === this.#sequences[0]![0]) ? this.#sequences[0]?.[0] : undefined;
      const leakage =
        leakageTokens > 0
          ? { leakage: await this.#probe.recoveredShare(decoded, { skip: begin === undefined ? [] : [begin], signal }) }
          : {};
      return { row: { ...head, ...rateOf(settings), traffic: model.traffic, ...leakage }, predictions };
    } catch (error) {
      if (signal?.aborted) return undefined;
      if (!(error instanceof CodecTargetError || error instanceof SettingsError || error instanceof CodecTableError)) throw error;
      return { row: { ...head, unavailable: error.message } };
    }
  }
}
