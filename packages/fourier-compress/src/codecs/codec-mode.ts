import { SettingsError } from "../errors.ts";

/** What an encoder aims for, as zfp's modes: fixed rate, fixed accuracy, or a quantiser of one's own choice. */
export type CodecMode =
  /**
   * At most 1/ratio of the float16 bytes in each message (exact rows included, which may break it: see `ExactRows`). `of: "elements"`
   * bounds the numbers kept instead of the bytes (papers' counting; only for codecs that drop numbers). Default "bytes".
   */
  | { readonly kind: "ratio"; readonly ratio: number; readonly of?: "bytes" | "elements" }
  /** The smallest message with ‖A′ - A‖ / ‖A‖ at most this. */
  | { readonly kind: "relativeError"; readonly relativeError: number }
  /** Exactly this many bytes for each token, padded: a message's size tells nothing of its content. */
  | { readonly kind: "bytesPerToken"; readonly bytes: number }
  /** Quantisers: this step between values of a channel or coefficient, in units of the activations. Constant quality, varying bytes. */
  | { readonly kind: "step"; readonly step: number };

/** The same mode. @throws SettingsError for values outside their range */
export function checkMode(mode: CodecMode): CodecMode {
  const positive = (name: string, value: number): void => {
    if (!(value > 0 && Number.isFinite(value))) throw new SettingsError(`codec mode: ${name} ${value}; use a finite number > 0`);
  };
  switch (mode.kind) {
    case "ratio":
      positive("ratio", mode.ratio);
      break;
    case "relativeError":
      positive("relativeError", mode.relativeError);
      break;
    case "bytesPerToken":
      if (!Number.isInteger(mode.bytes) || mode.bytes < 1) throw new SettingsError(`codec mode: bytes ${mode.bytes}; use an integer >= 1`);
      break;
    case "step":
      positive("step", mode.step);
      break;
    default:
      throw new SettingsError(`codec mode ${JSON.stringify(mode)}; use ratio, relativeError, bytesPerToken or step`);
  }
  return mode;
}
