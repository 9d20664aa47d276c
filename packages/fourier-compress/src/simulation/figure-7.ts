import { closedLoopBounds } from "./client-simulation.ts";
import { findSaturation, type SweepSettings } from "./saturation.ts";

/** Links of FourierCompress, Figure 7, in bits a second. */
export const FIGURE_7_LINKS: readonly number[] = [1e9, 3e9, 5e9, 10e9];

/** The ratio that the paper uses on PIQA. */
export const FIGURE_7_RATIO = 10.3;

/** What the paper says of its Figure 7, in numbers of clients served. */
export const FIGURE_7_CLAIMS = {
  /** One accelerator, with any link, with compression or without. */
  oneAccelerator: 10,
  /** Eight accelerators, 10 Gbit/s. */
  eightWithout: 150,
  eightWith: 1500,
} as const;

/**
 * What the paper states: the ratio, links and accelerators, and (by its own example, 1.25 GB for 81,920 tokens) float32 activations.
 * What it does not: the model's width (Llama 3 with 1 or 3 billion parameters; 2048 is the smaller's), tokens of a request (64 is about a
 * PIQA question with one answer), what clients do between requests, and how long a request takes a GPU. Those are ours.
 */
const COMMON = { tokens: 64, hiddenSize: 2048, bytesPerValue: 4 } as const;

/** Seconds on the 10 Gbit/s link for a request that is not compressed. */
const TRANSFER_SECONDS = (8 * COMMON.tokens * COMMON.hiddenSize * COMMON.bytesPerValue) / 10e9;

/** A client's cycle of thinking and waiting, so that 150 clients fill that link: what the claim without compression comes to. */
const CYCLE_SECONDS = FIGURE_7_CLAIMS.eightWithout * TRANSFER_SECONDS;

/** A way to choose the time that a request takes an accelerator. */
export interface Figure7Reading {
  readonly name: "ten-clients-saturate-one" | "eight-serve-1500";
  readonly requestSeconds: number;
}

/** Each of the paper's two statements, taken as true, gives a time. They differ by a factor of 19. */
export const FIGURE_7_READINGS: readonly Figure7Reading[] = [
  { name: "ten-clients-saturate-one", requestSeconds: CYCLE_SECONDS / FIGURE_7_CLAIMS.oneAccelerator },
  { name: "eight-serve-1500", requestSeconds: (8 * CYCLE_SECONDS) / (FIGURE_7_CLAIMS.eightWithout * FIGURE_7_RATIO) },
];

/** Settings of the simulation under a reading. */
export function figure7Settings(reading: Figure7Reading, linkBitsPerSecond: number, accelerators: number, ratio: number): SweepSettings {
  const { requestSeconds } = reading;
  // Thinking is what is left of the cycle.
  return {
    ...COMMON, linkBitsPerSecond, accelerators, ratio, requestSeconds,
    thinkSeconds: CYCLE_SECONDS - requestSeconds - TRANSFER_SECONDS,
  };
}

/** Clients served in one cell of the figure. */
export interface Figure7Cell {
  readonly reading: Figure7Reading["name"];
  readonly accelerators: number;
  readonly linkBitsPerSecond: number;
  readonly ratio: number;
  /** Where the bottleneck is always busy (`closedLoopBounds`). */
  readonly saturationClients: number;
  /** `findSaturation`: mean response at most twice that of one client. */
  readonly servedClients: number;
  readonly bottleneck: "link" | "accelerators";
}

/**
 * The figure under both readings. They cannot both hold: clients that saturate one accelerator at ten saturate eight of the same at eighty,
 * whatever travels on the link, so 1,500 would need accelerators 19 times as fast; and with those one accelerator would serve about 150 to
 * 190 clients, not ten. Neither the length of requests nor the pause between them changes that factor.
 */
export function simulateFigure7(): Figure7Cell[] {
  return FIGURE_7_READINGS.flatMap((reading) =>
    [1, 8].flatMap((accelerators) =>
      FIGURE_7_LINKS.flatMap((linkBitsPerSecond) =>
        [1, FIGURE_7_RATIO].map((ratio) => {
          const settings = figure7Settings(reading, linkBitsPerSecond, accelerators, ratio);
          const { saturationClients, bottleneck } = closedLoopBounds({ ...settings, clients: 1 });
          const servedClients = findSaturation(settings);
          return { reading: reading.name, accelerators, linkBitsPerSecond, ratio, saturationClients, servedClients, bottleneck };
        }),
      ),
    ),
  );
}
