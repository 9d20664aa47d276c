export * from "./errors.ts";
export { checkGrid, formatGrid, parseGrid, parseSlot, slotName, slotsOf, type Grid, type Slot } from "./grid/grid.ts";
export { partitionBlocks, type StagePartition } from "./grid/stage-partition.ts";
