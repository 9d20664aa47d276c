import { SettingsError } from "../errors.ts";

/** What each stage holds: blocks from inclusive, to exclusive; the first stage the embedding too, the last the head. */
export type StagePartition = readonly (readonly [from: number, to: number])[];

/**
 * Blocks shared out evenly; where they do not divide, the stages in the middle have one more, since the ends also hold embedding and head.
 */
export function partitionBlocks(blockCount: number, stages: number): StagePartition {
  if (!Number.isInteger(blockCount) || !Number.isInteger(stages) || stages < 1 || blockCount < stages) {
    throw new SettingsError(`${blockCount} blocks do not make ${stages} stages of at least one block`);
  }
  const least = Math.floor(blockCount / stages);
  const extra = blockCount % stages;
  const first = Math.floor((stages - extra) / 2);
  let from = 0;
  return Array.from({ length: stages }, (_, stage) => {
    const to = from + least + (stage >= first && stage < first + extra ? 1 : 0);
    const range = [from, to] as const;
    from = to;
    return range;
  });
}
