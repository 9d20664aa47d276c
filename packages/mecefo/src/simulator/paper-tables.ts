/** What the paper states (NeurIPS 2025, tables of throughput and ablation). Printed beside simulations, never mixed with them. */

/** Thousand tokens a second without faults, and under the three scenarios. */
export interface PaperThroughput {
  readonly model: PaperModelName;
  readonly system: "Bamboo" | "Oobleck" | "MeCeFO";
  readonly none: number;
  readonly low: number;
  readonly mid: number;
  readonly high: number;
}

/** The paper's models. */
export type PaperModelName = "llama-350m" | "llama-1b" | "llama-7b";

/** The paper's table of throughput: 32 A100, 4 pipelines of 8 stages. */
export const paperThroughputs: readonly PaperThroughput[] = [
  { model: "llama-350m", system: "Bamboo", none: 438.06, low: 428.9, mid: 421.45, high: 407.22 },
  { model: "llama-350m", system: "Oobleck", none: 703.73, low: 674.15, mid: 662.93, high: 632.4 },
  { model: "llama-350m", system: "MeCeFO", none: 1199.23, low: 1197.39, mid: 1193.25, high: 1186.35 },
  { model: "llama-1b", system: "Bamboo", none: 153.75, low: 146.91, mid: 144.66, high: 141.13 },
  { model: "llama-1b", system: "Oobleck", none: 291.05, low: 276.05, mid: 268.29, high: 250.68 },
  { model: "llama-1b", system: "MeCeFO", none: 471.19, low: 464.79, mid: 461.23, high: 457.13 },
  { model: "llama-7b", system: "Bamboo", none: 12.41, low: 11.45, mid: 10.74, high: 9.82 },
  { model: "llama-7b", system: "Oobleck", none: 66.95, low: 57.05, mid: 51.63, high: 48.14 },
  { model: "llama-7b", system: "MeCeFO", none: 111.12, low: 108.15, mid: 107.7, high: 106.47 },
];

/** A row of the paper's ablation: thousand tokens a second of one pipeline of 8 stages with one failed node (but the first row). */
export interface PaperAblation {
  readonly variant: "no fault" | "naive" | "I" | "I + II" | "I + II + III";
  readonly batch256: number;
  /** Undefined: out of memory. */
  readonly batch512?: number;
}

/** The paper's ablation on the 7B model. */
export const paperAblation: readonly PaperAblation[] = [
  { variant: "no fault", batch256: 28.12, batch512: 30.04 },
  { variant: "naive", batch256: 19.11 },
  { variant: "I", batch256: 30.23 },
  { variant: "I + II", batch256: 26.41, batch512: 23.86 },
  { variant: "I + II + III", batch256: 28.06, batch512: 27.19 },
];
