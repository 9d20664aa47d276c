import type { NamedCodec } from "@frugal/fourier-compress";

/** A codec that the page offers. */
export interface CodecChoice {
  readonly name: string;
  readonly label: string;
  readonly group: string;
  /** Whether it takes no rate. */
  readonly isFixedRate: boolean;
  readonly hint: string;
}

/** Those that make sense for messages of one token; the low-rank codecs need many. */
export const CODEC_CHOICES: readonly CodecChoice[] = [
  {
    name: "klt", label: "KLT + rANS", group: "Calibrated", isFixedRate: false,
    hint: "Decorrelates channels with a basis from calibration text, rounds with one step, entropy-codes. The best of all here.",
  },
  {
    name: "channel", label: "Per-channel + rANS", group: "Calibrated", isFixedRate: false,
    hint: "Mean and scale of each channel from calibration text, rounding, entropy coding; no transform.",
  },
  {
    name: "hadamard", label: "Hadamard + rANS", group: "Without calibration", isFixedRate: false,
    hint: "A fixed rotation spreads outliers over all channels before rounding and entropy coding.",
  },
  {
    name: "fourier-hermitian", label: "FourierCompress, Hermitian", group: "FourierCompress", isFixedRate: false,
    hint:
      "The paper’s block of low frequencies with its mirror restored. Channels have no order in which they are smooth: expect nonsense.",
  },
  {
    name: "fourier-literal", label: "FourierCompress, literal", group: "FourierCompress", isFixedRate: false,
    hint: "The paper’s block as written: without the mirror, most terms come back at half their amplitude.",
  },
  {
    name: "fourier-lowpass", label: "FFT low-pass", group: "FourierCompress", isFixedRate: false,
    hint: "Both corners of low frequencies.",
  },
  { name: "top-k", label: "Top-k", group: "Without calibration", isFixedRate: false, hint: "The largest values and where they are." },
  {
    name: "float32", label: "float32, exact", group: "Raw", isFixedRate: true,
    hint: "Nothing is lost: the story of the unsplit model, token for token.",
  },
  { name: "float16", label: "float16", group: "Raw", isFixedRate: true, hint: "Half the bytes of float32." },
  { name: "int8", label: "int8, groups of 64", group: "Raw", isFixedRate: true, hint: "A byte a value and a scale for each group." },
  { name: "int4", label: "int4, groups of 32", group: "Raw", isFixedRate: true, hint: "Half a byte a value and a scale for each group." },
];

/** The choice of a name. */
export function codecChoice(name: string): CodecChoice {
  const choice = CODEC_CHOICES.find((other) => other.name === name);
  if (choice === undefined) throw new Error(`no codec ${name} is offered`);
  return choice;
}

/** What `SplitClient.connect` takes for a choice. */
export function namedCodec({ name, isFixedRate }: CodecChoice, ratio: number): NamedCodec {
  return isFixedRate ? { name } : { name, mode: { kind: "ratio", ratio } };
}
